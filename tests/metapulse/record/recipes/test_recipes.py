"""Recipes: closed forms on small records, and the laws that keep later times and doubtful values out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Samples, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.record.clock import DAY, HOUR, MINUTE, US
from metapulse.record.recipes import Taken, make_recipe, take_record
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.registry import RECIPES

DAY_0 = 19_800 * DAY  # 2024-03-18, a Monday
WATCH = Device("Acme", "Watch 3")


def taken(rows: Sequence[Row], recipe: Any) -> dict[str, Taken]:
    """What a recipe makes of rows that went through a record."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "person.parquet"
        write_rows([row._replace(row=number) for number, row in enumerate(rows)], path, FileTally("test", "test"))
        return take_record(path, make_recipe(recipe))


def samples(rows: Sequence[Row], recipe: Any) -> Samples:
    """Of the only device."""
    (made,) = taken(rows, recipe).values()
    assert made.samples is not None, made.lacks
    return check_samples(made.samples, make_recipe(recipe).task, "test")


def glucose(values: Sequence[float], begin: int = DAY_0 + 8 * HOUR, **more: Any) -> list[Row]:
    return [
        Row("glucose", begin + 5 * i * MINUTE, value, device=WATCH, offset_min=0, **more)
        for i, value in enumerate(values)
    ]


SHORT = {"name": "glucose_30min", "history_min": 20, "target_scale": 1.0}


def test_glucose_is_its_change_from_now_and_its_past_in_fixed_units() -> None:
    found = samples(glucose([100.0 + 2 * i for i in range(12)]), SHORT)
    assert found.x.shape == (12 - 3 - 6, 1, 4)
    np.testing.assert_allclose(found.y[:, 0], 12.0, atol=1e-5)  # six steps of 2 mg/dL
    np.testing.assert_allclose(found.x[0, 0] * 50 + 140, [100, 102, 104, 106], atol=1e-4)
    assert found.group.tolist() == [19_800] * 3


def test_a_day_is_one_of_the_persons_clock_and_no_window_crosses_its_midnight() -> None:
    late = glucose([100.0] * 24, DAY_0 + 22 * HOUR)  # 22:00 to 23:55 in UTC; on the person's clock 00:00 to 01:55
    here = samples([row._replace(offset_min=120) for row in late], SHORT)
    assert set(here.group.tolist()) == {19_801}
    across = samples(glucose([100.0] * 40, DAY_0 + 22 * HOUR), SHORT)
    assert len(here) == 24 - 3 - 6
    assert len(across) == (24 - 3 - 6) + (16 - 3 - 6)


def test_a_clock_that_changes_breaks_the_series_and_moves_no_window() -> None:
    rows = glucose([100.0 + i for i in range(24)])
    rows = [row._replace(offset_min=0 if i < 12 else -60) for i, row in enumerate(rows)]
    found = samples(rows, SHORT)
    assert len(found) == 2 * (12 - 3 - 6)
    np.testing.assert_allclose(found.y[:, 0], 6.0, atol=1e-5)


@pytest.mark.parametrize("mark", ["superseded", "implausible", "sensor_error", "time_implausible", "interpolated"])
def test_doubtful_rows_are_not_learned_from_and_are_counted(mark: str) -> None:
    rows = glucose([100.0] * 12)
    rows[5] = rows[5]._replace(value=300.0, quality=(mark,))
    (made,) = taken(rows, SHORT).values()
    assert made.samples is not None
    assert np.allclose(made.samples.x * 50 + 140, 100)
    assert made.left_out[f"rows marked {mark}"] == 1
    kept = samples(rows, {**SHORT, "keep": [mark]})
    assert (kept.x * 50 + 140).max() > 150


def test_a_limit_enters_as_the_limit_and_a_scan_not_at_all() -> None:
    rows = glucose([100.0] * 12)
    rows[5] = rows[5]._replace(value=40.0, quality=("censored_low",))
    rows.append(rows[5]._replace(start=rows[5].start + MINUTE, value=250.0, code="scan", quality=()))
    found = samples(rows, SHORT)
    assert (found.x * 50 + 140).min() == pytest.approx(40.0, abs=1e-4)
    assert (found.x * 50 + 140).max() < 101


def test_each_device_model_is_by_itself() -> None:
    other = [row._replace(device=Device(manufacturer="Other"), value=90.0) for row in glucose([0.0] * 12)]
    found = taken([*glucose([100.0] * 12), *other], SHORT)
    assert list(found) == ["Other", "Watch 3"]
    assert [made.samples is not None for made in found.values()] == [True, True]
    no_run = taken(glucose([100.0] * 4), SHORT)["Watch 3"]
    assert (no_run.samples, no_run.lacks) == (None, "4 readings, never 45 min unbroken within one day")


# --- tomorrow ---


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
    assert made.left_out == {"days after fewer than 3 of 7 with 6 h of wear": 10}


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
            for _ in range(int(rng.integers(0, 12 if metric in ("heart_rate", "steps") else 2))):
                whole = metric in ("resting_heart_rate", "steps_daily")
                local = DAY_0 + day * DAY + (0 if whole else int(rng.integers(0, 1440)) * MINUTE)
                end = local + DAY if whole else local + LENGTHS.get(metric, 0) * MINUTE
                value = None if metric == "sleep_stage" else 40.0 + float(rng.integers(0, 100))
                shift = offset * MINUTE
                marks = ("date_only",) if whole else ()
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
def test_what_is_known_later_changes_no_input(seed: int, offset: int, recipe: str, cut: int) -> None:
    """All rows that end after the forecast are changed, or are gone; and whole days that end with it."""
    rows = history(seed, offset)
    settings = {"name": recipe, "wear_h": 1, "least_days": 1}
    hour = 20 if recipe == "sleep_tonight" else 24
    now = DAY_0 + cut * DAY + hour * HOUR

    def later(row: Row) -> bool:
        end = (row.start if row.end is None else row.end) + (row.offset_min or 0) * MINUTE
        return end >= now if "date_only" in row.quality else end > now

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


# --- windows with labels ---


def moves(kind: str, begin: int, seconds: int, of: float) -> list[Row]:
    rows = [Row("workout", begin, seconds / 60, "min", 0, begin + seconds * US, 0, kind, WATCH)]
    for i in range(seconds * 32):
        rows += [
            Row("acceleration", begin + i * US // 32, of * k, None, 0, None, 0, axis, WATCH)
            for k, axis in enumerate("xyz", 1)
        ]
    return rows


def test_motion_inside_workouts_by_their_kind() -> None:
    recipe = {"name": "activity", "seconds": 2.0, "rate_hz": 16.0}
    rows = (
        moves("walking", DAY_0, 10, 1.0) + moves("running", DAY_0 + HOUR, 6, 2.0) + moves("chess", DAY_0 + DAY, 6, 9.0)
    )
    (made,) = taken(rows, recipe).values()
    found = made.samples
    assert found is not None
    assert found.x.shape[1:] == (3, 32)
    assert found.y.tolist() == [0] * 9 + [1] * 5
    assert found.group.tolist() == [0] * 9 + [1] * 5
    np.testing.assert_allclose(found.x[found.y == 1].mean((0, 2)) * 9.80665, [2, 4, 6], rtol=1e-5)
    assert made.left_out["workouts of another kind: chess"] == 1


def test_a_silence_breaks_windows_of_motion() -> None:
    rows = [
        row
        for row in moves("walking", DAY_0, 10, 1.0)
        if row.metric == "workout" or not 4 * US < row.start - DAY_0 < 5 * US
    ]
    found = taken(rows, {"name": "activity", "seconds": 2.0, "rate_hz": 16.0})["Watch 3"].samples
    assert found is not None
    begin = (found.time * MINUTE - DAY_0) / US  # type: ignore[operator]
    assert begin.round(3).tolist() == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 8.0]


def test_minutes_asleep_and_awake_with_what_is_missing() -> None:
    recipe = {"name": "sleep_wake", "minutes": 10, "least_asleep": 60, "max_windows": 2000}
    bed = DAY_0 + 22 * HOUR
    rows = [Row("sleep_stage", bed, None, None, 0, bed + 120 * MINUTE, 0, "light", WATCH)]
    rows += [Row("sleep_stage", bed + 120 * MINUTE, None, None, 0, bed + 130 * MINUTE, 0, "awake", WATCH)]
    rows += [
        Row("heart_rate", bed + i * MINUTE, 50.0 + (i >= 0) * 10, None, 0, None, 0, None, WATCH)
        for i in range(-60, 160)
        if i != 5
    ]
    found = samples(rows, recipe)
    minute = (found.time * MINUTE - bed) / MINUTE  # type: ignore[operator]
    asleep = (minute >= 0) & (minute < 120)
    assert found.y.tolist() == asleep.astype(int).tolist()
    assert (
        len(found) == 220 - 4
    )  # of the first ten minutes those with half of the window known; minute 5 is asleep by its stage
    at_five = found.x[minute.round() == 5][0]
    assert (at_five[0, -1], at_five[1, -1]) == (0.0, 0.0)
    np.testing.assert_allclose(at_five[0, -2], (60 - 70) / 20)
    assert at_five[1, :-1].tolist() == [1.0] * 9
    assert set(found.group.tolist()) == {19_800}


# --- all of them ---


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_its_task_and_takes_nothing_from_nothing(name: str) -> None:
    recipe = make_recipe(name)
    assert len(recipe.task.names) in (0, recipe.task.features[0])
    made = recipe.take({})
    assert made.samples is None
    assert made.lacks
    assert taken([Row("weight", DAY_0, 70.0)], name) == {}


def test_wrong_recipes_and_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe.name = 'glucose': must be one of activity, glucose_30min"):
        make_recipe("glucose")
    with pytest.raises(ConfigError, match=r"recipe.keep = 'manual'"):
        make_recipe({"name": "activity", "keep": ["manual"]})
    with pytest.raises(DataError, match="no Parquet file"):
        take_record(tmp_path / "missing.parquet", make_recipe("activity"))
