"""A stream says what a walk over the whole record says; nothing that comes is fatal; what gets worse is rolled back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.errors import ConfigError
from metapulse.personal.online import OnlineHead, as_belief, coordinates
from metapulse.personal.stream import PersonStream
from metapulse.personal.stream_learning import Pace, taught
from metapulse.personal.stream_state import Pending, Reading
from metapulse.personal.stream_store import load_state, save_state
from metapulse.record.clock import DAY, MINUTE
from metapulse.record.recipes.base import MetricRows
from tests.streams import BEGIN, glucose, made_up_model

MODEL = made_up_model()
FOREVER = Pace(memory=math.inf, margin=1e9, confidence=1e-300)


def follow(stream, readings, state=None):
    state, lines = stream.begin() if state is None else state, []
    for reading in readings:
        state, said = stream.step(state, reading)
        lines += said
    return state, lines


def events(lines):
    return [line["event"] for line in lines if "event" in line]


def test_a_stream_that_forgets_nothing_forecasts_what_a_walk_over_the_whole_record_does():
    readings = [r for r in glucose(260) if not 100 <= (r.time - BEGIN) // (5 * MINUTE) < 120]  # silences
    readings = [r for at, r in enumerate(readings) if at % 17]  # and single readings missed
    time, value = np.array([r.time for r in readings]), np.array([r.value for r in readings])
    none = np.zeros(len(time), bool)
    rows = MetricRows(time, time, np.zeros(len(time), np.int64), value, np.full(len(time), "", object), none, none)
    asked = MODEL.made.questions({"glucose": rows})
    made, after = MODEL.walk(asked)
    reasons = MODEL.abstention.reasons(asked, made, MODEL.start.unlike)
    state, lines = follow(PersonStream(MODEL, FOREVER), readings)
    told = [line for line in lines if "due" in line]
    assert len(told) == len(asked) > 150
    expected = asked.value(made.mean)
    for line, value, low, why in zip(
        told, expected, asked.value(made.mean - made.promised * made.scale), reasons, strict=True
    ):
        assert line["abstained"] == bool(why)
        if not why:
            assert line["value"] == pytest.approx(value, abs=2e-3)
            assert line["lower"] == pytest.approx(low, abs=2e-3)
    assert state.interval.judged == after.interval.judged > 120
    assert state.interval.level == pytest.approx(after.interval.level)
    torch.testing.assert_close(
        as_belief(coordinates(MODEL.prior), state.head).mean, after.belief.mean, rtol=1e-6, atol=1e-7
    )


ODD = st.one_of(
    st.builds(Reading, st.integers(BEGIN - 10 * DAY, BEGIN + 10 * DAY), st.floats(-1e3, 1e3)),
    st.builds(Reading, st.integers(-(2**62), 2**62), st.sampled_from([math.nan, math.inf, -math.inf, 120.0])),
    st.builds(Reading, st.just(BEGIN + DAY), st.just(120.0), st.sampled_from(["", "Sensor A", "Sensor B"])),
)


@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(0, 59), ODD), max_size=12))
def test_whatever_comes_is_counted_and_never_fatal(odd):
    readings = glucose(60)
    for place, one in sorted(odd, key=lambda pair: -pair[0]):
        readings.insert(place, one)
    state, lines = follow(PersonStream(MODEL), readings)
    away = sum(
        n
        for why, n in state.counts.items()
        if why.split()[0] in ("readings", "values", "implausible", "stamps", "repeated")
    )
    assert away + (state.held is not None) == len(readings)
    made = state.counts.get("forecasts", 0) + state.counts.get("abstained", 0)
    assert made == state.counts["readings used"] == sum("abstained" in line for line in lines)
    assert len(state.time) <= 60


def test_a_wrong_stamp_in_the_future_costs_itself_alone():
    readings = glucose(80)
    _, plain = follow(PersonStream(MODEL), readings)
    far = [*readings[:40], Reading(BEGIN + 4000 * DAY, 120.0), *readings[40:]]
    state, lines = follow(PersonStream(MODEL), far)
    assert lines == plain
    assert state.counts["stamps over a day ahead of the others"] == 1
    later = [replace_time(r, 3 * DAY) for r in glucose(40, seed=1)]  # two that agree are a silence of three days
    state, lines = follow(PersonStream(MODEL), readings + later)
    assert state.counts["readings used"] == 120


def replace_time(reading, by):
    return reading._replace(time=reading.time + by)


def test_after_a_silence_it_abstains_until_the_window_is_whole_again():
    readings = glucose(100)
    _, lines = follow(PersonStream(MODEL), readings[:50] + readings[60:])
    silent = [line for line in lines[50:] if line.get("reason", "").startswith("the readings before")]
    assert len(silent) == 23  # 115 min of history, every 5 min
    assert not lines[-1]["abstained"]


def test_the_state_is_bounded():
    stream, state, sizes = PersonStream(MODEL), None, []
    for part in range(2):
        readings = [replace_time(r, part * 260 * MINUTE) for r in glucose(260, seed=part, every_min=1)]
        state, _ = follow(stream, readings, state)
        sizes.append((len(state.time), len(state.pending), len(state.adwin.buckets)))
    assert max(size[0] for size in sizes) <= 190
    assert max(size[1] for size in sizes) <= 31


def test_a_second_device_is_left_out_and_a_new_one_is_begun_anew():
    old, new = glucose(120), glucose(200, seed=3, device="Sensor B")
    both = sorted([*old, *(r._replace(time=r.time + MINUTE) for r in new[:120])])
    state, lines = follow(PersonStream(MODEL), both)
    assert (events(lines), state.counts["readings of a second device"]) == ([], 120)
    state, lines = follow(PersonStream(MODEL), [*old, *new[160:]])
    assert events(lines) == ["new device"]
    assert state.device == "Sensor B"
    assert state.outcomes == 40 - 23 - 6
    firmware = [r._replace(firmware="1.0" if at < 60 else "1.1") for at, r in enumerate(old)]
    state, lines = follow(PersonStream(MODEL), firmware)
    assert events(lines) == ["new firmware"]
    assert state.counts["forecasts"] > 80


def spoiled(stream, state):
    """The state with a head that is firmly wrong."""
    rank = state.head.precision.shape[1]
    wrong = torch.randn(1, rank, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return replace(state, head=OnlineHead(1e4 * torch.eye(rank, dtype=torch.float64)[None], 1e4 * wrong))


def test_a_head_that_got_worse_is_rolled_back_to_the_better_of_the_other_two():
    stream, readings = PersonStream(MODEL), glucose(500)
    state, lines = follow(stream, readings[:300])
    assert "rolled back" not in events(lines)
    _, lines = follow(stream, readings[300:], spoiled(stream, state))
    back = [line for line in lines if line.get("event") == "rolled back"]
    assert len(back) == 1
    assert back[0]["its_loss"] < back[0]["loss"]
    _, never = follow(PersonStream(MODEL, Pace(margin=1e9)), readings[300:], spoiled(stream, state))
    assert "rolled back" not in events(never)


def outcomes(stream, state, scores, first=0):
    """Outcomes every half an hour that are so many spreads from a forecast of 0; the number of the first."""
    lines, rank = [], stream.model.prior.mean.shape[1]
    for at, score in enumerate(scores, first):
        due = BEGIN + at * 30 * MINUTE
        x = torch.zeros(1, rank, dtype=torch.float64)
        one = Pending(due - 30 * MINUTE, 30 * MINUTE, x, (0.0, 0.0, 0.0), 1.0, 2.0)
        state, said = taught(stream.at, stream.pace, state, one, float(score), due)
        lines += said
    return state, lines


@pytest.mark.parametrize("by", ["ADWIN", "Page-Hinkley"])
def test_a_changed_habit_is_told_once_and_steady_days_are_not(by):
    pace = Pace(run_length=1e12) if by == "ADWIN" else Pace(confidence=1e-300)
    stream, draw = PersonStream(MODEL, pace), np.random.default_rng(5)
    state, lines = outcomes(stream, stream.begin(), draw.normal(0, 1, size=48 * 40))
    assert events(lines) == []
    precision = state.head.precision
    _, lines = outcomes(stream, state, draw.normal(0, 1.8, size=48 * 15), first=48 * 40)
    assert [line["by"] for line in lines if line["event"] == "drift"] == [[by]]
    _, lines = outcomes(stream, state, draw.normal(0, 0.5, size=48 * 15), first=48 * 55)  # better is no alarm
    assert events(lines) == []
    rounding = 2 * 48 * 40 * np.finfo(float).eps  # forgetting keeps a precision of 1 at 1, but for a rounding each time
    assert float(precision.diagonal(dim1=1, dim2=2).min()) >= 1.0 - rounding


def test_a_saved_state_goes_on_to_the_bit(tmp_path):
    stream, readings = PersonStream(MODEL), glucose(60)
    whole, lines = follow(stream, readings)
    state, said = stream.begin(), []
    for reading in readings:
        save_state(tmp_path / "state", state, {"at": 3})
        state, beside = load_state(tmp_path / "state", stream.begin())
        assert beside == {"at": 3}
        state, more = stream.step(state, reading)
        said += more
    assert said == lines
    assert torch.equal(state.head.precision, whole.head.precision)
    assert state.counts == whole.counts


def test_recipes_of_days_are_refused_in_one_line():
    daily = replace(MODEL, recipe="resting_heart_rate_tomorrow")
    with pytest.raises(ConfigError, match="cannot be followed"):
        _ = PersonStream(daily).reach
