"""The discrete Gaussian against its own definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from metapulse.discrete import discrete_gaussian
from metapulse.rng import generator


def draws(variance: Fraction, count: int, seed: int = 1) -> np.ndarray:
    rng = generator(seed, "below")
    return discrete_gaussian(variance, count, lambda n: int(rng.integers(n)))


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(9, 2), Fraction(100)])
def test_frequencies_are_those_of_the_definition(variance: Fraction) -> None:
    """P(x) ∝ exp(−x²/2σ²); χ² over the numbers expected more than ten times, one seed, p < 0.001 would reject."""
    count = 4000
    found = draws(variance, count)
    x = np.arange(-100, 101)
    p = np.exp(-(x.astype(float) ** 2) / (2 * float(variance)))
    expected = count * p / p.sum()
    often = expected > 10
    observed = np.array([(found == value).sum() for value in x])
    rest = [observed[~often].sum()], [expected[~often].sum()]
    seen, due = np.append(observed[often], rest[0]), np.append(expected[often], rest[1])
    keep = due > 1e-6
    assert stats.chisquare(seen[keep], due[keep] * seen[keep].sum() / due[keep].sum()).pvalue > 1e-3


def test_the_variance_is_at_most_that_of_the_continuous_one() -> None:
    """Canonne, Kamath and Steinke 2020, arXiv:2004.00010, Corollary 9: and beyond σ² = 1 they are as good as equal."""
    assert draws(Fraction(25), 4000).var() == pytest.approx(25.0, rel=5 * 0.0224)  # √(2 / 4000)
    assert draws(Fraction(1, 16), 4000).var() < 1 / 16


def test_only_whole_numbers_and_only_the_given_randomness() -> None:
    assert draws(Fraction(3), 50).dtype == np.int64
    assert np.array_equal(draws(Fraction(3), 50), draws(Fraction(3), 50))
    assert not np.array_equal(draws(Fraction(3), 50), draws(Fraction(3), 50, seed=2))
