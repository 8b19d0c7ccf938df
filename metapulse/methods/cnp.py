"""Conditional neural process (Garnelo et al. 2018): the support as one code, an answer with its own uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.losses import masked_mean
from metapulse.methods.amortised import MEMORY, AmortisedLearner, no_samples, own_network, targets
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.settings import LAYERS, WIDTH, setting
from metapulse.trees import Stacked, prefixed, subtree

ENCODER, DECODER = "encoder/", "decoder/"
LEAST_SD = 0.1  # of an answer, as in the authors' code: a smaller one would let the loss fall without end


@dataclass(frozen=True)
class CNP(AmortisedLearner):
    """r = mean_i h([f(x_i), y_i]), (μ, s) = g([f(x), r]), σ = 0.1 + 0.9 softplus(s); reports ∇_θ −log N(y; μ, σ²).

    f is the model below its head (the input itself, of a model without hidden layer). μ is the answer. Regression.
    """

    rounds_only: ClassVar[frozenset[str]] = AmortisedLearner.rounds_only | {"code", "decoder", "encoder"}
    paper: ClassVar[Paper] = Paper(
        "garnelo2018cnp", "Garnelo et al.", 2018, "Conditional Neural Processes", "1807.01613", "Section 2.2"
    )
    kinds: ClassVar[tuple[str, ...]] = ("regression",)

    code: int = setting(64, "width of the code r", ge=1, le=WIDTH)
    encoder: tuple[int, ...] = setting((64,), "widths of the hidden layers of h", ge=1, le=WIDTH, longest=LAYERS)
    decoder: tuple[int, ...] = setting((64,), "widths of the hidden layers of g", ge=1, le=WIDTH, longest=LAYERS)

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """h and g."""
        h, g = (own_network(*sizes) for sizes in self._sizes(task, width))
        return prefixed(h.init(rng), ENCODER) | prefixed(g.init(rng), DECODER)

    def _sizes(self, task: Task, width: int) -> tuple[tuple[int, tuple[int, ...], int], ...]:
        h = (width + task.outputs, self.encoder, self.code)
        return h, (width + self.code, self.decoder, 2 * task.outputs)

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """The mean code; zero of an empty support."""
        z = model.embed(phi, support.x)
        h = own_network(*self._sizes(model.task, z.shape[2])[0])
        codes = h.predict(subtree(phi, ENCODER), torch.cat([z, targets(model.task, support)], 2))
        return {"code": (codes * support.weights.unsqueeze(2)).sum(1)}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """μ."""
        return self.distribution(model, phi, memory, x)[0]

    def distribution(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> tuple[Outputs, Outputs]:
        """μ and σ of each sample.

        Args:
            phi: (clients, *shape) per name.
        """
        z = model.embed(phi, x)
        g = own_network(*self._sizes(model.task, z.shape[2])[1])
        code = memory["code"].unsqueeze(1).expand(-1, z.shape[1], -1)
        mean, spread = g.predict(subtree(phi, DECODER), torch.cat([z, code], 2)).chunk(2, dim=2)
        return mean, LEAST_SD + (1.0 - LEAST_SD) * functional.softplus(spread)

    def predictive(self, model: Model, phi: Stacked, x: Inputs) -> tuple[Outputs, Outputs] | None:
        """μ and σ²."""
        memory = subtree(phi, MEMORY) or self.encode_support(model, phi, no_samples(model.task, x))
        mean, sd = self.distribution(model, phi, memory, x)
        return mean, sd.square()

    def loss(self, model: Model, phi: Stacked, memory: Stacked, support: Batch, query: Batch) -> PerClient:
        """−log N(y; μ, σ²), mean over samples and outputs, in nats."""
        mean, sd = self.distribution(model, phi, memory, query.x)
        nll = ((query.y - mean) / sd).square() / 2 + sd.log() + math.log(2 * math.pi) / 2
        return masked_mean(nll.mean(2), query.mask)


METHOD = Method(
    "cnp",
    CNP,
    Server("fedmaml"),
    sends="∇_θ of −log N(y; μ, σ²) through the reading of the support",
    adapts="r = mean_i h([f(x_i), y_i]); (μ, s) = g([f(x), r]), σ = 0.1 + 0.9 softplus(s)",
    head=True,
)
