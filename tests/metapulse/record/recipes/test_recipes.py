"""Recipes with labels, and what holds for all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metapulse.errors import ConfigError, DataError
from metapulse.record.clock import DAY, HOUR, MINUTE, US
from metapulse.record.recipes import make_recipe, take_record
from metapulse.record.schema import Row
from metapulse.registry import RECIPES
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, samples, taken


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
    later = [row._replace(start=row.start + 3 * DAY) for row in rows if row.metric == "heart_rate"]
    told = taken([*rows, *later], recipe)["Watch 3"].left_out
    assert told["nights without a stage of sleep"] == 1
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
    with pytest.raises(DataError, match="no such file"):
        take_record(tmp_path / "missing.parquet", make_recipe("activity"))
