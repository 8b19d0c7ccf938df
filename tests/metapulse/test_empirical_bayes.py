"""Empirical Bayes: EM climbs the evidence, ends where its gradient is zero, and finds the people that it was given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metapulse.empirical_bayes import (
    Moments,
    condition_scaled,
    fit,
    for_each,
    m_step,
    moments,
    scaled_m_step,
    scaled_moments,
)
from metapulse.gaussian_head import GaussianHead, log_evidence
from metapulse.rng import generator

WIDTH = 3
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.8, 0.0], [-0.3, 0.2, 0.4]], dtype=torch.float64)
NOISE = 0.25


def drawn(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(generator(11, name, sum(shape)).standard_normal(shape))


def people(count: int, longest: int, outputs: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of people whose heads are drawn from N(MEAN, NOISE · ROOT ROOTᵀ); between 2 and ``longest`` of each."""
    x = drawn("x", count, longest, WIDTH)
    w = MEAN.view(1, WIDTH, 1) + NOISE**0.5 * ROOT @ drawn("w", count, WIDTH, outputs)
    y = x @ w + NOISE**0.5 * drawn("e", count, longest, outputs)
    n = 2 + torch.arange(count) % (longest - 1)
    return x, y, (torch.arange(longest) < n.unsqueeze(1)).double()


def start(outputs: int = 1, width: int = WIDTH) -> GaussianHead:
    ones = torch.ones(1, outputs, dtype=torch.float64)
    return GaussianHead(
        torch.zeros(1, width, outputs, dtype=torch.float64), torch.eye(width, dtype=torch.float64).unsqueeze(0), ones
    )


def evidence(prior: GaussianHead, x: Tensor, y: Tensor, mask: Tensor, shrinkage: float = 0.0) -> float:
    """Σ_i log p(y_i), and κN log of an inverse-Wishart density around I, up to a constant."""
    total = log_evidence(for_each(prior, len(x)), x, y, mask).sum()
    c = prior.covariance[0]
    own = -0.5 * len(x) * shrinkage * (torch.logdet(c) + torch.linalg.inv(c).trace())
    return float(total + own)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_evidence_never_falls(outputs: int, shrinkage: float) -> None:
    samples = people(12, 6, outputs)
    prior = start(outputs)
    before = evidence(prior, *samples, shrinkage)
    first = before
    for _ in range(25):
        prior = fit(*samples, prior, 1, torch.eye(WIDTH, dtype=torch.float64), shrinkage)
        after = evidence(prior, *samples, shrinkage)
        assert after >= before - 1e-9
        before = after
    assert before > first + 1.0


def test_em_ends_where_the_evidence_has_no_slope() -> None:
    x, y, mask = people(40, 12)
    found = fit(x, y, mask, start(), 600)
    mean, noise = found.mean.clone().requires_grad_(), found.noise.clone().requires_grad_()
    root = torch.linalg.cholesky(found.covariance).requires_grad_()
    prior = for_each(GaussianHead(mean, root @ root.mT, noise), len(x))
    slopes = torch.autograd.grad(log_evidence(prior, x, y, mask).sum(), [mean, root, noise])
    assert all(float(slope.tril().abs().max()) < 1e-2 for slope in slopes)


def test_people_are_found_again() -> None:
    """Within three standard errors of a mean and of variances over 2000 people."""
    found = fit(*people(2000, 20), start(), 60)
    cov = ROOT @ ROOT.T
    se = (NOISE * cov.diagonal() / 2000).sqrt()
    assert bool(((found.mean[0, :, 0] - MEAN).abs() < 4 * se + 0.01).all())
    torch.testing.assert_close(found.covariance[0], cov, rtol=0.12, atol=0.05)
    torch.testing.assert_close(found.noise, torch.tensor([[NOISE]], dtype=torch.float64), rtol=0.02, atol=0)


def test_shrinkage_goes_from_what_is_measured_to_the_target() -> None:
    samples = people(6, 8)
    target = 0.1 * torch.eye(WIDTH, dtype=torch.float64)
    gaps = [
        float((fit(*samples, start(), 100, target, kappa).covariance[0] - target).norm()) for kappa in (0.1, 1.0, 1e6)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3


def test_an_average_of_parts_is_that_of_all() -> None:
    """What a federation averages: people apart, or together."""
    x, y, mask = people(8, 5)
    prior = for_each(start(), 8)
    together = moments(prior, x, y, mask).average()
    halves = [moments(prior.of(part), x[part], y[part], mask[part]) for part in (torch.arange(4), torch.arange(4, 8))]
    joined = Moments(*(torch.cat([getattr(h, name) for h in halves]) for name in Moments.__dataclass_fields__))
    for name in Moments.__dataclass_fields__:
        torch.testing.assert_close(getattr(joined.average(), name), getattr(together, name))


def test_padding_and_people_without_samples_change_nothing() -> None:
    x, y, mask = people(3, 4)
    dirty_x, dirty_y = torch.where(mask.unsqueeze(2) > 0, x, 50.0), torch.where(mask.unsqueeze(2) > 0, y, -70.0)
    prior = for_each(start(), 3)
    clean, dirty = moments(prior, x, y, mask), moments(prior, dirty_x, dirty_y, mask)
    nothing = moments(prior, x, y, mask * 0)
    for name in Moments.__dataclass_fields__:
        torch.testing.assert_close(getattr(clean, name), getattr(dirty, name))
    torch.testing.assert_close(nothing.mean, prior.mean)
    torch.testing.assert_close(nothing.spread[:, 0], prior.covariance * prior.noise.unsqueeze(2))
    assert not nothing.residual.any()
    assert not nothing.count.any()


def test_noise_for_privacy_leaves_a_belief() -> None:
    """A spread that is no covariance any more becomes the nearest one."""
    broken = Moments(
        torch.zeros(2, 1),
        torch.tensor([[[1.0, 0.0], [0.0, -0.5]]]),
        torch.tensor([-1.0]),
        torch.tensor(3.0),
    )
    prior = m_step(broken, torch.eye(2), 0.5)
    assert bool((torch.linalg.eigvalsh(prior.covariance[0]) > 0).all())
    assert bool((prior.noise > 0).all())


def test_the_estimate_is_that_of_a_mixed_model() -> None:
    """Of statsmodels 0.15.0, with ``i, t = numpy.meshgrid(range(12), range(8), indexing="ij")`` and x, y as below::

    fit = MixedLM(y.ravel(), x.reshape(-1, 2), i.ravel(), x.reshape(-1, 2)).fit(reml=False, gtol=1e-10)
    fit.fe_params, fit.cov_re / fit.scale, fit.scale, fit.llf
    """
    i, t = torch.meshgrid(torch.arange(12).double(), torch.arange(8).double(), indexing="ij")
    x = torch.stack([torch.ones_like(t), torch.sin(1.7 * t + i)], -1)
    w = torch.stack([1 + torch.sin(3.1 * i), -0.5 + 0.6 * torch.cos(2.3 * i)], -1)
    y = ((x * w).sum(-1) + 0.4 * torch.sin(12.9898 * (8 * i + t) + 78.233)).unsqueeze(2)
    found = fit(x, y, torch.ones_like(t), start(width=2), 300)
    expected = ([1.00342678, -0.44799966], [[1.39388346, -0.02778636], [-0.02778636, 2.21129079]], 0.06692534854)
    for ours, theirs in zip((found.mean[0, :, 0], found.covariance[0], found.noise[0, 0]), expected, strict=True):
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-4, atol=1e-5)
    assert evidence(found, x, y, torch.ones_like(t)) == pytest.approx(-35.05815753809958, abs=1e-5)


def t_evidence(prior: GaussianHead, x: Tensor, y: Tensor, mask: Tensor, freedom: float) -> float:
    """Σ_i log p(y_i) where s_i² is integrated out: a multivariate t with scale s₀²(I + XCXᵀ), by dense algebra."""
    total = torch.zeros((), dtype=torch.float64)
    for xi, yi, mi in zip(x, y[..., 0], mask, strict=True):
        z, n = xi[mi > 0], int(mi.sum())
        scale = prior.noise[0, 0] * (torch.eye(n).double() + z @ prior.covariance[0] @ z.T)
        r = yi[mi > 0] - z @ prior.mean[0, :, 0]
        form = 1.0 + r @ torch.linalg.solve(scale, r) / freedom
        half = torch.tensor(freedom / 2.0, dtype=torch.float64)
        total += torch.lgamma(half + n / 2.0) - torch.lgamma(half) - 0.5 * n * math.log(freedom * math.pi)
        total += -0.5 * torch.logdet(scale) - (half + n / 2.0) * form.log()
    return float(total)


def test_evidence_never_falls_where_noise_is_a_persons_own() -> None:
    x, y, mask = people(12, 6)
    y = y * torch.linspace(0.3, 3.0, 12).double().view(-1, 1, 1)
    prior, target = start(), torch.eye(WIDTH).double()
    before = first = t_evidence(prior, x, y, mask, 4.0)
    for _ in range(25):
        prior = scaled_m_step(scaled_moments(for_each(prior, 12), x, y, mask, 4.0).average(), target)
        after = t_evidence(prior, x, y, mask, 4.0)
        assert after >= before - 1e-9
        before = after
    assert before > first + 1.0


def test_own_noise_goes_from_the_populations_to_what_was_seen() -> None:
    x, y, mask = people(3, 40)
    y = y * torch.tensor([0.1, 1.0, 10.0]).double().view(-1, 1, 1)
    prior = for_each(start(), 3)
    stiff, own = (condition_scaled(prior, x, y, mask, freedom).noise[:, 0] for freedom in (1e9, 1e-9))
    torch.testing.assert_close(stiff, torch.ones(3).double(), rtol=1e-4, atol=1e-4)
    assert own[0] < own[1] < own[2]
    torch.testing.assert_close(condition_scaled(prior, x, y, mask * 0, 5.0).noise, prior.noise)
