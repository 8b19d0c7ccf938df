"""SNAIL (Mishra et al. 2018): causal convolutions and attention over the labelled samples and one that asks."""

from __future__ import annotations

import math
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
from metapulse.models.layers import linear, uniform_init
from metapulse.settings import WIDTH, setting
from metapulse.trees import Stacked, prefixed, subtree

OWN = "snail/"


@dataclass(frozen=True)
class SNAIL(AmortisedLearner):
    """Reads [f(x_1), y_1], …, [f(x_n), y_n], [f(x), 0] and answers at the last: attention, convolutions, attention.

    The convolutions have width two and dilations 1, 2, 4, … up to ``length``; every block hands on what it read beside
    what it found. Smaller than the paper's, which has two more blocks. The order is the episode's, class by class.
    """

    rounds_only: ClassVar[frozenset[str]] = AmortisedLearner.rounds_only | {"filters", "key_width", "value_width"}
    paper: ClassVar[Paper] = Paper(
        "mishra2018snail",
        "Mishra et al.",
        2018,
        "A Simple Neural Attentive Meta-Learner",
        "1707.03141",
        "Section 3 and Figure 2",
    )

    filters: int = setting(16, "filters of each dilated convolution", ge=1, le=WIDTH)
    key_width: int = setting(16, "width of the keys of attention", ge=1, le=WIDTH)
    value_width: int = setting(16, "width of the values of attention", ge=1, le=WIDTH)
    length: int = setting(16, "support samples that the convolutions reach; attention reaches all", ge=1, le=1024)

    @property
    def dilations(self) -> list[int]:
        """1, 2, 4, …, so many that the last position reaches ``length`` before it."""
        return [2**i for i in range(math.ceil(math.log2(self.length + 1)))]

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """All blocks, U(±1/√fan_in)."""
        shapes: dict[str, tuple[int, int]] = {}
        width = self._attend_shapes("first", width + task.outputs, shapes)
        for dilation in self.dilations:
            shapes[f"conv{dilation}"] = (2 * self.filters, 2 * width)
            width += self.filters
        shapes["out"] = (task.outputs, self._attend_shapes("second", width, shapes))
        params = {}
        for name, (outputs, inputs) in shapes.items():
            params[f"{name}.weight"] = uniform_init(rng, inputs, outputs, inputs)
            if not name.endswith(".key"):  # softmax does not see what is added to all keys
                params[f"{name}.bias"] = uniform_init(rng, inputs, outputs)
        return prefixed(params, OWN)

    def _attend_shapes(self, name: str, width: int, shapes: dict[str, tuple[int, int]]) -> int:
        """Enter an attention block's shapes; the width after it."""
        shapes[f"{name}.query"] = shapes[f"{name}.key"] = (self.key_width, width)
        shapes[f"{name}.value"] = (self.value_width, width)
        return width + self.value_width

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """The labelled samples, real ones moved to the end, so that the one that asks follows the last."""
        z = torch.cat([model.embed(phi, support.x), targets(model.task, support)], 2)
        order = torch.argsort(support.mask, dim=1, stable=True)
        real = support.mask.gather(1, order)
        return {"samples": z.gather(1, order.unsqueeze(2).expand_as(z)) * real.unsqueeze(2), "real": real}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """What stands at the end of each sample's own sequence."""
        z, own = model.embed(phi, x), subtree(phi, OWN)
        clients, n, _ = z.shape
        asking = torch.cat([z, z.new_zeros(clients, n, model.task.outputs)], 2).unsqueeze(2)
        before = memory["samples"].unsqueeze(1).expand(-1, n, -1, -1)
        sequence = torch.cat([before, asking], 2)  # (clients, n, support + 1, width)
        real = torch.cat([memory["real"], z.new_ones(clients, 1)], 1).view(clients, 1, -1, 1)
        sequence = _attend(own, "first", sequence, real)
        for dilation in self.dilations:
            sequence = _convolve(own, dilation, sequence, real)
        last = _attend(own, "second", sequence, real)[:, :, -1]
        return linear(last, own["out.weight"], own["out.bias"])


Sequences = Float[Tensor, "clients n positions _"]
Real = Float[Tensor, "clients 1 positions 1"]


def _at_each(own: Stacked, name: str, sequence: Sequences) -> Sequences:
    """x Wᵀ + b at every position; b = 0 of a layer that has none."""
    weight = own[f"{name}.weight"]
    bias = own.get(f"{name}.bias", weight.new_zeros(weight.shape[:2]))
    flat = linear(sequence.flatten(1, 2), weight, bias)
    return flat.view(*sequence.shape[:3], flat.shape[2])


def _convolve(own: Stacked, dilation: int, sequence: Sequences, real: Real) -> Sequences:
    """[x, tanh(u) ⊙ σ(v)] with (u, v) = W [x_{t−d}, x_t] + b; zero before the first real position."""
    earlier = torch.nn.functional.pad(sequence, (0, 0, dilation, 0))[:, :, : sequence.shape[2]]
    u, v = _at_each(own, f"conv{dilation}", torch.cat([earlier, sequence], 3)).chunk(2, dim=3)
    return torch.cat([sequence, torch.tanh(u) * torch.sigmoid(v) * real], 3)


def _attend(own: Stacked, name: str, sequence: Sequences, real: Real) -> Sequences:
    """[x, softmax(q kᵀ/√d) v] over the real positions up to each one's own."""
    query, key, value = (_at_each(own, f"{name}.{part}", sequence) for part in ("query", "key", "value"))
    scores = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])
    positions = sequence.shape[2]
    later = torch.ones(positions, positions, dtype=torch.bool, device=sequence.device).triu(1)
    hidden = later | (real.transpose(2, 3) == 0)
    weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), 3)
    return torch.cat([sequence, weights @ value * real], 3)


METHOD = Method(
    "snail",
    SNAIL,
    Server("fedmaml"),
    sends="∇_θ L_Q through the reading of the support",
    adapts="attention, convolutions of dilations 1, 2, 4, … and attention over [f(x_i), y_i] and [f(x), 0] at the end",
    notes="One attention and one stack of convolutions fewer than the paper's.",
    head=True,
)
