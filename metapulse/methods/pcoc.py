"""PCOC (Harrison, Sharma, Finn and Pavone 2020): classes as Gaussians in learned features, their means known in part.

The relative of ALPaCA for classes: a belief over the mean of every class, conditioned on the support in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import AmortisedLearner
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.settings import setting
from metapulse.trees import Stacked, prefixed, subtree

CLASSES = "classes/"


@dataclass(frozen=True)
class PCOC(AmortisedLearner):
    """z | y = k ~ N(c_k, S), c_k ~ N(m_k, P_k), p(k) ~ Dirichlet(a); reports ∇ of the query's −log p(y | z, support).

    S and P_k are diagonal; f, m, P, S and a are learned. A class without support is answered by its prior.
    """

    rounds_only: ClassVar[frozenset[str]] = AmortisedLearner.rounds_only | {"spread", "noise", "count"}
    paper: ClassVar[Paper] = Paper(
        "harrison2020moca",
        "Harrison, Sharma, Finn and Pavone",
        2020,
        "Continuous Meta-Learning without Tasks",
        "1912.08866",
        "Section 4.2, probabilistic clustering for online classification",
    )
    kinds: ClassVar[tuple[str, ...]] = ("classification",)

    spread: float = setting(1.0, "initial variance of a class's mean, in that of the features", gt=0)
    noise: float = setting(1.0, "initial variance of a feature inside a class", gt=0)
    count: float = setting(1.0, "initial a: samples that the prior counts for in a class's share", gt=0)

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """m drawn with variance ``spread``, so that classes differ; log P, log S and log a."""
        size = (task.outputs, width)
        drawn = math.sqrt(self.spread) * rng.standard_normal(size).astype(np.float32)
        made = {
            "mean": torch.from_numpy(drawn),
            "log_spread": torch.full(size, math.log(self.spread)),
            "log_noise": torch.full((width,), math.log(self.noise)),
            "log_count": torch.full((task.outputs,), math.log(self.count)),
        }
        return prefixed(made, CLASSES)

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """Mean and variance of every class's mean after the support, and the share of the class, (n + a)/Σ(n + a)."""
        own, z = subtree(phi, CLASSES), model.embed(phi, support.x)
        hot = support.one_hot(model.task.outputs) * support.mask.unsqueeze(1)  # (clients, classes, samples)
        count, certain = hot.sum(2), (-own["log_noise"]).exp().unsqueeze(1)
        before = (-own["log_spread"]).exp()
        precision = before + count.unsqueeze(2) * certain
        mean = (before * own["mean"] + certain * (hot @ z)) / precision
        share = count + own["log_count"].exp()
        return {"mean": mean, "variance": 1.0 / precision, "log_share": (share / share.sum(1, keepdim=True)).log()}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """log p(k) + log N(z; E[c_k], P'_k + S): logits whose softmax is p(k | z, support)."""
        z = model.embed(phi, x).unsqueeze(2)  # (clients, samples, 1, width)
        variance = (memory["variance"] + phi[CLASSES + "log_noise"].exp().unsqueeze(1)).unsqueeze(1)
        near = (z - memory["mean"].unsqueeze(1)).square() / variance + variance.log()
        return memory["log_share"].unsqueeze(1) - 0.5 * near.sum(3)


METHOD = Method(
    "pcoc",
    PCOC,
    Server("fedmaml"),
    sends="∇_θ of the query's −log p(k | f(x), support)",
    adapts=(
        "E[c_k] = P'(P⁻¹m_k + S⁻¹ Σ_{y_i = k} f(x_i)), P' = (P⁻¹ + n_kS⁻¹)⁻¹; "
        "p(k | x) ∝ (n_k + a_k) N(f(x); E[c_k], P' + S)"
    ),
    head=True,
    notes="Diagonal S and P. The paper's detection of changes is another part.",
)
