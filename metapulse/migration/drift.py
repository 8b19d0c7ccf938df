"""How the errors of a map hang together in time: over hours, over days, and in a slope that drifts.

cov(e(t), e(t')) / s² = δ + r_h e^{−|t−t'|/τ_h} + (r_d + r_g x x') e^{−|t−t'|/τ_d}, with x the reading in units. Two
Ornstein-Uhlenbeck processes and readings' own noise: the first is what a person's hours have in common, the second a
sensor's calibration, which is not the same next week. What was seen near a moment tells the error there (kriging,
Krige 1951; Rasmussen and Williams 2006, equation 2.25).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import PerSample

Square = Float[Tensor, "clients n m"]

STEPS = 25  # of L-BFGS
NUMBERS = 5


@dataclass(frozen=True)
class Drift:
    """The five numbers, as logarithms: r_h, τ_h, r_d, τ_d, r_g; shares of a reading's own variance s², and hours."""

    logs: Float[Tensor, " 5"]

    def shared(
        self, t: Float[Tensor, "clients n"], x: Float[Tensor, "clients n"], at: PerSample, level: PerSample
    ) -> Square:
        """Covariance between errors at two sets of moments, without the readings' own noise, in units of s².

        Args:
            t, at: hours.
            x, level: readings there.
        """
        over_hours, tau_hours, over_days, tau_days, slope = self.logs.exp()
        apart = (t.unsqueeze(2) - at.unsqueeze(1)).abs()
        days = (over_days + slope * x.unsqueeze(2) * level.unsqueeze(1)) * (-apart / tau_days).exp()
        shared: Tensor = over_hours * (-apart / tau_hours).exp() + days
        return shared

    def total(self, x: Float[Tensor, "clients n"]) -> Float[Tensor, "clients n"]:
        """Variance of the error at a reading, without its own noise, in units of s²."""
        over_hours, _, over_days, _, slope = self.logs.exp()
        total: Tensor = over_hours + over_days + slope * x.square()
        return total

    def factor(self, t: PerSample, x: PerSample, mask: PerSample) -> Square:
        """Cholesky factor of the covariance of the errors, in units of s²; padding is noise alone."""
        both = mask.unsqueeze(2) * mask.unsqueeze(1)
        factor: Tensor = torch.linalg.cholesky(self.shared(t, x, t, x) * both + torch.eye(t.shape[1]).to(t))
        return factor


def fit_drift(t: PerSample, x: Float[Tensor, "clients n width"], y: PerSample, mask: PerSample, span: float) -> Drift:
    """The drift under which everyone's pairs are most likely, with a line of each person's own.

    Args:
        t: hours.
        x: 1 and the reading, in units.
        y: the new reading.
        mask: 1 for a pair, 0 for padding.
        span: hours that a person is seen; τ_h is expected near a 120th of it and τ_d near a fifth, give or take
            a factor of e (a log-normal prior).

    Source: Harville 1977, "Maximum likelihood approaches to variance component estimation".
    """
    expected = torch.tensor([0.0, max(span, 1.0) / 120.0, 0.0, max(span, 1.0) / 5.0, 0.0]).clamp(min=0.05).log().to(t)
    counts = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]).to(t)
    flat, weight = (x * mask.unsqueeze(2)).flatten(0, 1), mask.sum()
    mean = torch.linalg.lstsq(flat, (y * mask).flatten().unsqueeze(1)).solution.squeeze(1)
    misfit = ((y - x @ mean) * mask).square().sum() / weight
    start = [expected + torch.tensor([0.0, 0.0, -0.5, 0.0, -2.0]).to(t), (0.2 * misfit + 1e-9).log().reshape(1)]
    parts = [one.clone().requires_grad_() for one in (*start, torch.eye(x.shape[2]).to(t), mean)]

    def loss() -> Tensor:
        logs, noise, lower, centre = parts
        spread = x @ lower.tril()
        both = mask.unsqueeze(2) * mask.unsqueeze(1)
        covariance = (Drift(logs).shared(t, x[..., 1], t, x[..., 1]) + spread @ spread.transpose(1, 2)) * both
        factor = torch.linalg.cholesky(covariance + torch.eye(t.shape[1]).to(t))
        surprise = torch.linalg.solve_triangular(factor, ((y - x @ centre) * mask).unsqueeze(2), upper=False)
        volume = factor.diagonal(dim1=1, dim2=2).log().sum() + 0.5 * weight * noise.sum()
        unlikely = 0.5 * (counts * (logs - expected).square()).sum()
        total: Tensor = (0.5 * surprise.square().sum() / noise.exp().sum() + volume + unlikely) / len(t)
        return total

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser = torch.optim.LBFGS(parts, max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-4)
    try:
        optimiser.step(step)  # type: ignore[no-untyped-call]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # a step too far: what is expected stands
        return Drift(start[0])
    logs = parts[0].detach()
    return Drift(logs.clamp(-12.0, 12.0)) if bool(logs.isfinite().all()) else Drift(start[0])
