"""What later times, statistics and repeats must not do to inputs: changed rows, planted signals, vendors' oddities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metapulse.record.clock import DAY, HOUR, MINUTE, US
from metapulse.record.schema import Row
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, samples, taken
from tests.metapulse.record.recipes.test_recipes import moves
from tests.metapulse.record.recipes.test_tomorrow import at, night, week


def reading(metric: str, start: int, value: float | None, minutes: float = 0, code: str | None = None) -> Row:
    end = None if minutes == 0 else start + round(minutes * MINUTE)
    return Row(metric, start, value, None, 0, end, 0, code, WATCH)


@pytest.mark.parametrize("hour", [0, 9])
def test_a_summary_stamped_within_its_day_is_known_after_that_day(hour: int) -> None:
    """As of Whoop's recovery at the start of a cycle, of Health Connect, of a FIT file's current day."""
    rows = week([None] * 10)
    rows += [reading("resting_heart_rate", DAY_0 + day * DAY + hour * HOUR, 60.0 + day) for day in range(10)]
    recipe = "resting_heart_rate_tomorrow"
    found = samples(rows, recipe)
    changed = samples([row._replace(value=99.0) if row.value == 68.0 else row for row in rows], recipe)
    of_day_8 = found.group.tolist().index(19_807)  # forecast at the end of day 7
    assert found.y[of_day_8] != changed.y[of_day_8]
    assert np.array_equal(found.x[of_day_8], changed.x[of_day_8])
    shown = at(found, recipe, "resting_heart_rate")[of_day_8] * 10 + 63
    np.testing.assert_allclose(shown, np.arange(60, 67), atol=1e-4)  # days 0 to 6: of itself day 7 tells later


def test_statistics_beside_readings_are_not_readings_and_are_counted() -> None:
    rows = week([60.0] * 10)
    more = [reading("heart_rate", DAY_0 + day * DAY + 8 * HOUR, 190.0, 15, "maximum") for day in range(10)]
    more += [reading("heart_rate", DAY_0 + day * DAY, 30.0, 1440) for day in range(10)]
    for recipe in ("resting_heart_rate_tomorrow", {"name": "resting_heart_rate_tomorrow", "of": "lowest"}):
        bare, made = samples(rows, recipe), taken([*rows, *more], recipe)["Watch 3"]
        assert made.samples is not None
        assert np.array_equal(bare.x, made.samples.x)
        assert np.array_equal(bare.y, made.samples.y)
        assert (
            made.left_out["rows of heart_rate of another kind (a maximum, a total of the day, a nap) or without value"]
            == 20
        )


def test_a_mean_of_the_night_is_taken_where_there_is_nothing_finer() -> None:
    rows = week([60.0] * 10)
    rows += [reading("hrv_rmssd", DAY_0 + day * DAY + HOUR, 45.0, 400, "mean of the night") for day in range(10)]
    rows += [reading("hrv_rmssd", DAY_0 + day * DAY, 200.0, 0, "mean of the week") for day in range(10)]
    found = samples(rows, "resting_heart_rate_tomorrow")
    assert at(found, "resting_heart_rate_tomorrow", "hrv_rmssd_known").max() == 1
    assert np.all(at(found, "resting_heart_rate_tomorrow", "hrv_rmssd") == 0)  # 45 ms is the centre


def test_a_total_of_the_day_beside_minutes_is_not_added_to_them() -> None:
    hours = [
        reading("steps", DAY_0 + day * DAY + h * HOUR, 500.0 + 10 * day, 1) for day in range(10) for h in range(8, 20)
    ]
    totals = [reading("steps", DAY_0 + day * DAY, 12 * (500.0 + 10 * day), 1440) for day in range(10)]
    bare, both = samples(hours, "steps_tomorrow"), samples(hours + totals, "steps_tomorrow")
    assert np.array_equal(bare.x, both.x)
    assert np.array_equal(bare.y, both.y)


def test_nights_without_sums_are_of_stages_also_where_naps_have_sums() -> None:
    stages = [
        night(day, 23, 8, 400)._replace(metric="sleep_stage", value=None, code="light" if day % 2 else "deep")
        for day in range(8)
    ]
    nap = night(3, 14, 1, 55)._replace(code="nap")
    assert np.array_equal(samples(stages, "sleep_tonight").y, samples([*stages, nap], "sleep_tonight").y)


def test_a_moment_of_motion_is_in_one_workout() -> None:
    recipe = {"name": "activity", "seconds": 2.0, "rate_hz": 16.0}
    rows = moves("walking", DAY_0, 10, 1.0) + moves("running", DAY_0 + HOUR, 6, 2.0)
    again = [rows[0]._replace(start=DAY_0 + 2 * US, end=DAY_0 + 9 * US, code="walk")]
    made = taken([*rows, *again], recipe)["Watch 3"]
    alone = samples(rows, recipe)
    assert made.samples is not None
    assert np.array_equal(made.samples.x, alone.x)
    assert made.left_out["workouts within the time of another"] == 1


@pytest.mark.parametrize("kind", ["walk", "Walk", "walking"])
def test_kinds_of_workout_have_many_names(kind: str) -> None:
    recipe = {"name": "activity", "seconds": 2.0, "rate_hz": 16.0}
    rows = moves(kind, DAY_0, 10, 1.0) + moves("biking", DAY_0 + HOUR, 6, 2.0)
    assert np.unique(samples(rows, recipe).y).tolist() == [0, 2]


def anything(seed: int) -> list[Row]:
    """Two days of glucose, of nights with heart rate and steps, and two workouts, with gaps."""
    rng = np.random.default_rng(seed)
    rows = [reading("glucose", DAY_0 + 5 * i * MINUTE, float(rng.integers(60, 250))) for i in range(576)]
    rows += [reading("heart_rate", DAY_0 + i * MINUTE, float(rng.integers(50, 90))) for i in range(1080, 1920)]
    rows += [reading("steps", DAY_0 + i * MINUTE, float(rng.integers(0, 40)), 1) for i in range(1080, 1920)]
    rows += [reading("sleep_stage", DAY_0 + 1380 * MINUTE, None, 200, "light")]
    rows += [reading("sleep_stage", DAY_0 + 1620 * MINUTE, None, 100, "deep")]
    return [row for row in rows if rng.random() > 0.1 or row.metric == "sleep_stage"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", ["glucose_30min", "glucose_60min", "sleep_wake"])
def test_readings_after_a_moment_change_no_input_before_it(recipe: str, seed: int) -> None:
    """Later readings are gone, or others; stages, which are labels, stay."""
    rows = anything(seed)
    settings: dict[str, Any] = {"name": recipe, "max_windows": 5000}
    whole = samples(rows, settings)
    for hour in (20, 22, 26, 30):
        now = DAY_0 + hour * HOUR
        late = [(row.end or row.start) > now and row.metric != "sleep_stage" for row in rows]
        gone = samples([row for row, after in zip(rows, late, strict=True) if not after], settings)
        others = [
            row._replace(value=(row.value or 0) + 3) if after else row for row, after in zip(rows, late, strict=True)
        ]
        changed = samples(others, settings)
        # of sleep a time is told; of glucose the windows that end before now come first, and no others are made
        count = len(gone) if gone.time is None else int((gone.time + 1 <= now / MINUTE).sum())
        assert count
        assert not np.array_equal(whole.x, changed.x)
        for other in (whole, changed):
            assert np.array_equal(gone.x[:count], other.x[:count])


def test_a_signal_of_the_future_cannot_be_found() -> None:
    """Steps and heart rate are noise, but for a row after each midnight that gives tomorrow's total away."""
    rng = np.random.default_rng(0)
    total = rng.integers(4, 20, 200) * 1000.0
    rows = []
    for day in range(200):
        rows += [reading("steps", DAY_0 + day * DAY + h * HOUR, total[day] / 12, 1) for h in range(8, 20)]
        rows += [reading("hrv_rmssd", DAY_0 + day * DAY + 30 * US, total[day] / 100)]  # of the day to come
        rows += [reading("respiratory_rate", DAY_0 + day * DAY, total[day] / 1000, 0, "mean of the night")]
    found = samples(rows, "steps_tomorrow")
    x = np.column_stack([found.x.reshape(len(found), -1), np.ones(len(found))]).astype(float)
    y = found.y[:, 0].astype(float)
    first = np.arange(len(y)) < len(y) // 2

    def told(inputs: np.ndarray) -> float:
        ridge = np.linalg.solve(inputs[first].T @ inputs[first] + np.eye(inputs.shape[1]), inputs[first].T @ y[first])
        return 1 - float(np.var(y[~first] - inputs[~first] @ ridge) / np.var(y[~first]))

    assert told(x) < 0.5  # y has the mean of the days in it, which is known
    assert told(np.column_stack([x, y])) > 0.9


def test_what_a_merge_covered_is_the_devices_own_all_the_same() -> None:
    rows = week([60.0 + day for day in range(10)])
    covered = [row._replace(quality=(*row.quality, "covered")) for row in rows]
    recipe = "resting_heart_rate_tomorrow"
    assert np.array_equal(samples(rows, recipe).x, samples(covered, recipe).x)
    repeats = [row._replace(value=200.0, quality=("shifted_repeat",)) for row in rows if row.metric == "heart_rate"]
    assert np.array_equal(samples(rows, recipe).x, samples([*rows, *repeats], recipe).x)
