"""Gaussian heads against dense linear algebra, and their laws."""

from __future__ import annotations

from dataclasses import astuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from metapulse.gaussian_head import (
    GaussianHead,
    condition,
    forget,
    log_evidence,
    negative_log_likelihood,
    observe,
    predictive,
)
from metapulse.rng import generator

CLIENTS, N, WIDTH, OUTPUTS = 3, 7, 4, 2
COUNTS = (7, 4, 0)


def normal(*shape: int) -> Tensor:
    return torch.from_numpy(generator(5, "normal", len(shape), shape[-1]).standard_normal(shape))


def prior() -> GaussianHead:
    root = normal(CLIENTS, WIDTH, WIDTH)
    return GaussianHead(
        normal(CLIENTS, WIDTH, OUTPUTS), root @ root.mT + torch.eye(WIDTH), normal(CLIENTS, OUTPUTS).exp()
    )


def samples() -> tuple[Tensor, Tensor, Tensor]:
    mask = (torch.arange(N) < torch.tensor(COUNTS).unsqueeze(1)).double()
    return normal(CLIENTS, N, WIDTH), normal(CLIENTS, N, OUTPUTS), mask


def assert_same(a: GaussianHead, b: GaussianHead) -> None:
    for one, other in zip(astuple(a), astuple(b), strict=True):
        torch.testing.assert_close(one, other)


def test_condition_is_the_textbook_posterior() -> None:
    before, (x, y, mask) = prior(), samples()
    after = condition(before, x, y, mask)
    for c, n in enumerate(COUNTS):
        precision = before.covariance[c].inverse() + x[c, :n].T @ x[c, :n]
        mean = precision.inverse() @ (before.covariance[c].inverse() @ before.mean[c] + x[c, :n].T @ y[c, :n])
        torch.testing.assert_close(after.covariance[c], precision.inverse())
        torch.testing.assert_close(after.mean[c], mean)


def test_without_samples_the_posterior_is_the_prior() -> None:
    before, (x, y, mask) = prior(), samples()
    assert_same(condition(before, x, y, mask * 0), before)


def test_what_padding_holds_changes_nothing() -> None:
    before, (x, y, mask) = prior(), samples()
    other = condition(before, x + 1e3 * (1 - mask).unsqueeze(2), y - 1e3 * (1 - mask).unsqueeze(2), mask)
    assert_same(condition(before, x, y, mask), other)


def test_a_part_known_exactly_stays() -> None:
    before, (x, y, mask) = prior(), samples()
    known = before.covariance.clone()
    known[:, 0] = known[:, :, 0] = 0.0
    after = condition(GaussianHead(before.mean, known, before.noise), x, y, mask)
    torch.testing.assert_close(after.mean[:, 0], before.mean[:, 0])
    torch.testing.assert_close(after.covariance[:, 0], torch.zeros(CLIENTS, WIDTH, dtype=x.dtype))


def test_one_sample_after_another_is_all_at_once_in_any_order() -> None:
    before, (x, y, _) = prior(), samples()
    together = condition(before, x, y, torch.ones(CLIENTS, N, dtype=x.dtype))
    for order in (range(N), reversed(range(N))):
        belief = before
        for i in order:
            belief = observe(belief, x[:, i], y[:, i])
        assert_same(belief, together)


def test_the_evidence_is_the_density_of_all_samples_together() -> None:
    before, (x, y, mask) = prior(), samples()
    found = log_evidence(before, x, y, mask)
    for c, n in enumerate(COUNTS):
        expected = torch.zeros((), dtype=x.dtype)
        for o in range(OUTPUTS if n else 0):
            covariance = before.noise[c, o] * (torch.eye(n) + x[c, :n] @ before.covariance[c] @ x[c, :n].T)
            density = MultivariateNormal(x[c, :n] @ before.mean[c, :, o], covariance)
            expected = expected + density.log_prob(y[c, :n, o])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(found[c], expected)


def test_the_evidence_is_the_product_of_forecasts_one_step_ahead() -> None:
    before, (x, y, _) = prior(), samples()
    belief, total = before, torch.zeros(CLIENTS, dtype=x.dtype)
    for i in range(N):
        total -= negative_log_likelihood(belief, x[:, i : i + 1], y[:, i : i + 1]).sum((1, 2))
        belief = observe(belief, x[:, i], y[:, i])
    torch.testing.assert_close(log_evidence(before, x, y, torch.ones(CLIENTS, N, dtype=x.dtype)), total)


def test_forecasts_cover_what_the_model_draws() -> None:
    generator_ = torch.Generator().manual_seed(0)
    people, n, width = 4000, 3, 2
    before = GaussianHead(
        torch.zeros(people, width, 1, dtype=torch.float64),
        torch.eye(width, dtype=torch.float64).expand(people, -1, -1) * 2.0,
        torch.full((people, 1), 0.5, dtype=torch.float64),
    )
    head = torch.randn(people, width, 1, generator=generator_, dtype=torch.float64)  # variance s²C = 0.5 · 2 = 1
    x = torch.randn(people, n + 1, width, generator=generator_, dtype=torch.float64)
    y = x @ head + 0.5**0.5 * torch.randn(people, n + 1, 1, generator=generator_, dtype=torch.float64)
    after = condition(before, x[:, :n], y[:, :n], torch.ones(people, n, dtype=torch.float64))
    mean, variance = predictive(after, x[:, n:])
    z = ((y[:, n:] - mean) / variance.sqrt()).flatten()
    assert abs(float((z.abs() < 1.6449).double().mean()) - 0.9) < 4 * (0.09 / people) ** 0.5
    assert float(z.square().mean()) == pytest.approx(1.0, abs=4 * (2 / people) ** 0.5)


def test_forgetting_goes_from_the_belief_to_the_prior() -> None:
    before, (x, y, mask) = prior(), samples()
    after = condition(before, x, y, mask)
    assert_same(forget(after, before, 1.0), after)
    assert_same(forget(after, before, 0.0), before)
    half = forget(after, before, 0.5)
    spread = torch.diagonal(half.covariance, dim1=1, dim2=2)
    assert (spread <= torch.diagonal(before.covariance, dim1=1, dim2=2) + 1e-9).all()
    assert (spread >= torch.diagonal(after.covariance, dim1=1, dim2=2) - 1e-9).all()
