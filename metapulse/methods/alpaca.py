"""ALPaCA (Harrison, Sharma and Pavone 2018): features, and the prior over heads, by the gradient of the predictive NLL.

A client conditions the prior on its support, in closed form, and sends the gradient of −log p(query | support): what is
learned is how to be as sure as the support allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.empirical_bayes import condition_scaled
from metapulse.episodes import Batch, Episode, Inputs, PerClient
from metapulse.gaussian_head import Features, GaussianHead, negative_log_likelihood
from metapulse.losses import masked_mean
from metapulse.methods.base import Paper, Report
from metapulse.methods.gaussian import PRIOR, GaussianLearner, with_one
from metapulse.methods.method import Method, Server
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, stack, subtree


@dataclass(frozen=True)
class ALPaCA(GaussianLearner):
    """K ~ N(K̄₀, s²Λ₀⁻¹) over features φ(x); reports ∇ of −log p(y | x, support) of each query sample, in φ, K̄₀, Λ₀, s².

    Λ₀⁻¹ = LLᵀ with L lower triangular, its diagonal through exp, so that every θ is a prior.
    """

    kinds: ClassVar[tuple[str, ...]] = ("regression",)
    rounds_only: ClassVar[frozenset[str]] = GaussianLearner.rounds_only | {"ridge", "noise"}
    paper: ClassVar[Paper] = Paper(
        "harrison2018alpaca",
        "Harrison, Sharma and Pavone",
        2018,
        "Meta-Learning Priors for Efficient Online Bayesian Regression",
        "1807.08912",
        "equations 5 to 9, Algorithm 1",
    )

    ridge: float = setting(10.0, "initial ρ, in samples: Λ₀ = ρI", gt=0)
    noise: float = setting(0.1, "initial s², in the target's unit squared", gt=0)
    inputs: bool = setting(True, "whether the head reads the inputs, flattened, beside the embedding")

    def own(self, width: int, outputs: int) -> dict[str, Tensor]:
        """K̄₀ = 0, L = I/√ρ, log s²."""
        root = torch.zeros(width, width)
        root.diagonal().fill_(-0.5 * math.log(self.ridge))
        noise = torch.full((outputs,), math.log(self.noise))
        return {"mean": torch.zeros(width, outputs), "root": root, "log_noise": noise}

    def prior(self, meta: Params) -> GaussianHead:
        """What θ says, in float64."""
        return _prior(stack({name: p.double() for name, p in subtree(meta, PRIOR).items()}, 1))

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """All but the model's own head."""
        return frozenset(meta) - model.head

    def features(self, model: Model, phi: Stacked, x: Inputs) -> Features:
        """The embedding, the inputs beside it, and 1."""
        z = model.embed(phi, x)
        return with_one(torch.cat([z, x.flatten(2)], 2) if self.inputs else z)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Gradient of the query's loss through the posterior; the weight is the query samples."""

        def loss(theta: Stacked, query: Batch) -> PerClient:
            z, y, mask = self.read(model, theta, episode.support)
            prior = _prior({name: p.double() for name, p in subtree(theta, PRIOR).items()})
            belief = condition_scaled(prior, z, y, self.worth * mask, self.freedom)
            asked, target, real = self.read(model, theta, query)
            return masked_mean(negative_log_likelihood(belief, asked, target).mean(2), real).to(query.mask)

        value, update = autograd.value_and_grad(loss, stack(meta, len(keys.clients)), episode.query)
        return Report(update, episode.query.counts, state, {"loss": value})


def _prior(own: Stacked) -> GaussianHead:
    lower: Float[Tensor, "clients width width"] = own["root"].tril(-1)
    root = lower + torch.diag_embed(own["root"].diagonal(dim1=1, dim2=2).exp())
    return GaussianHead(own["mean"], root @ root.transpose(1, 2), own["log_noise"].exp())


METHOD = Method(
    "alpaca",
    ALPaCA,
    Server("fedmaml"),
    sends="∇ of −log N(y; K'ᵀφ(x), s²(1 + φᵀC'φ)) over the query, in φ, K̄₀, Λ₀ and s²",
    adapts="C' = (Λ₀ + ΦᵀΦ)⁻¹, K' = K̄₀ + C'Φᵀ(Y − ΦK̄₀)",
    head=True,
    notes="The noise s² is learned, and a person's own estimated with the head; in the paper it is given.",
)
