"""Intervals over people and seeds: closed forms, a reference for the interquartile mean, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean

from metapulse.sim.lab.statistics.bootstrap import grand_mean, improvement, interquartile_mean, means, resamples
from metapulse.sim.lab.statistics.crossed import half_width
from tests.points import WORLDS, percentile

tables = st.tuples(st.integers(1, 5), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-100, 100).map(lambda x: round(x, 3)))
)


def test_variance_of_the_draws_is_the_pigeonhole_bootstraps():
    """Of rows a_s + b_u: Σ a²/S² + Σ b²/U², both centred (Owen 2007; no interaction here)."""
    a, b = np.array([0.0, 1.0, 5.0, 2.0]), np.array([3.0, -4.0, 1.0, 0.0, 2.5, 1.0])
    draws = means(a[:, None] + b)
    assert draws.var() == pytest.approx(a.var() / 4 + b.var() / 6, rel=0.08)
    assert draws.mean() == pytest.approx(a.mean() + b.mean(), abs=0.06)


def test_interval_of_the_mean_is_as_wide_as_the_t_interval():
    for seed, shape in enumerate([(5, 6), (5, 30), (10, 10)]):
        values = np.random.default_rng(seed).normal(size=shape)
        found = grand_mean(values)
        assert found.value == pytest.approx(values.mean())
        assert found.high - found.low == pytest.approx(2 * half_width(values), rel=0.1)


def test_resamples_are_shares_and_the_same_for_everybody():
    drawn = resamples(7, "people")
    assert drawn.sum(1) == pytest.approx(1.0)
    assert np.array_equal(drawn, resamples(7, "people"))
    assert not np.array_equal(resamples(7, "people"), resamples(7, "seeds"))


@pytest.mark.parametrize("shape", [(1, 4), (2, 6), (5, 8), (4, 25)])
def test_interquartile_mean_is_the_trimmed_mean_where_quarters_are_whole(shape):
    values = np.random.default_rng(3).exponential(size=shape)
    assert interquartile_mean(values).value == pytest.approx(trim_mean(values, 0.25, axis=None))


def test_interquartile_mean_takes_part_of_a_value_on_a_quartile():
    """Of 1 … 6 the middle half is half of 2, all of 3 and 4, half of 5; outliers do not matter."""
    assert interquartile_mean(np.arange(1.0, 7.0)[None]).value == pytest.approx((1 + 3 + 4 + 2.5) / 3)
    assert interquartile_mean(np.array([[1.0, 2, 3, 4, 5, 6e6]])).value == pytest.approx((1 + 3 + 4 + 2.5) / 3)


@settings(max_examples=30)
@given(values=tables, shift=st.sampled_from([-7.0, 0.0, 50.0]), factor=st.sampled_from([0.5, 3.0]))
def test_intervals_hold_their_value_and_move_with_the_numbers(values, shift, factor):
    for statistic in (grand_mean, interquartile_mean):
        one, other = statistic(values), statistic(factor * values + shift)
        if statistic is grand_mean:
            assert one.low <= one.value + 1e-9
            assert one.high >= one.value - 1e-9
        moved = (factor * x + shift for x in (one.value, one.low, one.high))
        assert (other.value, other.low, other.high) == pytest.approx(tuple(moved), abs=1e-6)


def test_an_interval_ends_where_a_share_ends():
    values = np.array([[0.99, 0.2, 1.0], [1.0, 0.9, 1.0]])
    assert grand_mean(values).high > 1.0
    assert grand_mean(values, 0.0, 1.0).high == 1.0
    constant = grand_mean(np.full((5, 6), 0.3))
    assert (constant.low, constant.high) == pytest.approx((0.3, 0.3))


def test_improvement_counts_ties_half():
    assert improvement(np.array([[1.0, 0.0, -2.0, 3.0]])).value == 0.625


def test_where_all_are_better_the_interval_of_the_improvement_says_how_few_they_were():
    """Of five seeds all are better with probability p⁵, which is 2.5 % at p = .478."""
    always = improvement(np.ones((5, 60)))
    assert (always.value, always.low, always.high) == (1.0, pytest.approx(0.025 ** (1 / 5)), 1.0)
    never = improvement(-np.ones((40, 31)))
    assert (never.value, never.low, never.high) == (0.0, 0.0, pytest.approx(1.0 - 0.025 ** (1 / 31)))


def test_intervals_cover_what_they_say_where_plain_percentiles_do_not():
    """Seeds' luck of 2 points, five seeds, thirty people; 200 tries: 95 % within three standard errors (4.6 %)."""
    rng = np.random.default_rng(5)
    samples = [np.subtract(*WORLDS["A/A, lucky seeds"].scores(rng, 5, 30, 2)) for _ in range(200)]
    covered = {
        statistic: np.mean([one.low <= 0.0 <= one.high for one in map(statistic, samples)])
        for statistic in (grand_mean, interquartile_mean, percentile)
    }
    assert 0.904 <= covered[grand_mean] <= 0.996
    assert 0.904 <= covered[interquartile_mean] <= 0.996
    assert covered[percentile] < 0.9
