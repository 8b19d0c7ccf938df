"""Answers of Fitbit's Web API."""

from __future__ import annotations

import json

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows


def test_minutes_have_their_day_from_the_list_beside_them(record: Import) -> None:
    made, tally = record({"heart.json": SAMPLES["fitbit-heart.json"]})
    assert rows(made) == [
        ("21 00:00:00", "resting_heart_rate", 58.0, None, "/min", ["date_only"]),
        ("21 00:01:00", "heart_rate", 64.0, None, "/min", []),
    ]
    (file,) = tally.files.values()
    assert file.skipped == {"what is around the values": 1, "no value": 1}
    two = json.loads(SAMPLES["fitbit-heart.json"])
    two["activities-heart"].append({"dateTime": "2015-08-22", "value": {}})
    made, tally = record({"heart.json": json.dumps(two)})  # whose minutes are they?
    assert [row[1] for row in rows(made)] == ["resting_heart_rate"]


def test_steps_of_seconds_and_of_days(record: Import) -> None:
    answer = {
        "activities-steps": [{"dateTime": "2015-08-21", "value": "3212"}],
        "activities-steps-intraday": {
            "dataset": [{"time": "00:00:15", "value": 7}],
            "datasetInterval": 15,
            "datasetType": "second",
        },
    }
    made, _ = record({"steps.json": json.dumps(answer)})
    assert [row[:3] for row in rows(made)] == [("21 00:00:00", "steps_daily", 3212.0), ("21 00:00:15", "steps", 7.0)]
    assert (made["end"] - made["start"]).dt.total_seconds().to_list() == [86400, 15]


def test_a_summary_is_of_the_day_of_its_workouts_or_of_none(record: Import) -> None:
    answer = {
        "activities": [{"startDate": "2015-06-23", "startTime": "15:00", "hasStartTime": False, "duration": 3600000,
                        "name": "Walk", "distance": 6.4, "logId": 1}],
        "goals": {"steps": 10000},
        "summary": {"steps": 15242, "caloriesBMR": 1069, "distances": [{"activity": "total", "distance": 12.87}]},
    }  # fmt: skip
    made, _ = record({"day.json": json.dumps(answer)})
    assert rows(made) == [
        ("23 00:00:00", "basal_energy", 1069.0, None, "kcal", ["date_only"]),
        ("23 00:00:00", "distance", 12870.0, None, "m", ["date_only", "unit_assumed"]),
        ("23 00:00:00", "steps_daily", 15242.0, None, "count", ["date_only"]),
        ("23 00:00:00", "workout", 60.0, "walk", "min", ["date_only"]),
        ("23 00:00:00", "workout_distance", 6400.0, "walk", "m", ["date_only", "unit_assumed"]),
    ]
    made, tally = record({"day.json": json.dumps({**answer, "activities": []}), "own.csv": SAMPLES["own.csv"]})
    file = next(file for file in tally.files.values() if file.format == "fitbit_web")
    assert file.skipped["of a day that the answer does not name, or a sum of its nights"] == 1


def test_nights_of_the_first_version_are_minutes(record: Import) -> None:
    minutes = [{"dateTime": "23:59:00", "value": value} for value in ("3", "1", "1", "2")]
    night = {"dateOfSleep": "2016-12-13", "logId": 1, "startTime": "2016-12-12T23:59:00.000", "minuteData": minutes}
    made, _ = record({"sleep.json": json.dumps({"sleep": [night]})})
    assert rows(made) == [
        ("12 23:59:00", "sleep_stage", None, "awake", "stage", []),
        ("13 00:00:00", "sleep_stage", None, "asleep", "stage", []),
        ("13 00:02:00", "sleep_stage", None, "restless", "stage", []),
    ]


def test_values_of_nights_and_their_minutes(record: Import) -> None:
    minutes = [{"minute": "2021-10-25T09:10:00.000", "value": {"rmssd": 26.6, "coverage": 0.9}}]
    answers = {
        "hrv.json": {"hrv": [{"dateTime": "2021-10-25", "value": {"dailyRmssd": 34.9}, "minutes": minutes}]},
        "br.json": {"br": [{"dateTime": "2021-10-25", "value": {"breathingRate": 17.8}}]},
        "cardio.json": {"cardioScore": [{"dateTime": "2021-10-25", "value": {"vo2Max": "45-49"}}]},
    }
    made, tally = record({name: json.dumps(answer) for name, answer in answers.items()})
    assert [row[:3] for row in rows(made)] == [
        ("25 00:00:00", "hrv_rmssd", 34.9),
        ("25 00:00:00", "respiratory_rate", 17.8),
        ("25 09:10:00", "hrv_rmssd", 26.6),
    ]
    cardio = next(file for file in tally.files.values() if file.file == "cardio.json")
    assert cardio.skipped["no value"] == 1  # a range is no number


def test_oxygen_saturation_comes_without_a_name_alone_or_in_an_array(record: Import) -> None:
    day = {"dateTime": "2015-08-21", "value": {"avg": 97.5, "min": 94.0, "max": 100.0}}
    minutes = {"dateTime": "2015-08-22", "minutes": [{"value": 95.8, "minute": "2015-08-22T04:10:00"}]}
    made, tally = record({"a.json": json.dumps([day]), "b.json": json.dumps(minutes)})
    assert sorted(row[2] for row in rows(made)) == [94.0, 95.8, 97.5, 100.0]
    assert {file.format for file in tally.files.values()} == {"fitbit_web"}
    assert all(file.skipped.keys() == {"what is around the values"} for file in tally.files.values())
