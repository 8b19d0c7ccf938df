"""Pages of the Google Health API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

INTERVAL = {
    "startTime": "2026-06-01T21:00:00Z",
    "startUtcOffset": "7200s",
    "endTime": "2026-06-02T05:00:00Z",
    "endUtcOffset": "7200s",
}


def page(*points: dict[str, Any]) -> str:
    return json.dumps({"dataPoints": [{"dataSource": {"platform": "FITBIT"}, **point} for point in points]})


def test_whole_numbers_are_texts_and_offsets_are_seconds(record: Import) -> None:
    made, tally = record({"page.json": SAMPLES["google_health.json"]})
    assert rows(made) == [
        ("01 00:00:00", "resting_heart_rate", 54.0, None, "/min", ["date_only"]),
        ("01 02:30:00", "heart_rate", 62.0, None, "/min", []),
    ]
    assert made["offset_min"].to_list() == [120, -210]
    assert made["device"][1]["model"] == "Pixel Watch"
    (file,) = tally.files.values()
    assert file.skipped == {"no metric of ours: sedentaryPeriod": 1}


def test_a_night(record: Import) -> None:
    stage = {"startTime": "2026-06-01T21:00:00Z", "endTime": "2026-06-01T21:30:00Z", "type": "DEEP"}
    night = {
        "interval": INTERVAL,
        "metadata": {"nap": False},
        "summary": {"minutesAsleep": "440", "minutesInSleepPeriod": "480"},
        "stages": [stage, {"type": "REM"}],
    }
    made, tally = record({"page.json": page({"sleep": night})})
    assert rows(made) == [
        ("01 23:00:00", "sleep_duration", 440.0, None, "min", []),
        ("01 23:00:00", "sleep_stage", None, "deep", "stage", []),
        ("01 23:00:00", "time_in_bed", 480.0, None, "min", []),
    ]
    (file,) = tally.files.values()
    assert file.notes == {"a stage without a time": 1}


def test_a_workout_and_a_meal(record: Import) -> None:
    workout = {
        "interval": INTERVAL,
        "exerciseType": "TREADMILL",
        "activeDuration": "1800s",
        "metricsSummary": {"caloriesKcal": 23, "distanceMillimeters": "1500000", "activeZoneMinutes": "0"},
    }
    meal = {
        "interval": INTERVAL,
        "energy": {"kcal": 650},
        "nutrients": [{"nutrient": "PROTEIN", "quantity": {"grams": 35}}],
    }
    made, _ = record({"page.json": page({"exercise": workout}, {"nutritionLog": meal})})
    assert [row[1:4] for row in rows(made)] == [
        ("energy_eaten", 650.0, None),
        ("protein", 35.0, None),
        ("workout", 30.0, "treadmill"),
        ("workout_distance", 1500.0, "treadmill"),
        ("workout_energy", 23.0, "treadmill"),
    ]


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ({}, "01 00:00:00"),  # midnight: hours that are 0 are left out
        ({"hours": 8, "minutes": 5}, "01 08:05:00"),
        ("08:05:00", "01 08:05:00"),
    ],
)
def test_civil_times(record: Import, time: Any, told: str) -> None:
    civil = {"date": {"year": 2026, "month": 6, "day": 1}, "time": time}
    made, _ = record({"page.json": page({"weight": {"sampleTime": {"civilTime": civil}, "weightGrams": 70500}})})
    assert rows(made) == [(told, "weight", 70.5, None, "kg", ["zone_assumed"])]


def test_a_day_that_was_rolled_up_is_a_day_s_total(record: Import) -> None:
    day = {"civilStartTime": {"date": {"year": 2026, "month": 6, "day": 1}},
           "civilEndTime": {"date": {"year": 2026, "month": 6, "day": 2}}, "steps": {"countSum": "8120"}}  # fmt: skip
    made, _ = record({"page.json": json.dumps({"rollupDataPoints": [day]})})
    assert [row[1:3] for row in rows(made)] == [("steps_daily", 8120.0)]
