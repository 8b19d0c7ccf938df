"""Another person: the excess of cut rounds is shown, sound rounds are never doubted, figures are closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from metapulse.rng import generator
from metapulse.sim.audit.presence import dispersion, doubt, drawn, laws
from metapulse.sim.audit.worst_case import SumDistribution, epsilon_at_least
from metapulse.strategies.privacy.accounting import Release, epsilon, package
from tests.mistakes import planted, shown, subject

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("setting", "cut", "stated"),
    [
        ((60, 30, 4.5, 20, 1e-5), 2.57, 2.09),
        ((100, 90, 10.0, 100, 1e-5), 5.89, 3.89),
        ((1000, 100, 20.0, 1000, 1e-6), 0.92, 0.65),
    ],
)
def test_rounds_cut_to_a_cohort_are_refuted_and_whole_ones_are_not(
    setting: tuple[int, int, float, int, float], cut: float, stated: float
) -> None:
    made = subject(*setting)
    with planted("rounds cut to a cohort"):
        bad = shown(made, 200, 0)
    good = shown(made, 200, 0)
    assert bad.refuted
    assert bad.epsilon == pytest.approx(cut, abs=0.01)
    assert made.claimed == pytest.approx(stated, abs=0.01)
    assert 60 < bad.fewer < 140  # about half of 200 draws are larger than their mean
    assert (good.refuted, good.doubt, good.fewer) == (False, "", 0)
    assert 0.99 * (made.claimed or 0.0) < good.epsilon <= (made.claimed or 0.0)  # and it is no weak attack


@pytest.mark.parametrize(
    ("mistake", "word"),
    [("rounds cut where drawn", "people in a round varies less"), ("one client in every round", "")],
)
def test_draws_that_are_not_independent_coins_are_doubted(mistake: str, word: str) -> None:
    with planted(mistake):
        said = shown(subject(60, 10, 4.5, 20, 1e-5), 500, 0).doubt
    assert said
    assert word in said


def test_sound_rounds_are_never_doubted() -> None:
    made = subject(12, 3, 3.0, 10, 1e-5)
    assert made.plan is not None
    for seed in range(200):
        assert doubt(made, made.plan.release, list(drawn(made, made.plan, 25, seed))) == ""
    for seed in range(3):
        assert not shown(made, 25, seed).refuted


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_no_accountant_is_refuted(sampling: str, accountant: str) -> None:
    found = shown(subject(40, 12, 2.0, 5, 1e-5, sampling=sampling, accountant=accountant), 50, 0)
    assert (found.refuted, found.doubt) == (False, "")
    assert found.epsilon > 0.3


def test_one_round_of_everybody_is_a_gaussian() -> None:
    """Places 0 and 1: the figure is that of Balle and Wang 2018, Theorem 8, which dp-accounting has."""
    place = [SumDistribution(np.array([at]), np.ones(1)) for at in (0.0, 1.0)]
    for sigma, rounds, delta in ((1.0, 1, 1e-5), (3.0, 50, 1e-6), (0.3, 1, 1e-5)):
        exact = package().get_epsilon_gaussian(sigma / rounds**0.5, delta)
        assert epsilon_at_least(*place, sigma, rounds, delta) == pytest.approx(exact, rel=0.004)
        assert epsilon_at_least(*place, sigma, rounds, delta) <= exact
    assert epsilon_at_least(place[0], place[0], 1.0, 100, 1e-5) == 0.0


def test_games_show_no_more_than_the_bound() -> None:
    """40 000 games of either population, cut rounds: by Clopper and Pearson ε ≥ ln((TPR − δ) / FPR), which stays below.

    The observer adds up what he sees of the sum, which for so small steps orders as likelihood ratios do.
    """
    people, cohort, sigma, rounds, delta, games = 60, 30, 4.5, 20, 1e-5, 40_000
    rng = generator(0, "games")

    def sums(there: bool) -> np.ndarray[Any, Any]:
        others = rng.binomial(people - 1, 0.5, (games, rounds))
        he = there & (rng.random((games, rounds)) < 0.5)
        total = others + he
        count = np.minimum(total, cohort)
        heard = he & (rng.random((games, rounds)) < count / np.maximum(total, 1))
        return (np.where(heard, 2.0, 0.0) - count + sigma * rng.standard_normal((games, rounds))).sum(1)

    absent, present = sums(False), sums(True)
    at = np.quantile(absent, 0.995)
    hits, false = int((present > at).sum()), int((absent > at).sum())
    low = beta.ppf(0.025, hits, games - hits + 1)
    high = beta.ppf(0.975, false + 1, games - false)
    shown_by_games = float(np.log((low - delta) / high))
    release = Release(sigma, cohort, people, "poisson")
    rule = {d: min(d, cohort) for d in range(people + 1)}
    bound = epsilon_at_least(*laws(release, 0.5, rule, 1.0), sigma, rounds, delta)
    assert 1.0 < shown_by_games < bound
    assert bound > epsilon(release, rounds, delta) * 1.2


def test_dispersion_is_standard_normal_of_coins_and_large_of_others() -> None:
    rng = generator(0, "dispersion")
    found = [dispersion(rng.binomial(50, 0.3, 400), 50, 0.3) for _ in range(300)]
    assert abs(np.mean(found)) < 0.3  # standard error 0.06
    assert np.std(found) == pytest.approx(1.0, abs=0.15)  # standard error 0.04
    assert dispersion(np.full(400, 15), 50, 0.3) < -10
    assert dispersion(np.array([50, 50]), 50, 1.0) == 0.0
    assert dispersion(np.array([50, 49]), 50, 1.0) == float("inf")


def test_draws_have_the_seed_as_their_address() -> None:
    made = subject(30, 9, 3.0, 10, 1e-5)
    assert made.plan is not None
    once, again, other = (list(drawn(made, made.plan, 5, seed)) for seed in (0, 0, 1))
    assert once == again != other
