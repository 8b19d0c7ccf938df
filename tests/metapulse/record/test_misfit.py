"""Answers of Misfit's interface."""

from __future__ import annotations

import json

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows


def test_stages_last_until_the_next(record: Import) -> None:
    made, tally = record({"sleeps.json": SAMPLES["misfit-sleeps.json"]})
    assert rows(made) == [
        ("23 21:40:00", "sleep_stage", None, "light", "stage", []),
        ("23 21:40:00", "time_in_bed", 60.0, None, "min", []),
        ("23 22:10:00", "sleep_stage", None, "deep", "stage", []),
    ]
    assert (made["end"] - made["start"]).dt.total_minutes().to_list() == [30, 60, 30]
    (file,) = tally.files.values()
    assert file.notes == {"a stage without a time, or outside of its night": 1}


def test_workouts_and_days_in_miles(record: Import) -> None:
    walk = {"activityType": "Walking", "startTime": "2015-04-13T11:46:00-07:00", "duration": 1140, "points": 228.8,
            "steps": 2026, "distance": 0.9371}  # fmt: skip
    day = {"date": "2015-04-13", "points": 2745.6, "steps": 26370, "calories": 961}
    made, _ = record({"a.json": json.dumps({"sessions": [walk]}), "b.json": json.dumps({"summary": [day]})})
    assert rows(made) == [
        ("13 00:00:00", "steps_daily", 26370.0, None, "count", ["date_only"]),
        ("13 00:00:00", "total_energy", 961.0, None, "kcal", ["date_only"]),
        ("13 11:46:00", "steps", 2026.0, "walking", "count", []),
        ("13 11:46:00", "workout", 19.0, "walking", "min", []),
        ("13 11:46:00", "workout_distance", pytest.approx(0.9371 * 1609.344), "walking", "m", ["unit_assumed"]),
    ]
