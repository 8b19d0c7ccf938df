"""Intervals: exact where scores are exchangeable, within Gibbs and Candès' bound for any scores at all."""

from __future__ import annotations

import json
import math
from collections import deque
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError, DataError
from metapulse.personal.conformal import conformal, conformal_quantile, judge, pack, radius, unpack

NONE = np.empty(0)
PERCENT = st.integers(1, 99)


def kth(scores, miss):
    return conformal_quantile(np.array(scores, float), np.ones(len(scores)), miss)


@given(n=st.integers(1, 60), percent=PERCENT)
def test_coverage_is_exact_where_each_of_n_plus_one_scores_is_as_likely_to_be_the_new_one(n, percent):
    scores = list(range(n + 1))
    covered = sum(new <= kth(scores[:new] + scores[new + 1 :], percent / 100) for new in scores)
    asked = math.ceil(Fraction(n + 1) * (100 - percent) / 100)  # ⌈(n + 1)(1 − α)⌉, in fractions
    assert covered == min(asked, n + 1)
    assert Fraction(covered, n + 1) >= Fraction(100 - percent, 100)


@given(n=st.integers(1, 40), copies=st.integers(1, 4), percent=PERCENT)
def test_a_score_of_weight_w_counts_as_w_scores(n, copies, percent):
    scores = np.arange(n, dtype=float)
    many = conformal_quantile(np.repeat(scores, copies), np.ones(n * copies), percent / 100)
    assert conformal_quantile(scores, np.full(n, float(copies)), percent / 100) == many


def test_too_few_scores_promise_nothing_and_a_level_outside_zero_to_one_everything_or_nothing():
    assert kth(range(8), 0.1) == math.inf  # 9 · 0.9 asks for the ninth of eight
    assert kth(range(9), 0.1) == 8.0
    assert kth([], 0.5) == math.inf
    assert kth(range(9), 0.0) == math.inf
    assert kth(range(9), 1.0) == -math.inf


def test_the_population_s_quantile_at_first_the_person_s_own_in_the_end():
    grid = np.linspace(0.005, 0.995, 100)  # quantiles of a uniform score
    start = conformal(grid, miss=0.1, step=0.0, weight=100.0)
    assert radius(start) == pytest.approx(0.905)
    state = start
    for score in np.tile(3.0 * grid, 20):  # a person three times as hard to forecast
        state = judge(state, float(score), radius(state))
    assert radius(state) == pytest.approx(2.7, abs=0.05)
    assert radius(judge(start, 9.0, radius(start))) >= radius(start)


def bound(step, miss, waited, judged):
    return (max(miss, 1.0 - miss) + (waited + 1) * step) / (judged * step)


@given(
    choices=st.lists(st.sampled_from(["hit", "miss", "huge", "zero"]), min_size=1, max_size=300),
    percent=PERCENT,
    step=st.sampled_from([0.005, 0.05, 0.5]),
    waited=st.integers(0, 8),
)
def test_coverage_stays_within_the_bound_for_scores_of_an_adversary_who_sees_the_interval(
    choices, percent, step, waited
):
    state = conformal(np.linspace(0.0, 1.0, 20), miss=percent / 100, step=step, memory=5, weight=3.0)
    pending: deque[tuple[float, float]] = deque()
    for choice in choices:
        promised = radius(state)
        near = promised if math.isfinite(promised) else 1.0
        score = {"hit": near, "miss": near * 1.01 + 1e-6, "huge": 1e300, "zero": 0.0}[choice]
        pending.append((max(score, 0.0), promised))
        if len(pending) > waited:
            state = judge(state, *pending.popleft())
    if state.judged:
        off = abs(state.missed / state.judged - percent / 100)
        assert off <= bound(step, percent / 100, waited, state.judged) + 1e-9
        assert state.coverage == 1.0 - state.missed / state.judged
    assert -(waited + 1) * step <= state.level <= 1.0 + (waited + 1) * step


def test_coverage_holds_through_a_shift_where_split_conformal_loses_it():
    draw = np.random.default_rng(7)
    scores = np.abs(np.concatenate([draw.normal(size=2000), 4.0 * draw.normal(size=1000)]))
    after = {}
    for step in (0.0, 0.02):
        state = conformal(np.abs(draw.normal(size=500)), step=step, weight=500.0, memory=2000)
        inside = []
        for score in scores:
            promised = radius(state)
            inside.append(score <= promised)
            state = judge(state, float(score), promised)
        after[step] = np.mean(inside[2000:])
        assert np.mean(inside[:2000]) == pytest.approx(0.9, abs=0.03)
    assert after[0.0] < 0.75
    assert after[0.02] > 0.87


@given(scores=st.lists(st.floats(0.0, 1e6), max_size=30), memory=st.integers(1, 6))
def test_memory_is_bounded_and_a_packed_state_is_the_same_to_the_bit(scores, memory):
    state = conformal(np.array([0.1, 0.2]), memory=memory)
    for score in scores:
        state = judge(state, score, radius(state))
        again = unpack(pack(state))
        assert radius(again) == radius(state)
        assert {k: v.tobytes() for k, v in pack(again).items()} == {k: v.tobytes() for k, v in pack(state).items()}
        text = json.loads(json.dumps({name: array.tolist() for name, array in pack(state).items()}))
        assert radius(unpack({name: np.array(v, np.float64) for name, v in text.items()})) == radius(state)
    assert state.own.tolist() == scores[-memory:]


@pytest.mark.parametrize("wrong", [{"miss": 0.0}, {"miss": 1.0}, {"step": -1.0}, {"weight": math.inf}, {"memory": 0}])
def test_what_is_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=f"conformal.{next(iter(wrong))}"):
        conformal(NONE, **wrong)


@pytest.mark.parametrize("score", [-1.0, math.nan, math.inf])
def test_a_score_that_is_no_distance_is_refused(score):
    with pytest.raises(DataError):
        conformal(np.array([score]))
    with pytest.raises(DataError):
        judge(conformal(NONE), score, 1.0)
