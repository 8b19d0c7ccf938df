"""What a map takes from one device to another: a value a day, and rows that have other values of their days."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes import make_recipe
from metapulse.record.recipes.days import worn_hours
from metapulse.record.schema import Row
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, rows_of
from tests.metapulse.record.recipes.test_tomorrow import OFFSETS, history, night

RECIPES = (
    {"name": "resting_heart_rate_tomorrow"},
    {"name": "resting_heart_rate_tomorrow", "of": "lowest"},
    {"name": "sleep_tonight"},
    {"name": "steps_tomorrow"},
)


def walked(day: int, hours: range, steps: float = 500.0) -> list[Row]:
    """Steps of some hours of a day."""
    starts = [DAY_0 + day * DAY + hour * HOUR for hour in hours]
    return [Row("steps", at, steps, None, 0, at + MINUTE, 0, None, WATCH) for at in starts]


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from(OFFSETS),
    recipe=st.sampled_from(RECIPES),
    hour=st.sampled_from([20, 24]),
)
def test_days_that_are_put_back_change_nothing(seed: int, offset: int, recipe: dict[str, str], hour: int) -> None:
    made = make_recipe({**recipe, "wear_h": 1, "least_days": 1, "hour": hour})
    rows = rows_of(history(seed, offset), recipe["name"])
    days = made.series(rows)
    assert next(iter(days)) == made.mapped_metric
    before, after = made.questions(rows), made.questions(made.with_series(rows, days))
    assert len(before) > 0
    for name in ("time", "due", "seen"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_allclose(after.x, before.x, atol=1e-5)
    np.testing.assert_allclose(after.y, before.y, atol=1e-9)


@pytest.mark.parametrize(("recipe", "by"), [(RECIPES[0], 3.0), (RECIPES[1], 3.0), (RECIPES[2], 25.0)])
def test_an_outcome_is_what_its_day_was_given(recipe, by):
    made = make_recipe({**recipe, "wear_h": 1, "least_days": 1})
    rows = rows_of(history(4, 0), recipe["name"])
    days = made.series(rows)
    moved = {made.mapped_metric: replace(days[made.mapped_metric], value=days[made.mapped_metric].value + by)}
    before, after = made.questions(rows), made.questions(made.with_series(rows, moved))
    np.testing.assert_allclose(after.value(after.y), before.value(before.y) + by)
    np.testing.assert_allclose(after.base, before.base + by)


def test_a_day_s_steps_are_given_in_proportion_so_that_wear_stays():
    made = make_recipe("steps_tomorrow")
    rows = rows_of([row for day in range(12) for row in walked(day, range(8, 20), 400.0 + 10 * day)], "steps_tomorrow")
    (days,) = made.series(rows).values()
    assert made.mapped_metric == "steps_daily"
    assert days.value.tolist() == [12 * (400.0 + 10 * day) for day in range(12)]
    assert days.date_only.all()
    assert np.array_equal(days.start, DAY_0 + DAY * np.arange(12))
    assert np.array_equal(days.end, days.start + DAY)
    moved = replace(days, value=np.append(-300.0, 0.5 * days.value[1:]))  # a day of less than nothing keeps a step
    given = made.with_series(rows, {"steps_daily": moved})
    assert worn_hours(given, 24) == worn_hours(rows, 24)
    after = made.questions(given)
    known = ~np.isnan(after.y)
    np.testing.assert_allclose(after.value(after.y)[known], 0.5 * days.value[-known.sum() :])


def test_a_day_worn_too_little_teaches_no_map_and_its_wear_stays():
    made = make_recipe("steps_tomorrow")
    rows = rows_of([row for day in range(9) for row in walked(day, range(8, 20 if day != 6 else 12))], "steps_tomorrow")
    (days,) = made.series(rows).values()
    assert days.censored.tolist() == [day == 6 for day in range(9)]
    assert worn_hours(made.with_series(rows, {"steps_daily": days}), 24) == worn_hours(rows, 24)


def test_the_longest_sleep_is_the_night_s_and_a_night_without_value_is_none():
    nights = [night(day, 23, 8, 400.0 + day) for day in range(10)] + [night(4, 38, 1, 30.0)]  # at 14:00 of day 5
    rows, made = rows_of(nights, "sleep_tonight"), make_recipe("sleep_tonight")
    (days,) = made.series(rows).values()
    assert days.value.tolist() == [400.0 + day for day in range(10)]
    assert (days.begin // DAY - DAY_0 // DAY).tolist() == list(range(1, 11))  # of the morning
    kept = days.where(np.arange(10) != 8)
    asked, bare = made.questions(rows), made.questions(made.with_series(rows, {"sleep_duration": kept}))
    gone = bare.due == DAY_0 + 10 * DAY  # of day 9
    assert np.isnan(bare.y[gone]).all()
    assert not np.isnan(asked.y[asked.due == DAY_0 + 10 * DAY]).any()


def test_every_other_input_is_told_of_and_moved_by_itself():
    made = make_recipe("resting_heart_rate_tomorrow")
    rest = [row for row in history(3, 60) if row.metric != "steps"]
    rows = rows_of(rest, "resting_heart_rate_tomorrow")
    days = made.series(rows)
    assert list(days) == ["resting_heart_rate", "heart_rate", "hrv_rmssd", "sleep_duration", "steps_daily"]
    moved = replace(days["sleep_duration"], value=days["sleep_duration"].value + 60.0)
    given = {**made.with_series(rows, {"sleep_duration": moved})}
    before, after = (made.questions(each).x for each in (rows, given))
    name = made.task.names.index("sleep")
    known = before[:, name + 1] == 1.0
    np.testing.assert_allclose(after[:, name][known], before[:, name][known] + 1.0, atol=1e-5)
    others = np.delete(np.arange(before.shape[1]), name)
    np.testing.assert_allclose(after[:, others], before[:, others], atol=1e-6)


def test_of_glucose_the_readings_are_mapped():
    made = make_recipe("glucose_30min")
    rows = rows_of(
        [
            Row("glucose", DAY_0 + 5 * i * MINUTE, 100.0 + i, device=WATCH, code="scan" if i == 3 else None)
            for i in range(9)
        ],
        "glucose_30min",
    )
    (readings,) = made.series(rows).values()
    assert made.mapped_metric == "glucose"
    assert readings.value.tolist() == [100.0 + i for i in range(9) if i != 3]
    assert made.with_series(rows, {"glucose": readings})["glucose"] is readings
