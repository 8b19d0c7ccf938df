"""The lower bound: its closed forms, its definition, and that it holds as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from metapulse.rng import generator
from metapulse.sim.audit.bound import best_bound, guess_bounds, guessing_p_value, lower_bound
from metapulse.strategies.privacy.accounting import Release
from metapulse.strategies.privacy.accounting import epsilon as accounted


@pytest.mark.parametrize(("guesses", "ceiling"), [(200, 4.19), (2000, 6.50), (1000, 5.81)])
def test_the_ceiling_is_that_of_the_closed_form(guesses: int, ceiling: float) -> None:
    """All guesses correct has probability (e^ε / (1 + e^ε))^r, which is 1/20 at ε = −ln(20^(1/r) − 1)."""
    found = lower_bound(guesses, guesses, guesses, 0.0, 0.05)
    assert found == pytest.approx(-math.log(20.0 ** (1.0 / guesses) - 1.0), abs=1e-6)
    assert round(found, 2) == ceiling


def test_as_many_right_as_wrong_show_nothing() -> None:
    assert lower_bound(100, 100, 50, 0.0, 0.05) == 0.0
    assert lower_bound(100, 100, 0, 1e-6, 0.05) == 0.0


@settings(max_examples=25)
@given(
    guesses=st.integers(1, 60),
    share=st.floats(0, 1),
    epsilon=st.floats(0, 6),
    delta=st.sampled_from([0.0, 1e-5, 1e-3]),
)
def test_the_p_value_is_its_definition(guesses: int, share: float, epsilon: float, delta: float) -> None:
    """β + 2 m δ max_i P[v − i ≤ B < v] / i over all i up to m, written as it is read."""
    correct, canaries = round(share * guesses), guesses + 7
    right = math.exp(epsilon) / (1.0 + math.exp(epsilon))
    beta = sum(binom.pmf(k, guesses, right) for k in range(correct, guesses + 1))
    parts = [
        sum(binom.pmf(k, guesses, right) for k in range(max(0, correct - i), correct)) / i
        for i in range(1, canaries + 1)
    ]
    expected = min(1.0, beta + 2 * canaries * delta * max(parts))
    assert guessing_p_value(canaries, guesses, correct, epsilon, delta) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25)
@given(guesses=st.integers(2, 200), correct=st.integers(1, 199), delta=st.sampled_from([0.0, 1e-6]))
def test_more_correct_guesses_show_more(guesses: int, correct: int, delta: float) -> None:
    correct = min(correct, guesses - 1)
    less, more = (lower_bound(guesses, guesses, v, delta, 0.05) for v in (correct, correct + 1))
    assert less <= more <= lower_bound(guesses, guesses, guesses, 0.0, 0.05) + 1e-6


def test_of_randomised_responses_the_bound_holds_and_is_tight() -> None:
    """Coins turned over with probability 1/(1 + e^ε) are just (ε, 0)-private: the bound is close to ε."""
    epsilon, canaries = 1.0, 1000
    found = []
    for trial in range(20):
        rng = generator(trial, "responses")
        coins = rng.random(canaries) < 0.5
        told = coins ^ (rng.random(canaries) < 1.0 / (1.0 + math.exp(epsilon)))
        found.append(best_bound(guess_bounds(told + rng.random(canaries) / 2.0, coins, 0.0)).epsilon)
    assert sum(one > epsilon for one in found) <= 4  # of 20 at 5 %: more have probability 0.003
    assert np.median(found) > 0.7


def test_of_a_gaussian_the_bound_holds() -> None:
    """Scores N(0 or 1, σ²) are what noise of σ shows of each canary in one round of all people."""
    sigma, delta, canaries = 2.0, 1e-5, 1000
    claimed = accounted(Release(sigma, 1, 1, "poisson"), 1, delta)
    found = []
    for trial in range(10):
        rng = generator(trial, "scores")
        coins = rng.random(canaries) < 0.5
        found.append(best_bound(guess_bounds(coins + sigma * rng.standard_normal(canaries), coins, delta)).epsilon)
    assert max(found) < claimed
    assert np.median(found) > 0.2
