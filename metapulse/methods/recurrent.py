"""A recurrent meta-learner (Hochreiter, Younger, Conwell 2001): a network that reads samples and learns by reading.

It sees every input together with the label of the one before (the protocol of Santoro et al. 2016, arXiv:1605.06065),
so that it must keep in its state what belongs together. This is the LSTM alone; with an external memory: ``mann``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import AmortisedLearner, targets
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.models.layers import linear, lstm_step, uniform_init
from metapulse.settings import WIDTH, setting
from metapulse.trees import Stacked, prefixed, subtree

LSTM = "lstm/"


@dataclass(frozen=True)
class Recurrent(AmortisedLearner):
    """(h, c) ← LSTM([f(x_t), y_{t−1}], (h, c)) over the support; answers V h + b after one step on [f(x), y_n].

    Reports ∇_θ L_query; the answers it would give while it reads are not trained. Samples are read in the order of the
    episode, which is class by class.
    """

    paper: ClassVar[Paper] = Paper(
        "hochreiter2001learning",
        "Hochreiter, Younger and Conwell",
        2001,
        "Learning to Learn Using Gradient Descent",
        "",
        "the LSTM as a learning algorithm",
    )

    hidden: int = setting(32, "width of the hidden state", ge=1, le=WIDTH)

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The LSTM and what it answers with, U(±1/√hidden) as ``torch.nn.LSTM``."""
        h, inputs, features = self.hidden, width + task.outputs + self.hidden, self.features
        shapes = {"weight": (4 * h, inputs), "bias": (4 * h,)}
        shapes |= {"out.weight": (task.outputs, features), "out.bias": (task.outputs,)}
        return prefixed({name: uniform_init(rng, h, *shape) for name, shape in shapes.items()}, LSTM)

    @property
    def features(self) -> int:
        """Width of what the answer is read off."""
        return self.hidden

    def begin(self, like: Float[Tensor, "clients samples width"]) -> dict[str, Tensor]:
        """The state before anything is read, (clients, 1, *shape) per name."""
        return {name: like.new_zeros(len(like), 1, self.hidden) for name in ("hidden", "cell")}

    def step(
        self, own: Stacked, state: Stacked, seen: Float[Tensor, "clients n inputs"]
    ) -> tuple[dict[str, Tensor], Float[Tensor, "clients n features"]]:
        """The state after one sample, and what the answer is read off.

        Args:
            own: the learner's networks, (clients, *shape) per name.
            state: (clients, n, *shape) per name.
            seen: a sample and the label of the one before.
        """
        h, c = lstm_step(seen, (state["hidden"], state["cell"]), own["weight"], own["bias"])
        return {"hidden": h, "cell": c}, h

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """The state after the last real sample, and that one's label."""
        z, y = model.embed(phi, support.x), targets(model.task, support)
        own, state = subtree(phi, LSTM), self.begin(z)
        last = z.new_zeros(len(z), 1, model.task.outputs)
        for t in range(z.shape[1]):
            after, _ = self.step(own, state, torch.cat([z[:, t : t + 1], last], 2))
            real = support.mask[:, t] > 0
            state = {
                name: torch.where(real.view(-1, *(1,) * (s.dim() - 1)), after[name], s) for name, s in state.items()
            }
            last = torch.where(real.view(-1, 1, 1), y[:, t : t + 1], last)
        return {**state, "last": last}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """One step further, each sample on its own."""
        z, own = model.embed(phi, x), subtree(phi, LSTM)
        state = {name: s.expand(-1, z.shape[1], *s.shape[2:]) for name, s in memory.items()}
        _, features = self.step(own, state, torch.cat([z, state.pop("last")], 2))
        return linear(features, own["out.weight"], own["out.bias"])


METHOD = Method(
    "recurrent",
    Recurrent,
    Server("fedmaml"),
    sends="∇_θ L_Q through the reading of the support",
    adapts="(h, c) of an LSTM after [f(x_t), y_{t−1}] over the support; answers after one step on [f(x), y_n]",
    notes="Trained on the query's answers alone (ours).",
    head=True,
)
