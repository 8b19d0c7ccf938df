"""Corrections for many tests: worked examples and laws."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metapulse.sim.lab.statistics.families import grouped_corrections, holm, hommel, simes

ps = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12).map(np.array)


def test_holm_by_hand():
    """4 · .005, 3 · .01, 2 · .03, and 1 · .04 raised to what came before."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.7, 0.6])) == pytest.approx([1.0, 1.0])


@given(p=ps)
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p):
    corrected = holm(p)
    assert (p - 1e-12 <= corrected).all()
    assert (corrected <= np.minimum(len(p) * p, 1.0) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p)]) >= -1e-12).all()


def test_simes_costs_nothing_where_all_agree_and_m_where_one_does():
    assert simes(np.full(8, 0.01)) == pytest.approx(0.01)
    assert simes(np.array([0.001, 0.9, 0.8, 0.7])) == pytest.approx(0.004)
    assert simes(np.array([0.02, 0.03, 0.9])) == pytest.approx(0.045)  # 3 · .03 / 2


def test_hommel_by_hand():
    """Of .01, .02, .9: all three 3 · .02 / 2, the first with .9 alone 2 · .01, the second with .9 alone 2 · .02."""
    assert hommel(np.array([0.01, 0.02, 0.9])) == pytest.approx([0.03, 0.04, 0.9])
    assert hommel(np.full(8, 0.01)) == pytest.approx([0.01] * 8)


@given(p=ps)
def test_hommel_is_the_closed_test_of_simes(p):
    """By definition: the largest Simes p of all groups of tests that a test is in; never more than Holm's."""
    p = p[:7]
    groups = [list(group) for size in range(1, len(p) + 1) for group in combinations(range(len(p)), size)]
    closed = [max(simes(p[group]) for group in groups if i in group) for i in range(len(p))]
    assert hommel(p) == pytest.approx(closed)
    assert (hommel(p) <= holm(p) + 1e-12).all()


@given(p=ps)
def test_groups_of_one_test_are_holm_and_one_group_is_hommel(p):
    assert grouped_corrections(p, range(len(p))) == pytest.approx(holm(p))
    assert grouped_corrections(p, [0] * len(p)) == pytest.approx(hommel(p))


def stepwise(p, groups, alpha):
    """Which tests are rejected at a level, one step after another as the method is defined."""
    names = sorted(set(groups))
    within = {g: hommel(p[[i for i, other in enumerate(groups) if other == g]]) for g in names}
    left = set(names)
    while left:
        done = {g for g in left if (within[g] <= alpha / len(left)).all()}
        if not done:
            break
        left -= done
    level = alpha / max(len(left), 1)
    each = {g: iter(within[g] <= level if g in left else np.full(len(within[g]), True)) for g in names}
    return [bool(next(each[g])) for g in groups]


@given(data=st.data())
def test_corrected_p_are_the_levels_at_which_the_steps_reject(data):
    p = data.draw(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8).map(lambda x: np.array(x) ** 3))
    groups = data.draw(st.lists(st.integers(0, 3), min_size=8, max_size=8))
    corrected = grouped_corrections(p, groups)
    assert (corrected >= p - 1e-12).all()
    for alpha in (0.01, 0.05, 0.3):
        assume(not np.isclose(corrected, alpha, rtol=1e-9).any())
        assert stepwise(p, groups, alpha) == (corrected <= alpha).tolist()


@pytest.mark.parametrize("different", [0, 1, 3])
def test_what_differs_on_one_data_set_lets_nothing_false_be_said_of_the_others(different):
    """Strong control: of five groups some hold two true differences and two tests of none; the rest hold none."""
    rng, wrong, tries = np.random.default_rng(0), 0, 1000
    groups = np.repeat(np.arange(5), 4)
    false = (groups < different) & (np.arange(20) % 4 < 2)
    for _ in range(tries):
        p = np.where(false, 1e-9, rng.uniform(size=20))
        wrong += bool((grouped_corrections(p, groups.tolist()) <= 0.05)[~false].any())
    assert wrong / tries < 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5
    assert wrong / tries > 0.03  # nor is more paid than the promise asks
