"""Errors of a mean over seeds × people: closed forms, the t test where it applies, laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp

from metapulse.sim.lab.statistics.crossed import crossed_p_value, errors, half_width

tables = st.tuples(st.integers(2, 6), st.integers(2, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-20, 20).map(float))
)


def test_two_seeds_and_three_people_by_hand():
    """Person means 2, 4, 9 (variance 13); seed means 4, 6 (variance 2)."""
    values = np.array([[1.0, 3.0, 8.0], [3.0, 5.0, 10.0]])
    people, seeds, both = errors(values)
    assert people == pytest.approx(((13 / 3) ** 0.5, 2))
    assert seeds == pytest.approx((1.0, 1))
    variance = 13 / 3 + 1.0
    assert both == pytest.approx((variance**0.5, variance**2 / ((13 / 3) ** 2 / 2 + 1.0)))


def test_of_both_it_is_min_f():
    """t² = F₁F₂ / (F₁ + F₂) with F₁ = t² over people and F₂ = t² over seeds (Clark 1973)."""
    values = np.random.default_rng(0).normal(1.0, 1.0, size=(5, 7))
    people, seeds, both = ((values.mean() / se) ** 2 for se, _ in errors(values))
    assert both == pytest.approx(people * seeds / (people + seeds))


def test_without_luck_of_seeds_it_is_the_t_test_over_people_and_the_other_way_round():
    rng = np.random.default_rng(1)
    people, seeds = rng.normal(0.5, 1.0, size=12), rng.normal(0.5, 1.0, size=6)
    assert crossed_p_value(np.tile(people, (4, 1))) == pytest.approx(ttest_1samp(people, 0.0).pvalue)
    assert crossed_p_value(np.tile(seeds[:, None], (1, 9))) == pytest.approx(ttest_1samp(seeds, 0.0).pvalue)


@given(values=tables, factor=st.sampled_from([-3.0, -1.0, 0.5, 8.0]))
def test_neither_unit_nor_sign_nor_the_roles_of_people_and_seeds_matter(values, factor):
    p = crossed_p_value(values)
    assert 0.0 <= p <= 1.0
    assert crossed_p_value(factor * values) == pytest.approx(p)
    assert crossed_p_value(values.T) == pytest.approx(p)
    assert half_width(factor * values) == pytest.approx(abs(factor) * half_width(values))


@given(values=tables, level=st.sampled_from([0.5, 0.9, 0.95, 0.996]))
def test_the_interval_holds_zero_exactly_where_p_says_so(values, level):
    width = half_width(values, level)
    centred = values - values.mean()
    if width > 1e-6:
        assert crossed_p_value(centred + width) == pytest.approx(1.0 - level)


def test_one_seed_or_one_person_shows_nothing_and_equals_do_not_differ():
    assert crossed_p_value(np.array([[1.0, 1.1, 0.9]])) == crossed_p_value(np.array([[1.0], [1.1], [0.9]])) == 1.0
    assert crossed_p_value(np.zeros((5, 5))) == 1.0
    assert crossed_p_value(np.full((5, 5), 0.25)) == 0.0  # the same difference for each person, after every run
    assert half_width(np.array([[3.0]])) == 0.0
