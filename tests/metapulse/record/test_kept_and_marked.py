"""A value that cannot be right is kept and marked, and one that cannot be read is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.metapulse.record.conftest import Import

DAY = {"calendarDate": "2024-04-03", "totalKilocalories": 2000, "totalSteps": 4000, "restingHeartRate": 50,
       "maxHeartRate": 150, "floorsAscended": 3, "averageStressLevel": 20}  # fmt: skip
NIGHT = {"sleepStartTimestampGMT": 1712095200000, "sleepEndTimestampGMT": 1712120400000, "deepSleepSeconds": 60}
ACTIVE = {"body": {"activities": [{"date": "2024-04-03", "steps": 5000, "soft": 60, "intense": 60, "moderate": 1}]}}
SLEPT = {"body": {"series": [{"startdate": 1712095200, "enddate": 1712120400, "data": {
    "sleep_score": 80, "deepsleepduration": 3600}}]}}  # fmt: skip
SUMMARY = (
    "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,overallSleepScore\n"
    "a,2024-04-03,7200000,1712092200000,24600000,75\n"
)
PULSE = {"data": [{"bpm": 60, "source": "awake", "timestamp": "2024-04-03T08:00:00+00:00"}]}
MINUTES = {"body": {"series": {"1712095200": {"steps": 20, "duration": 60, "calories": 2},
                               "1712095260": {"steps": 3, "duration": 60}}}}  # fmt: skip
RECOVERY = {"night": "2024-04-03", "meanNightlyRecoveryRmssd": 40, "meanNightlyRecoveryRri": 1000,
            "meanNightlyRecoveryRespirationInterval": 4000}  # fmt: skip


def changed(given: Any, name: str, value: object) -> Any:
    """What was given, with another value under a name, wherever that is."""
    if isinstance(given, list):
        return [changed(each, name, value) for each in given]
    if isinstance(given, dict):
        return {key: value if key == name else changed(each, name, value) for key, each in given.items()}
    return given


@pytest.mark.parametrize(
    ("file", "given", "name", "value", "metric"),
    [
        ("UDSFile.json", [DAY], "totalSteps", -6003, "steps_daily"),
        ("UDSFile.json", [DAY], "restingHeartRate", -56, "resting_heart_rate"),
        ("UDSFile.json", [DAY], "totalKilocalories", -5, "total_energy"),
        ("sleep_summaries.csv", SUMMARY, "75", "-75", "sleep_score"),
        ("oura.json", PULSE, "bpm", -60, "heart_rate"),
        ("withings.json", ACTIVE, "intense", -1860, "active_minutes"),
        ("withings.json", ACTIVE, "steps", -5, "steps_daily"),
        ("withings.json", SLEPT, "sleep_score", -85, "sleep_score"),
        ("withings.json", MINUTES, "calories", -20, "active_energy"),
        ("polar.json", [RECOVERY], "meanNightlyRecoveryRespirationInterval", -4286, "respiratory_rate"),
        ("polar.json", [RECOVERY], "meanNightlyRecoveryRespirationInterval", 70_000, "respiratory_rate"),
    ],
)
def test_a_value_that_cannot_be_right_is_kept_and_marked(
    file: str, given: Any, name: str, value: float | str, metric: str, record: Import
) -> None:
    texts = json.dumps(given), json.dumps(changed(given, name, value))
    if isinstance(given, str):
        texts = given, given.replace(name, str(value))
    good, _ = record({file: texts[0]})
    made, _ = record({file: texts[1]})
    assert len(made) == len(good)
    marked = [row["metric"] for row in made.rows(named=True) if "implausible" in row["quality"]]
    assert marked == [metric]


@pytest.mark.parametrize("code", [-1, -2])
@pytest.mark.parametrize("name", ["averageStressLevel", "restingHeartRate", "maxHeartRate", "floorsAscended"])
def test_a_code_for_no_value_is_no_value_and_is_told(name: str, code: int, record: Import) -> None:
    good, _ = record({"UDSFile.json": json.dumps([DAY])})
    made, tally = record({"UDSFile.json": json.dumps([{**DAY, name: code}])})
    assert len(made) == len(good) - 1
    assert next(iter(tally.files.values())).notes == {f"{name}: a code for a value that could not be measured": 1}


@pytest.mark.parametrize(
    ("file", "given", "note"),
    [
        ("sleepData.json", [{**NIGHT, "sleepScores": {"overallScore": {"q": 1}}}], "overallScore: no number"),
        (
            "spo2.json",
            {"dateTime": "2024-01-22", "minutes": [
                {"value": 97.6, "minute": "2024-01-22T01:00:00"}, {"value": {"q": 1}, "minute": "2024-01-22T01:01:00"},
            ]},
            "spo2: no number",
        ),
    ],
)  # fmt: skip
def test_what_stands_in_a_numbers_place_is_told(file: str, given: Any, note: str, record: Import) -> None:
    made, tally = record({file: json.dumps(given)})
    assert len(made) == 1
    assert next(iter(tally.files.values())).notes == {note: 1}
