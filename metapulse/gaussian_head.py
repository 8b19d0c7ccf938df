"""Bayesian linear regression over a stack of clients: a Gaussian belief over each person's head, in closed form.

y = Kᵀx + e,  e_o ~ N(0, s_o²),  column o of K ~ N(k_o, s_o² C). C has no unit of the target: it says how much the noise
a person's head may weigh, and a head that is known exactly has C = 0. With a prior learned over people this is
empirical Bayes (Lindley and Smith 1972); with learned features it is the last layer of ALPaCA (Harrison, Sharma and
Pavone 2018, arXiv:1807.08912).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import PerSample

Features = Float[Tensor, "clients n width"]
Targets = Float[Tensor, "clients n outputs"]


@dataclass(frozen=True)
class GaussianHead:
    """A belief over the heads of a stack of clients.

    Args:
        mean: K̄, (clients, width, outputs).
        covariance: C, in units of the noise's variance, positive semidefinite, (clients, width, width).
        noise: s², variance of one reading around its mean, in the target's unit squared, > 0, (clients, outputs).
    """

    mean: Float[Tensor, "clients width outputs"]
    covariance: Float[Tensor, "clients width width"]
    noise: Float[Tensor, "clients outputs"]

    def of(self, rows: Tensor) -> GaussianHead:
        """The belief of some of the clients, by index."""
        return GaussianHead(self.mean[rows], self.covariance[rows], self.noise[rows])


def condition(prior: GaussianHead, x: Features, y: Targets, mask: PerSample) -> GaussianHead:
    """The belief after samples: C' = (C⁻¹ + XᵀX)⁻¹, K' = K̄ + C'Xᵀ(Y − XK̄).

    Computed without C⁻¹, through (I + C XᵀX)⁻¹C, so that a part of the head may be known exactly.

    Args:
        prior: before the samples.
        x: features.
        y: targets.
        mask: 1 for a sample, 0 for padding; between them a sample counts for a part.

    Returns:
        The posterior; that of a client without samples is its prior.
    """
    weighted = x * mask.unsqueeze(2)
    gram = weighted.transpose(1, 2) @ x
    residual = weighted.transpose(1, 2) @ (y - x @ prior.mean)
    identity = torch.eye(x.shape[2]).to(x)
    covariance = torch.linalg.solve(identity + prior.covariance @ gram, prior.covariance)
    covariance = 0.5 * (covariance + covariance.transpose(1, 2))
    return GaussianHead(prior.mean + covariance @ residual, covariance, prior.noise)


def observe(
    belief: GaussianHead, x: Float[Tensor, "clients width"], y: Float[Tensor, "clients outputs"]
) -> GaussianHead:
    """The belief after one more sample of each client, by a rank-one update (Sherman and Morrison 1950).

    g = Cx / (1 + xᵀCx),  C' = C − g (Cx)ᵀ,  K' = K̄ + g (y − K̄ᵀx)ᵀ.

    Args:
        belief: before the sample.
        x: its features.
        y: its target.
    """
    along = torch.einsum("cij,cj->ci", belief.covariance, x)
    gain = along / (1.0 + (x * along).sum(1, keepdim=True))
    surprise = y - torch.einsum("cio,ci->co", belief.mean, x)
    mean = belief.mean + gain.unsqueeze(2) * surprise.unsqueeze(1)
    return GaussianHead(mean, belief.covariance - gain.unsqueeze(2) * along.unsqueeze(1), belief.noise)


def forget(belief: GaussianHead, prior: GaussianHead, kept: float) -> GaussianHead:
    """The belief drawn back towards the prior: in precision, ``kept`` of the one and 1 − ``kept`` of the other.

    Λ' = λΛ + (1 − λ)Λ₀ and Λ'K' = λΛK + (1 − λ)Λ₀K₀, stabilised forgetting (Kulhavý and Zarrop 1993). What is
    not seen again widens to the prior and no further, where exponential forgetting alone widens for ever.

    Args:
        belief: what is known now; its covariance is positive definite.
        prior: what it falls back to; positive definite too.
        kept: λ, in [0, 1]; 1 forgets nothing.
    """
    now, back = torch.linalg.inv(belief.covariance), torch.linalg.inv(prior.covariance)
    precision = kept * now + (1.0 - kept) * back
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (kept * (now @ belief.mean) + (1.0 - kept) * (back @ prior.mean))
    return GaussianHead(mean, 0.5 * (covariance + covariance.transpose(1, 2)), belief.noise)


def predictive(belief: GaussianHead, x: Features) -> tuple[Targets, Targets]:
    """Mean and variance of the target of new samples: xᵀK̄ and s²(1 + xᵀCx).

    Args:
        belief: over the heads.
        x: features.

    Returns:
        Mean, in the target's unit, and variance, in its square; of one reading, its noise included.
    """
    spread = 1.0 + torch.einsum("cni,cij,cnj->cn", x, belief.covariance, x)
    return x @ belief.mean, spread.unsqueeze(2) * belief.noise.unsqueeze(1)


def negative_log_likelihood(belief: GaussianHead, x: Features, y: Targets) -> Float[Tensor, "clients n outputs"]:
    """−log p(y | x) of each sample alone under the belief, in nats: the loss of ALPaCA, equation 8."""
    mean, variance = predictive(belief, x)
    return 0.5 * ((y - mean).square() / variance + variance.log() + math.log(2.0 * math.pi))


def log_evidence(prior: GaussianHead, x: Features, y: Targets, mask: PerSample) -> Float[Tensor, " clients"]:
    """log p(Y | X) of all samples of a client together, in nats: what an empirical-Bayes prior makes largest.

    By the matrix determinant lemma, with n samples and posterior C': for every output
    −½ [n log 2πs² + log|I + C XᵀX| + (‖r‖² − rᵀX C' Xᵀr) / s²], r = y − XK̄.

    Args:
        prior: before the samples.
        x: features.
        y: targets.
        mask: 1 for a sample, 0 for padding.
    """
    after = condition(prior, x, y, mask)
    residual = (y - x @ prior.mean) * mask.unsqueeze(2).sqrt()
    moment = (x * mask.unsqueeze(2).sqrt()).transpose(1, 2) @ residual
    explained = (moment * (after.covariance @ moment)).sum(1)
    gram = (x * mask.unsqueeze(2)).transpose(1, 2) @ x
    sign_log = torch.linalg.slogdet(torch.eye(x.shape[2]).to(x) + prior.covariance @ gram)
    count = mask.sum(1, keepdim=True)
    misfit = (residual.square().sum(1) - explained) / prior.noise
    each = count * (2.0 * math.pi * prior.noise).log() + sign_log.logabsdet.unsqueeze(1) + misfit
    total: Tensor = -0.5 * each.sum(1)
    return total
