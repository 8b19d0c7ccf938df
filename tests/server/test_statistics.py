"""Spread over clients and its bootstrap interval: closed forms, laws, and coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metapulse.server.statistics import bootstrap, bootstraps, spreads

samples = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(-1e3, 1e3)), arrays(np.int64, n, elements=st.integers(0, 9))
    )
)


def spread(values, users, higher_is_better):
    return spreads(values[None], users, [higher_is_better])[0]


@given(drawn=samples, rows=st.integers(2, 5), seed=st.integers(0, 99))
def test_what_is_said_of_a_metric_does_not_depend_on_the_others(drawn, rows, seed):
    values, users = drawn
    rng = np.random.default_rng(seed)
    table = np.stack([values, *rng.normal(size=(rows - 1, len(values)))])[rng.permutation(rows)]
    better = rng.integers(0, 2, rows).astype(bool).tolist()
    assert spreads(table, users, better) == [spread(row, users, up) for row, up in zip(table, better, strict=True)]


def test_more_metrics_than_are_resampled_at_once_and_one_that_is_infinite():
    table = np.random.default_rng(1).normal(size=(150, 12))
    table[70, 3] = np.inf
    users = np.arange(12) // 2
    assert bootstraps(table, users) == [bootstrap(row, users) for row in table]
    assert bootstraps(table, users)[70] == (np.inf, np.inf)


@given(drawn=samples)
def test_mean_lies_within_its_interval_and_the_worst_decile_on_its_side(drawn):
    values, users = drawn
    up, down = spread(values, users, True), spread(values, users, False)
    assert up.clients == len(values)
    assert up.mean == pytest.approx(values.mean(), abs=1e-9)
    assert up.worst_decile <= up.mean + 1e-9
    assert down.worst_decile >= down.mean - 1e-9
    assert values.min() - 1e-9 <= up.low <= up.high <= values.max() + 1e-9
    assert (up.low, up.high, up.mean, up.sd) == (down.low, down.high, down.mean, down.sd)


@given(drawn=samples, a=st.floats(0.1, 10), b=st.floats(-100, 100))
def test_interval_moves_with_the_values(drawn, a, b):
    values, users = drawn
    low, high = bootstrap(values, users)
    assert bootstrap(a * values + b, users) == pytest.approx((a * low + b, a * high + b), abs=1e-6)


@given(drawn=samples)
def test_names_of_people_do_not_matter(drawn):
    values, users = drawn
    assert bootstrap(values, 1000 + 7 * users) == bootstrap(values, users)


def test_worst_decile_is_the_mean_of_the_worst_tenth():
    values = np.arange(30.0)
    users = np.arange(30)
    assert spread(values, users, True).worst_decile == 1.0  # of 0, 1, 2
    assert spread(values, users, False).worst_decile == 28.0  # of 27, 28, 29
    assert spread(values[:9], users[:9], True).worst_decile == 0.0  # at least one client
    assert spread(values, users, True).sd == pytest.approx(np.sqrt(30 * 31 / 12))  # n(n + 1) / 12, variance of 0 … n−1


def test_people_are_resampled_and_not_their_devices():
    """Ten devices of one person say no more than one: the interval is that of the people's means."""
    people = np.random.default_rng(0).normal(size=12)
    values, users = np.repeat(people, 10), np.repeat(np.arange(12), 10)
    assert bootstrap(values, users) == pytest.approx(bootstrap(people, np.arange(12)))
    low, high = bootstrap(values, users)
    naive = bootstrap(values, np.arange(120))
    assert high - low > 2 * (naive[1] - naive[0])


def test_a_constant_or_a_single_person_has_an_interval_of_no_width():
    assert bootstrap(np.full(8, 0.3), np.arange(8)) == pytest.approx((0.3, 0.3))
    assert bootstrap(np.array([0.0, 1.0]), np.array([4, 4])) == (0.5, 0.5)
    assert spread(np.array([0.7]), np.array([0]), True).sd == 0.0


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """400 draws of 40 normal numbers: a percentile interval of 95 % covers the mean in 90 to 98 % of them."""
    rng = np.random.default_rng(1)
    hits = [low <= 0 <= high for low, high in (bootstrap(rng.normal(size=40), np.arange(40)) for _ in range(400))]
    assert 0.90 <= np.mean(hits) <= 0.98


def test_half_width_is_that_of_the_normal_approximation():
    """For many people the interval is mean ± 1.96 · sd · √((n − 1) / n) / √n (the bootstrap's sd divides by n)."""
    values = np.random.default_rng(2).normal(size=1000)
    low, high = bootstrap(values, np.arange(1000))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(1000), rel=0.06)
