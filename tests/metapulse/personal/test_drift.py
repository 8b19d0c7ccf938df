"""Page–Hinkley and ADWIN: false alarms as often as stated, delays of planted shifts, a brute-force window beside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.personal.drift import PER_SIZE, Adwin, PageHinkley, adwin, page_hinkley, page_threshold


def page_alarms(state, stream):
    alarms = []
    for at, x in enumerate(stream):
        state, alarm = page_hinkley(state, float(x))
        if alarm:
            alarms.append(at)
    return state, alarms


def adwin_alarms(state, stream):
    alarms = {}
    for at, x in enumerate(stream):
        state, moved = adwin(state, float(x))
        if moved is not None:
            alarms[at] = moved
    return state, alarms


@given(st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=80), st.floats(0.0, 1.0))
def test_page_hinkley_is_the_cumulative_sum_above_its_smallest_value(stream, allowance):
    """Page's own form, from the whole past: m_t = Σ (x_i − x̄_i − δ), alarm where m_t − min m > λ."""
    state, total, least = PageHinkley(allowance, math.inf, unit=1.0, warmup=2), 0.0, 0.0
    for at, x in enumerate(stream):
        state, _ = page_hinkley(state, x)
        total += x - np.mean(stream[: at + 1]) - allowance
        least = min(least, total)
        assert state.rise == pytest.approx(total - least, abs=1e-9)
    assert state.mean == pytest.approx(np.mean(stream))
    assert state.square == pytest.approx(np.sum((np.array(stream) - np.mean(stream)) ** 2), abs=1e-9)


def test_false_alarms_of_page_hinkley_are_as_rare_as_asked():
    """The mean is known here: thirty thousand readings before. Siegmund's approximation is within some per cent."""
    draw, asked = np.random.default_rng(0), 200.0
    lengths = []
    for _ in range(300):
        state = PageHinkley(0.5, page_threshold(asked, 0.5), unit=1.0, count=30_000)
        for length, x in enumerate(draw.normal(size=5000), 1):
            state, alarm = page_hinkley(state, float(x))
            if alarm:
                lengths.append(length)
                break
    assert len(lengths) == 300
    assert np.mean(lengths) == pytest.approx(asked, rel=0.15)


def test_page_hinkley_sees_a_rise_soon_and_no_fall():
    draw = np.random.default_rng(1)
    before = draw.normal(2.0, 0.3, size=300)
    threshold = page_threshold(1e4, 0.25)
    start = PageHinkley(0.25, threshold)  # unit: the stream's own spread
    _, rising = page_alarms(start, np.append(before, draw.normal(2.6, 0.3, size=60)))
    assert len(rising) >= 1
    assert 300 <= rising[0] <= 300 + 2 * threshold / (2.0 - 0.25)  # the mean delay is λ / (shift − δ)
    _, falling = page_alarms(start, np.append(before, draw.normal(1.4, 0.3, size=60)))
    assert falling == []
    assert page_alarms(start, [1.0] * 200)[1] == []


def whole_cuts(values, sizes, confidence):
    """The first cut between buckets where the means differ, from the readings themselves."""
    edges = np.cumsum(sizes)[:-1]
    n = len(values)
    for edge in edges:
        old, new = values[:edge], values[edge:]
        log = math.log(2.0 * math.log(n) / confidence)
        m = 1.0 / (1.0 / len(old) + 1.0 / len(new))
        bound = math.sqrt(2.0 / m * np.var(values) * log) + 2.0 / (3.0 * m) * log
        if abs(new.mean() - old.mean()) > bound:
            return new.mean() - old.mean()
    return None


@given(
    pieces=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 60)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_adwin_cuts_where_a_window_of_all_readings_does(pieces, seed):
    draw = np.random.default_rng(seed)
    stream = np.concatenate([np.clip(draw.normal(level, 0.05, size=n), 0.0, 1.0) for level, n in pieces])
    state, kept = Adwin(0.05), []
    for x in stream:
        before = [bucket.size for bucket in state.buckets]
        state, moved = adwin(state, float(x))
        kept.append(x)
        sizes = merged([*before, 1])
        first = None
        while (found := whole_cuts(np.array(kept), sizes, 0.05)) is not None:
            first = found if first is None else first
            kept, sizes = kept[sizes[0] :], sizes[1:]
        assert [bucket.size for bucket in state.buckets] == sizes
        assert (moved is None) == (first is None)
        assert moved is None or moved == pytest.approx(first, abs=1e-9)
        assert state.width == len(kept)
        assert state.mean == pytest.approx(np.mean(kept))


def merged(sizes):
    """Bucket sizes after the rule of the exponential histogram (Datar et al. 2002)."""
    for size in (2**power for power in range(20)):
        if sizes.count(size) > PER_SIZE:
            at = sizes.index(size)
            sizes = [*sizes[:at], 2 * size, *sizes[at + 2 :]]
    return sizes


def test_adwin_s_false_alarms_stay_below_its_confidence_and_its_memory_is_logarithmic():
    stream = np.random.default_rng(2).beta(2.0, 3.0, size=8000)
    state, alarms = adwin_alarms(Adwin(0.01), stream)
    assert len(alarms) <= 0.01 * len(stream)
    assert len(state.buckets) <= PER_SIZE * (math.log2(len(stream) / PER_SIZE) + 2)
    assert state.mean == pytest.approx(stream[-state.width :].mean(), abs=1e-9)


def test_adwin_finds_a_shift_says_its_direction_and_forgets_what_was_before():
    draw = np.random.default_rng(3)
    stream = np.concatenate([draw.beta(2, 6, size=1000), draw.beta(6, 2, size=200)])  # means 0.25 and 0.75
    state, alarms = adwin_alarms(Adwin(0.002), stream)
    assert min(alarms) in range(1000, 1040)
    assert alarms[min(alarms)] > 0
    assert state.mean == pytest.approx(0.75, abs=0.05)
    assert adwin_alarms(Adwin(0.002), [0.5] * 500)[1] == {}
