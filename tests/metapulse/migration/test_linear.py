"""Posterior and prediction against dense Gaussian algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metapulse.gaussian_head import GaussianHead
from metapulse.migration.drift import Drift, fit_drift
from metapulse.migration.linear import Evidence, believe, foretell, learn_prior, take_rows
from metapulse.migration.pairs import Paired
from metapulse.migration.terms import Terms
from metapulse.rng import generator

DRIFT = Drift(torch.tensor([2.0, 1.5, 1.0, 40.0, 0.5], dtype=torch.float64).log())
TERMS = Terms((), 100.0, 20.0)
PRIOR = GaussianHead(
    torch.tensor([[[90.0], [15.0]]], dtype=torch.float64),
    torch.tensor([[[3.0, 0.5], [0.5, 2.0]]], dtype=torch.float64),
    torch.tensor([[16.0]], dtype=torch.float64),
)


def person(index: int, n: int, first: float = 0.0) -> Paired:
    rng = generator(3, "test person", client=index)
    hours = first + np.sort(rng.uniform(0.0, 48.0, n))
    old = rng.normal(100.0, 20.0, n)
    return Paired(hours, old, 95.0 + 0.7 * (old - 100.0) + rng.normal(0.0, 4.0, n))


def test_whitened_posterior_and_kriging_are_those_of_a_gaussian_process() -> None:
    seen, ahead = person(0, 25), person(1, 9, 40.0)
    evidence = Evidence(0.0, DRIFT)
    rows, query = take_rows(TERMS, [seen], 100), take_rows(TERMS, [ahead], 100)
    belief = believe(PRIOR, rows, evidence)
    mean, variance = foretell(belief, evidence, TERMS, query)
    x, z = rows.terms[0], query.terms[0]
    errors = DRIFT.shared(rows.hours, rows.level, rows.hours, rows.level)[0] + torch.eye(25)
    between = DRIFT.shared(query.hours, query.level, rows.hours, rows.level)[0]
    prior_mean, spread = PRIOR.mean[0, :, 0], PRIOR.covariance[0]
    solved = torch.linalg.solve(x @ spread @ x.T + errors, rows.new[0] - x @ prior_mean)
    expected = z @ prior_mean + (z @ spread @ x.T + between) @ solved
    torch.testing.assert_close(mean[0], expected)
    weights = spread - spread @ x.T @ torch.linalg.solve(x @ spread @ x.T + errors, x @ spread)
    torch.testing.assert_close(belief.head.covariance[0], weights)
    own = torch.einsum("ni,ij,nj->n", z, weights, z)
    torch.testing.assert_close(variance[0], 16.0 * (1.0 + own + DRIFT.total(query.level)[0]))


def test_without_overlap_the_belief_is_the_prior() -> None:
    for evidence in (Evidence(8.0), Evidence(8.0, DRIFT), Evidence(0.0, DRIFT)):
        rows = take_rows(TERMS, [Paired(*(np.empty(0),) * 3)], 100)
        belief = believe(PRIOR, rows, evidence)
        for name in ("mean", "covariance", "noise"):
            torch.testing.assert_close(getattr(belief.head, name), getattr(PRIOR, name))


def test_readings_that_repeat_each_other_count_by_their_hours() -> None:
    few = take_rows(TERMS, [person(0, 6)], 1000)
    many = Paired(*(np.repeat(column, 50) for column in (few.hours[0].numpy(), *_values(few))))
    rows, dense = few, take_rows(TERMS, [many], 1000)
    evidence = Evidence(24.0)
    assert float(evidence.counted(rows).sum()) == pytest.approx(float(evidence.counted(dense).sum()))
    one, other = (believe(PRIOR, each, evidence).head for each in (rows, dense))
    torch.testing.assert_close(one.covariance, other.covariance)
    torch.testing.assert_close(one.mean, other.mean)


def _values(rows) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    return (rows.level[0] * 20.0 + 100.0).numpy(), rows.new[0].numpy()


def test_one_wild_reading_moves_a_robust_map_little() -> None:
    clean = person(0, 20)
    new = clean.new.copy()
    new[7] -= 200.0
    wild = Paired(clean.hours, clean.old, new)

    def level(of: Paired, robust: bool) -> float:
        belief = believe(PRIOR, take_rows(TERMS, [of], 100), Evidence(0.0, None, robust))
        return float(belief.head.mean[0, 0, 0])

    assert abs(level(wild, True) - level(clean, True)) < 0.5
    assert abs(level(wild, False) - level(clean, False)) > 5.0


def test_a_line_with_bends_never_falls() -> None:
    terms = Terms(("bends",), 100.0, 20.0, (-0.4, 0.4))
    mean = torch.tensor([[[90.0], [5.0], [-9.0], [8.0]]], dtype=torch.float64)
    prior = GaussianHead(mean, 0.1 * torch.eye(4, dtype=torch.float64)[None], PRIOR.noise)
    old = np.linspace(40.0, 180.0, 50)
    rows = take_rows(terms, [Paired(np.arange(50.0), old, old)], 100)
    empty = take_rows(terms, [Paired(*(np.empty(0),) * 3)], 100)
    value, _ = foretell(believe(prior, empty, Evidence(8.0)), Evidence(8.0), terms, rows)
    assert bool((value[0].diff() >= 0.0).all())


def test_em_finds_the_spread_of_people() -> None:
    rng = generator(1, "test people")
    people = []
    for index in range(150):
        one = person(index, 30)
        weights = np.array([90.0, 14.0]) + np.array([8.0, 4.0]) * rng.normal(size=2)
        new = weights[0] + weights[1] * (one.old - 100.0) / 20.0 + rng.normal(0.0, 3.0, 30)
        people.append(Paired(one.hours, one.old, new))
    head = learn_prior(TERMS, take_rows(TERMS, people, 100), Evidence(0.1))
    spread = (head.covariance * head.noise.unsqueeze(2))[0].diagonal().sqrt()
    torch.testing.assert_close(head.mean[0, :, 0], torch.tensor([90.0, 14.0]).double(), rtol=0.0, atol=2.0)
    torch.testing.assert_close(spread, torch.tensor([8.0, 4.0]).double(), rtol=0.2, atol=0.0)
    assert float(head.noise.sqrt()) == pytest.approx(3.0, rel=0.05)


def test_drift_is_told_from_noise() -> None:
    def people(days: float) -> list[Paired]:
        made = []
        for index in range(12):
            rng = generator(2, "test drift", client=index)
            hours = np.sort(rng.uniform(0.0, 240.0, 60))
            apart = np.abs(hours[:, None] - hours[None])
            slow = np.linalg.cholesky(days**2 * np.exp(-apart / 48.0) + 1e-6 * np.eye(60)) @ rng.normal(size=60)
            old = rng.normal(100.0, 20.0, 60)
            made.append(Paired(hours, old, 90.0 + 0.8 * (old - 100.0) + slow + rng.normal(0.0, 3.0, 60)))
        return made

    found = []
    for days in (0.0, 9.0):
        rows = take_rows(TERMS, people(days), 60)
        drift = fit_drift(rows.hours, rows.terms, rows.new, rows.mask, 240.0)
        found.append(float(drift.total(torch.zeros(1, 1, dtype=torch.float64))))
    assert found[0] < 0.3 < 3.0 < found[1] < 30.0  # of a reading's own variance; 9 in the second
