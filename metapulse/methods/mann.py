"""MANN (Santoro et al. 2016): a recurrent meta-learner with an external memory it writes samples to.

Reading is by content. Writing goes to the slot used least, or to the one read last: least recently used access.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from metapulse.data import Task
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.recurrent import LSTM, Recurrent
from metapulse.models.layers import linear, lstm_step, uniform_init
from metapulse.settings import WIDTH, setting
from metapulse.trees import Stacked, prefixed


@dataclass(frozen=True)
class MANN(Recurrent):
    """The recurrent learner with a memory of slots M(i) and one head, whose key k is read off the hidden state.

    In every step, lu being the slot of least usage w_u before it:
    w_w = σ(a) w_r + (1 − σ(a)) 1[i = lu];  M(lu) ← 0;  M(i) ← M(i) + w_w(i) k;
    w_r = softmax_i cos(k, M(i));  r = Σ_i w_r(i) M(i);  w_u ← γ w_u + w_r + w_w.
    Answers V [h, r] + b; reports ∇_θ L_query.
    """

    paper: ClassVar[Paper] = Paper(
        "santoro2016mann",
        "Santoro et al.",
        2016,
        "One-shot Learning with Memory-Augmented Neural Networks",
        "1605.06065",
        "Section 3.2",
    )

    slots: int = setting(16, "slots of the memory", ge=1, le=4096)
    width: int = setting(16, "width of a slot", ge=1, le=WIDTH)
    decay: float = setting(0.95, "decay γ of the usage of a slot", ge=0, le=1)

    @property
    def features(self) -> int:
        """Width of what the answer is read off: hidden state and what was read."""
        return self.hidden + self.width

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The LSTM, its key, and the gate a, which starts half open."""
        key = {
            "key.weight": uniform_init(rng, self.hidden, self.width, self.hidden),
            "key.bias": uniform_init(rng, self.hidden, self.width),
            "gate": torch.zeros(1),
        }
        return super().own(task, width, rng) | prefixed(key, LSTM)

    def begin(self, like: Float[Tensor, "clients samples width"]) -> dict[str, Tensor]:
        """Empty slots, none of them used or read."""
        memory = {"slots": (self.slots, self.width), "usage": (self.slots,), "focus": (self.slots,)}
        zeros = {name: like.new_zeros(len(like), 1, *shape) for name, shape in memory.items()}
        return super().begin(like) | zeros

    def step(
        self, own: Stacked, state: Stacked, seen: Float[Tensor, "clients n inputs"]
    ) -> tuple[dict[str, Tensor], Float[Tensor, "clients n features"]]:
        """Controller, write, read.

        Args:
            own: the learner's networks, (clients, *shape) per name.
            state: (clients, n, *shape) per name.
            seen: a sample and the label of the one before.
        """
        h, c = lstm_step(seen, (state["hidden"], state["cell"]), own["weight"], own["bias"])
        key = torch.tanh(linear(h, own["key.weight"], own["key.bias"]))
        least = functional.one_hot(state["usage"].argmin(2), self.slots).to(h)
        gate = torch.sigmoid(own["gate"]).unsqueeze(2)
        written = gate * state["focus"] + (1.0 - gate) * least
        slots = state["slots"] * (1.0 - least).unsqueeze(3) + written.unsqueeze(3) * key.unsqueeze(2)
        focus = torch.softmax(functional.cosine_similarity(key.unsqueeze(2), slots, dim=3), 2)
        read = (focus.unsqueeze(3) * slots).sum(2)
        usage = self.decay * state["usage"] + focus + written
        after = {"hidden": h, "cell": c, "slots": slots, "usage": usage, "focus": focus}
        return after, torch.cat([h, read], 2)


METHOD = Method(
    "mann",
    MANN,
    Server("fedmaml"),
    sends="∇_θ L_Q through the reading of the support",
    adapts="as ``recurrent``, with slots M(i) that are written to where they are used least, and read by content",
    notes="One head.",
    head=True,
)
