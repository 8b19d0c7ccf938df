"""Matching networks (Vinyals et al. 2016): every support sample votes for its label, weighted by its similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import MetricLearner, targets
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.settings import setting
from metapulse.trees import Stacked

LEAST = 1e-30  # of a probability, before its logarithm


@dataclass(frozen=True)
class Matching(MetricLearner):
    """p(y | x) = Σ_i a_i y_i with a = softmax_i(s · cos(f(x), f(x_i))); reports ∇_θ of the query's −log p.

    f and g of the paper are one encoder; its full context embeddings, which read the support as a sequence, are not
    here. The paper has s = 1, with which one vote is at most e² times as loud as another.
    """

    paper: ClassVar[Paper] = Paper(
        "vinyals2016matching",
        "Vinyals et al.",
        2016,
        "Matching Networks for One Shot Learning",
        "1606.04080",
        "equation 1 and Section 2.1.1",
    )

    scale: float = setting(1.0, "factor s on the cosine similarity", gt=0)

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """Unit embeddings of the support and their labels as indicators, all zero for padding."""
        keys = functional.normalize(model.embed(phi, support.x), dim=2)
        return {"keys": keys, "labels": targets(model.task, support)}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """The logarithm of the votes."""
        z = functional.normalize(model.embed(phi, x), dim=2)
        real = memory["labels"].sum(2).unsqueeze(1)  # (clients, 1, support)
        scores = self.scale * z @ memory["keys"].transpose(1, 2)
        attention = torch.softmax(scores.masked_fill(real == 0, torch.finfo(z.dtype).min), 2)
        return (attention @ memory["labels"]).clamp(min=LEAST).log()


METHOD = Method(
    "matching",
    Matching,
    Server("fedmaml"),
    sends="∇_θ L_Q through the reading of the support",
    adapts="p(y|x) = Σ_i a_i y_i, a = softmax_i(s · cos(f(x), f(x_i)))",
    notes="One encoder for both sides, no full context embeddings; s = 1 in the paper.",
    head=True,
)
