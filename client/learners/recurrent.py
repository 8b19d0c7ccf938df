"""A recurrent meta-learner (Hochreiter, Younger, Conwell 2001): a network that reads samples and learns by reading.

It sees every input together with the label of the one before (the protocol of Santoro et al. 2016, arXiv:1605.06065),
so that it must keep in its state what belongs together. This is the LSTM of those papers, without external memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from client.data import Task
from client.episodes import Batch
from client.learners.base import Paper
from client.learners.reading import Reader, targets
from client.models.base import Model
from client.models.layers import linear, lstm_step, uniform_init
from client.settings import setting
from client.trees import Stacked, prefixed, under

LSTM = "lstm/"


@dataclass(frozen=True)
class Recurrent(Reader):
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
        "Section 2",
    )

    hidden: int = setting(32, "width of the hidden state", ge=1)

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The LSTM and what it answers with, U(±1/√hidden) as ``torch.nn.LSTM``."""
        h, inputs = self.hidden, width + task.outputs + self.hidden
        shapes = {
            "weight": (4 * h, inputs),
            "bias": (4 * h,),
            "out.weight": (task.outputs, h),
            "out.bias": (task.outputs,),
        }
        return prefixed({name: uniform_init(rng, h, *shape) for name, shape in shapes.items()}, LSTM)

    def read(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """The state after the last real sample, and that one's label."""
        z, y = model.embed(phi, support.x), targets(model.task, support)
        own = under(phi, LSTM)
        clients = len(z)
        h = c = z.new_zeros(clients, 1, self.hidden)
        last = z.new_zeros(clients, 1, model.task.outputs)
        for t in range(z.shape[1]):
            real = support.mask[:, t].view(-1, 1, 1) > 0
            seen = torch.cat([z[:, t : t + 1], last], 2)
            after = lstm_step(seen, (h, c), own["weight"], own["bias"])
            h, c = torch.where(real, after[0], h), torch.where(real, after[1], c)
            last = torch.where(real, y[:, t : t + 1], last)
        return {"hidden": h, "cell": c, "last": last}

    def answer(
        self, model: Model, phi: Stacked, memory: Stacked, x: Float[Tensor, "clients samples *features"]
    ) -> Float[Tensor, "clients samples outputs"]:
        """One step further, each sample on its own."""
        z, own = model.embed(phi, x), under(phi, LSTM)
        h, c, last = (memory[name].expand(-1, z.shape[1], -1) for name in ("hidden", "cell", "last"))
        h, _ = lstm_step(torch.cat([z, last], 2), (h, c), own["weight"], own["bias"])
        return linear(h, own["out.weight"], own["out.bias"])
