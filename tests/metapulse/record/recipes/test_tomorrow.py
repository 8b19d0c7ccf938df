"""Tomorrow's recipes: closed forms on small records, and the law that keeps later times out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metapulse.data import Samples
from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes import Taken, make_recipe
from metapulse.record.schema import Row
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, samples, taken


def week(values: Sequence[float | None], metric: str = "resting_heart_rate", pulse: bool = True) -> list[Row]:
    """A vendor's value of each day, and a heart rate every hour of it."""
    rows = []
    for day, value in enumerate(values):
        at = DAY_0 + day * DAY
        if value is not None:
            rows.append(Row(metric, at, value, None, 0, at + DAY, 0, None, WATCH, ("date_only",)))
        if pulse:
            rows += [Row("heart_rate", at + h * HOUR, 70.0, None, 0, None, 0, None, WATCH) for h in range(24)]
    return rows


def at(found: Samples, recipe: Any, name: str) -> np.ndarray:
    """(samples, days) of one input."""
    return found.x[:, make_recipe(recipe).task.names.index(name)]


def test_a_days_summary_is_known_a_day_later_and_what_is_missing_is_masked() -> None:
    values = [60.0, 62.0, None, 64.0, 66.0, 68.0, 70.0, 72.0, 74.0, 76.0]
    recipe = "resting_heart_rate_tomorrow"
    found = samples(week(values), recipe)
    last = found.group.tolist().index(19_808)  # forecast at the end of day 8, of day 9
    known = at(found, recipe, "resting_heart_rate_known")[last]
    assert known.tolist() == [1, 0, 1, 1, 1, 1, 1]  # of days 1 to 7: day 8 is told after its midnight, day 2 is missing
    mean = np.mean([62, 64, 66, 68, 70, 72])
    shown = at(found, recipe, "resting_heart_rate")[last] * 10 + mean
    np.testing.assert_allclose(shown[known > 0], [62, 64, 66, 68, 70, 72], atol=1e-4)
    assert at(found, recipe, "resting_heart_rate")[last][1] == 0
    assert found.y[last, 0] * 10 + mean == pytest.approx(76.0, abs=1e-4)
    assert at(found, recipe, "weekend")[last].tolist() == [0] * 7  # 2024-03-27 is a Wednesday
    assert at(found, recipe, "hrv_rmssd_known").sum() == 0
    saturday = found.group.tolist().index(19_804)
    assert at(found, recipe, "weekend")[saturday].tolist() == [1] * 7


def test_a_day_that_was_not_worn_has_no_values_and_too_few_days_make_no_sample() -> None:
    rows = week([60.0 + day for day in range(10)])
    bare = [row for row in rows if row.metric != "heart_rate" or not 3 * DAY <= row.start - DAY_0 < 5 * DAY]
    found = samples(bare, "resting_heart_rate_tomorrow")
    last = found.group.tolist().index(19_808)
    assert at(found, "resting_heart_rate_tomorrow", "heart_rate_known")[last].tolist() == [1, 0, 0, 1, 1, 1, 1]
    (made,) = taken(week([60.0] * 10, pulse=False), "resting_heart_rate_tomorrow").values()
    assert (made.samples, made.lacks) == (None, "0 days worn 6 h or more, 10 with an outcome")
    assert made.left_out == {
        "days after fewer than 3 of 7 with 6 h of wear": 10,
        "days worn less than 6 h, whose values are no inputs": 9,  # the last is no input of any day
    }


def test_steps_of_a_day_without_wear_are_no_outcome() -> None:
    rows = [
        Row(
            "steps", DAY_0 + day * DAY + h * HOUR, 500.0, None, 0, DAY_0 + day * DAY + h * HOUR + MINUTE, 0, None, WATCH
        )
        for day in range(8)
        for h in range(8, 20 if day != 6 else 12)
    ]
    (made,) = taken(rows, "steps_tomorrow").values()
    assert made.samples is not None
    assert made.left_out["days worn less than 10 h, whose value is no outcome"] == 1
    assert 19_805 not in made.samples.group  # whose outcome is of day 6
    np.testing.assert_allclose(made.samples.y, 0, atol=1e-6)  # each day has 6000: the mean of the days before


def night(day: int, begin_h: float, hours: float, minutes: float) -> Row:
    start = DAY_0 + day * DAY + round(begin_h * HOUR)
    return Row("sleep_duration", start, minutes, None, 0, start + round(hours * HOUR), 0, None, WATCH)


def test_a_night_that_has_begun_before_the_forecast_is_left_out() -> None:
    nights = [night(day, 23 if day != 7 else 19.5, 8, 400 + day) for day in range(10)]
    (made,) = taken(nights, "sleep_tonight").values()
    assert made.samples is not None
    assert made.left_out["days whose night began before 20:00"] == 1
    assert 19_807 not in made.samples.group
    last = made.samples.group.tolist().index(19_809)
    shown = at(made.samples, "sleep_tonight", "sleep")[last]
    mean = np.mean([402, 403, 404, 405, 406, 407, 408])  # nights that ended on days 3 to 9
    np.testing.assert_allclose(shown * 60 + mean, np.arange(402, 409), atol=1e-3)
    assert made.samples.y[last, 0] * 60 + mean == pytest.approx(409.0, abs=1e-3)


def test_stages_make_the_same_nights_as_the_devices_own_sums() -> None:
    sums, stages = [], []
    for day in range(8):
        row = night(day, 23, 8, 300 + 10 * day)
        sums.append(row)
        begin = row.start
        for length, code in ((60, "light"), (180 + 10 * day, "deep"), (30, "awake"), (60, "rem")):
            stages.append(
                row._replace(metric="sleep_stage", start=begin, value=None, end=begin + length * MINUTE, code=code)
            )
            begin += length * MINUTE
        stages.append(stages[-2]._replace(code="awake"))  # overlaps: what two intervals share counts once
    a, b = samples(sums, "sleep_tonight"), samples(stages, "sleep_tonight")
    np.testing.assert_allclose(at(a, "sleep_tonight", "sleep"), at(b, "sleep_tonight", "sleep"), atol=1e-5)
    np.testing.assert_allclose(a.y, b.y, atol=1e-5)


METRICS = ("heart_rate", "hrv_rmssd", "steps", "sleep_duration", "resting_heart_rate", "sleep_stage", "steps_daily")
LENGTHS = {"steps": 10, "sleep_duration": 420, "sleep_stage": 60}  # min
OFFSETS = (-480, 0, 330)


def history(seed: int, offset: int) -> list[Row]:
    """Twelve days of anything, at any time of the day."""
    rng, rows = np.random.default_rng(seed), []
    for day in range(12):
        for metric in METRICS:
            whole = metric in ("resting_heart_rate", "steps_daily")
            for _ in range(1 if whole else int(rng.integers(0, 12 if metric in ("heart_rate", "steps") else 2))):
                local = DAY_0 + day * DAY + (0 if whole else int(rng.integers(0, 1440)) * MINUTE)
                stamped = whole and seed % 2 == 1  # as an instant on its day, as of Whoop's recovery
                end = local + DAY if whole and not stamped else local + LENGTHS.get(metric, 0) * MINUTE
                value = None if metric == "sleep_stage" else 40.0 + float(rng.integers(0, 100))
                shift = offset * MINUTE
                marks = ("date_only",) if whole and not stamped else ()
                code = "deep" if metric == "sleep_stage" else None
                rows.append(Row(metric, local - shift, value, None, 0, end - shift, offset, code, WATCH, marks))
    return rows


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from(OFFSETS),
    recipe=st.sampled_from(["resting_heart_rate_tomorrow", "sleep_tonight", "steps_tomorrow"]),
    cut=st.integers(5, 10),
)
@example(seed=1, offset=0, recipe="resting_heart_rate_tomorrow", cut=7)
def test_what_is_known_later_changes_no_input(seed: int, offset: int, recipe: str, cut: int) -> None:
    """All rows that end after the forecast are changed, or are gone; and whole days that end with it."""
    rows = history(seed, offset)
    settings = {"name": recipe, "wear_h": 1, "least_days": 1}
    hour = 20 if recipe == "sleep_tonight" else 24
    now = DAY_0 + cut * DAY + hour * HOUR

    def later(row: Row) -> bool:
        end = (row.start if row.end is None else row.end) + (row.offset_min or 0) * MINUTE
        if row.metric in ("resting_heart_rate", "steps_daily"):
            return (end if "date_only" in row.quality else end + DAY) >= now
        return end > now

    changed = [
        row._replace(value=None if row.value is None else row.value + 7)
        for number, row in enumerate(rows)
        if not later(row) or number % 3
    ]
    changed = [
        new if later(new) else new._replace(value=None if new.value is None else new.value - 7) for new in changed
    ]
    before, after = (taken(some, settings).get("Watch 3", Taken(None)).samples for some in (rows, changed))
    if before is None or after is None:
        return
    for one in np.intersect1d(before.group, after.group):
        if one <= 19_800 + cut:
            a, b = (part.x[part.group == one] for part in (before, after))
            assert np.array_equal(a, b)
