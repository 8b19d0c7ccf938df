"""Empirical Bayes: the prior over people's heads that makes what all of them have measured most likely, by EM.

y_i = X_i w_i + e,  e ~ N(0, s²),  w_i ~ N(m, s² C): the linear mixed model (Laird and Ware 1982), every coefficient of
which is random. A person computes what to expect of their own head (``moments``); the prior after it depends on the
*mean* of these over people alone (``m_step``), so a federation learns it by averaging. ``ScaledMoments`` are of
the same model where the noise, too, is a person's own, and the spread of a head in proportion to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import PerSample
from metapulse.gaussian_head import Features, GaussianHead, Targets, condition

SWEEPS, CLOSE = 200, 1e-12  # of noise and covariance in turn: at most so many, until noise moves by no larger a part
LEAST = 1e-12  # variance of a target, in its unit squared, below which no noise is estimated


@dataclass(frozen=True)
class Moments:
    """What is expected of heads under a prior, given each person's samples; without client axis: a mean over people.

    Args:
        mean: E[w], (clients, width, outputs).
        spread: E[(w − m)(w − m)ᵀ] around the mean m of the prior, (clients, outputs, width, width).
        residual: E‖y − Xw‖², in the target's unit squared, (clients, outputs).
        count: samples, (clients,).
    """

    mean: Float[Tensor, "*clients width outputs"]
    spread: Float[Tensor, "*clients outputs width width"]
    residual: Float[Tensor, "*clients outputs"]
    count: Float[Tensor, "*clients"]

    def average(self) -> Moments:
        """The mean over people, each counting alike."""
        return Moments(*(getattr(self, field.name).mean(0) for field in fields(self)))


def moments(prior: GaussianHead, x: Features, y: Targets, mask: PerSample) -> Moments:
    """The E-step of each client: with the posterior N(K', s²C'), E[(w−m)(w−m)ᵀ] = (K'−m)(K'−m)ᵀ + s²C'.

    E‖y − Xw‖² = ‖y − XK'‖² + s² tr(C' XᵀX). A client without samples reports the prior itself.

    Args:
        prior: over heads.
        x: features.
        y: targets.
        mask: 1 for a sample, 0 for padding.

    Source: Laird and Ware 1982, "Random-effects models for longitudinal data", section 4.
    """
    after = condition(prior, x, y, mask)
    apart = (after.mean - prior.mean).transpose(1, 2)  # (clients, outputs, width)
    noise = after.noise.unsqueeze(2).unsqueeze(3)
    spread = apart.unsqueeze(3) * apart.unsqueeze(2) + noise * after.covariance.unsqueeze(1)
    weighted = x * mask.unsqueeze(2)
    unsure = (after.covariance * (weighted.transpose(1, 2) @ x)).sum((1, 2))
    misfit = ((y - x @ after.mean).square() * mask.unsqueeze(2)).sum(1)
    return Moments(after.mean, spread, misfit + after.noise * unsure.unsqueeze(1), mask.sum(1))


def m_step(expected: Moments, target: Float[Tensor, "width width"], shrinkage: float = 0.0) -> GaussianHead:
    """The prior under which the expected complete data are most likely, a stack of one.

    With means over people, S_o of spreads, R_o of residuals, n of counts, d the width, O outputs, T the target and
    κ the shrinkage, the maximum is where
    C = (Σ_o S_o/s_o² + κT) / (O + κ)  and  s_o² = (R_o + tr(C⁻¹S_o)) / (n + d),
    found by solving the one and the other in turn (with C put in, the objective is concave in log s⁻²: there is one
    maximum; with one output and κ = 0 the first pass, s² = R/n, is at it). κ is the
    weight of an inverse-Wishart prior on C: κ = ν/N says as much as ν people whose heads spread as T, beside N
    of whom was measured (0: maximum likelihood; →∞: C = T, ridge regression towards m).

    Args:
        expected: means over people, without client axis; spreads around the mean of the prior they were made with,
            so that this is a conditional maximisation (Meng and Rubin 1993): C and s² given the old m, then m.
        target: T, positive definite, in units of the noise's variance.
        shrinkage: κ ≥ 0.
    """
    outputs, width = expected.spread.shape[0], expected.spread.shape[1]
    spread = _semidefinite(expected.spread)
    count = expected.count.clamp(min=1e-6)
    noise = (expected.residual / count).clamp(min=LEAST)
    covariance = _weighed(spread, noise, target, shrinkage)
    for _ in range(SWEEPS if outputs > 1 or shrinkage else 0):
        before = noise
        trace = (torch.linalg.pinv(covariance, hermitian=True) * spread).sum((1, 2))
        noise = ((expected.residual + trace) / (count + width)).clamp(min=LEAST)
        covariance = _weighed(spread, noise, target, shrinkage)
        if bool(((noise - before).abs() <= CLOSE * before).all()):
            break
    return GaussianHead(expected.mean.unsqueeze(0), covariance.unsqueeze(0), noise.unsqueeze(0))


def _weighed(spread: Tensor, noise: Tensor, target: Tensor, shrinkage: float) -> Tensor:
    total: Tensor = (spread / noise.view(-1, 1, 1)).sum(0) + shrinkage * target
    return total / (len(spread) + shrinkage)


def _semidefinite(spread: Float[Tensor, "outputs width width"]) -> Float[Tensor, "outputs width width"]:
    """The nearest positive semidefinite matrices: what noise for privacy was added to need not be any."""
    values, vectors = torch.linalg.eigh(0.5 * (spread + spread.transpose(1, 2)))
    if bool((values >= 0).all()):
        return 0.5 * (spread + spread.transpose(1, 2))
    return (vectors * values.clamp(min=0.0).unsqueeze(1)) @ vectors.transpose(1, 2)


@dataclass(frozen=True)
class ScaledMoments:
    """The same where each person has a noise s_i² of their own, w_i ~ N(m, s_i²C).

    Args:
        weighed: E[w/s_i²], (clients, width, outputs).
        spread: E[(w − m)(w − m)ᵀ/s_i²], mean over outputs, without unit, (clients, width, width).
        precision: E[1/s_i²], in 1 over the target's unit squared, (clients, outputs).
    """

    weighed: Float[Tensor, "*clients width outputs"]
    spread: Float[Tensor, "*clients width width"]
    precision: Float[Tensor, "*clients outputs"]

    def average(self) -> ScaledMoments:
        """The mean over people, each counting alike."""
        return ScaledMoments(*(getattr(self, field.name).mean(0) for field in fields(self)))


def condition_scaled(prior: GaussianHead, x: Features, y: Targets, mask: PerSample, freedom: float) -> GaussianHead:
    """The belief after samples where the noise is learned with the head: 1/s² ~ Gamma(ν/2, ν s₀²/2).

    The posterior is of the same kind with ν + n in the place of ν, and of noise it holds 1/E[1/s²]:
    s² = (ν s₀² + ‖r‖² − rᵀX C' Xᵀr) / (ν + n), r = y − XK̄.

    Args:
        prior: with s₀² as its noise.
        x: features.
        y: targets.
        mask: 1 for a sample, 0 for padding; between them a sample counts for a part.
        freedom: ν > 0, samples that the population's noise counts for.

    Source: Raiffa and Schlaifer 1961, the normal-gamma conjugate family.
    """
    after = condition(prior, x, y, mask)
    residual = y - x @ prior.mean
    misfit = (residual * (y - x @ after.mean) * mask.unsqueeze(2)).sum(1)
    noise = (freedom * prior.noise + misfit) / (freedom + mask.sum(1, keepdim=True))
    return GaussianHead(after.mean, after.covariance, noise.clamp(min=LEAST))


def scaled_moments(prior: GaussianHead, x: Features, y: Targets, mask: PerSample, freedom: float) -> ScaledMoments:
    """The E-step of each client under ``condition_scaled``; the arguments are its own."""
    after = condition_scaled(prior, x, y, mask, freedom)
    precision = 1.0 / after.noise
    apart = (after.mean - prior.mean).transpose(1, 2)  # (clients, outputs, width)
    outer = (apart.unsqueeze(3) * apart.unsqueeze(2) * precision.unsqueeze(2).unsqueeze(3)).mean(1)
    return ScaledMoments(after.mean * precision.unsqueeze(1), outer + after.covariance, precision)


def scaled_m_step(
    expected: ScaledMoments, target: Float[Tensor, "width width"], shrinkage: float = 0.0
) -> GaussianHead:
    """m = E[w/s²]/E[1/s²],  s₀² = 1/E[1/s²],  C = (S + κT) / (1 + κ), over people; a stack of one.

    Args:
        expected: means over people, without client axis, around the mean of the prior they were made with.
        target: T, positive definite, in units of the noise's variance.
        shrinkage: κ ≥ 0, as in ``m_step``, per output.
    """
    precision = expected.precision.clamp(min=LEAST)
    spread = (_semidefinite(expected.spread.unsqueeze(0))[0] + shrinkage * target) / (1.0 + shrinkage)
    return GaussianHead((expected.weighed / precision).unsqueeze(0), spread.unsqueeze(0), 1.0 / precision.unsqueeze(0))


def for_each(prior: GaussianHead, clients: int) -> GaussianHead:
    """One prior as that of every client of a stack.

    Args:
        prior: a stack of one.
        clients: how many there are.
    """
    parts = (prior.mean, prior.covariance, prior.noise)
    return GaussianHead(*(part.expand(clients, *part.shape[1:]) for part in parts))


def fit(
    x: Features,
    y: Targets,
    mask: PerSample,
    start: GaussianHead,
    iterations: int,
    target: Float[Tensor, "width width"] | None = None,
    shrinkage: float = 0.0,
) -> GaussianHead:
    """The prior over the heads of a stack of people, by so many rounds of EM from a start.

    Σ_i log p(y_i | X_i) never falls; with shrinkage the same plus the log density of the prior on C.

    Args:
        x: features of each person.
        y: targets.
        mask: 1 for a sample, 0 for padding.
        start: a stack of one; a covariance of zero stays there.
        iterations: rounds, ≥ 0.
        target: T of ``m_step``; None: the start's covariance.
        shrinkage: κ of ``m_step``.

    Returns:
        A stack of one.

    Source: Dempster, Laird and Rubin 1977; Laird and Ware 1982.
    """
    prior, towards = start, start.covariance[0] if target is None else target
    for _ in range(iterations):
        expected = moments(for_each(prior, len(x)), x, y, mask).average()
        prior = m_step(expected, towards, shrinkage)
    return prior
