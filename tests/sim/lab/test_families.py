"""Corrections for many tests: worked examples and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.sim.lab.statistics.families import holm, nested_corrections, simes

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


@given(p=ps)
def test_one_family_of_single_tests_is_holm(p):
    names = [f"m{i}" for i in range(len(p))]
    assert nested_corrections(p, names, [["one"] * len(p)]) == pytest.approx(holm(p))


def test_what_stands_alone_must_survive_the_data_set():
    """Method a differs on one of four questions, method b on none: (question) 2 · .01, (data set) 2 · 4 · .01."""
    p = np.array([0.01, 0.6, 0.9, 0.9, 0.9, 0.6, 0.6, 0.6])
    methods, questions = ["a", "b"] * 4, [0, 0, 1, 1, 2, 2, 3, 3]
    assert nested_corrections(p, methods, [questions])[0] == pytest.approx(0.02)
    assert nested_corrections(p, methods, [questions, [0] * 8])[0] == pytest.approx(0.08)
    agreeing = np.where(np.arange(8) % 2, 0.9, 0.01)
    assert nested_corrections(agreeing, methods, [questions, [0] * 8])[::2] == pytest.approx([0.02] * 4)


@given(data=st.data())
def test_a_further_level_never_makes_a_p_smaller(data):
    p = data.draw(st.lists(st.floats(0.0, 1.0), min_size=12, max_size=12).map(np.array))
    methods, questions = ["a", "b", "c"] * 4, [i // 3 for i in range(12)]
    one, two = (
        nested_corrections(p, methods, [questions]),
        nested_corrections(p, methods, [questions, [q // 2 for q in questions]]),
    )
    assert (p - 1e-12 <= one).all()
    assert (one <= two).all()
