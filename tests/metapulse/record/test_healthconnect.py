"""Health Connect: the many ways in which apps and bridges write its records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_vendors import rows

ORIGIN = {"metadata": {"dataOrigin": {"packageName": "app.watch"}, "device": {"manufacturer": "Acme", "model": "B2"}}}
HEART = {
    **ORIGIN,
    "samples": [{"time": "2024-04-03T06:00:00Z", "beatsPerMinute": "62"}, {"beatsPerMinute": 63}],
    "startTime": "2024-04-03T06:00:00Z",
    "startZoneOffset": 7200,
}
STEPS = {**ORIGIN, "startTime": "2024-04-03T06:00:00Z", "endTime": "2024-04-03T06:10:00Z", "count": 900}
FOUND = {("heart_rate", 62.0), ("steps", 900.0)}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([HEART, STEPS]),
        json.dumps(HEART) + "\n" + json.dumps(STEPS) + "\n",
        json.dumps(STEPS) + "\n" + json.dumps(HEART) + "\n",
        json.dumps({"exported": 1, "records": [HEART, STEPS]}),
        json.dumps({"StepsRecord": [STEPS], "heart_rate": [HEART]}),
        json.dumps({"data": {"steps": {"records": [STEPS]}, "HeartRate": [HEART]}}),
    ],
    ids=["list", "lines", "lines, steps first", "records", "by type", "nested"],
)
def test_whatever_holds_the_records(record: Import, text: str) -> None:
    made, tally = record({"dump.json": text})
    assert {(row[1], row[2]) for row in rows(made)} == FOUND
    assert made["device"][0] == {
        "manufacturer": "Acme", "model": "B2", "hardware": None, "firmware": None, "unit": None, "app": "app.watch",
    }  # fmt: skip
    (file,) = tally.files.values()
    assert not file.unexplained
    assert file.notes["a sample without a time"] == 1


@pytest.mark.parametrize(
    ("given", "metric", "value"),
    [
        ({"type": "Distance", "distance": {"inKilometers": 1.5, "inMiles": 0.93}}, "distance", 1500.0),
        ({"recordType": "distance", "distanceMeters": "1500"}, "distance", 1500.0),
        ({"type": "WeightRecord", "weight": {"value": 154.3, "unit": "pounds"}}, "weight", 69.989),
        ({"type": "Weight", "weight": {"inGrams": 70000, "inKilograms": 70}}, "weight", 70.0),
        (
            {"type": "ACTIVE_CALORIES_BURNED", "energy": {"inCalories": 90000, "inKilocalories": 90}},
            "active_energy",
            90.0,
        ),
        ({"type": "OxygenSaturationRecord", "percentage": {"value": 97}}, "spo2", 97.0),
        ({"type": "BodyTemperature", "temperature": {"inFahrenheit": 98.6}}, "body_temperature", 37.0),
        (
            {"type": "BloodGlucose", "level": {"inMilligramsPerDeciliter": 99.1}, "specimenSource": 2},
            "glucose_blood",
            99.1,
        ),
        ({"type": "BloodGlucose", "level": 5.5, "specimenSource": "INTERSTITIAL_FLUID"}, "glucose", 99.0858),
        ({"heartRateVariabilityMillis": 41.5}, "hrv_rmssd", 41.5),
        ({"type": "Nutrition", "caffeine": {"inGrams": 0.09}}, "caffeine", 90.0),
    ],
)
def test_quantities_in_any_form(record: Import, given: dict[str, Any], metric: str, value: float) -> None:
    made, _ = record({"dump.json": json.dumps([{**ORIGIN, "time": "2024-04-03T06:00:00Z", **given}])})
    assert [row[1:3] for row in rows(made)] == [(metric, pytest.approx(value, rel=1e-4))]


@pytest.mark.parametrize(
    ("times", "offset", "marks"),
    [
        ({"time": "2024-04-03T06:00:00Z", "zoneOffset": "+09:00"}, 540, []),
        ({"time": "2024-04-03T06:00:00Z", "zoneOffset": {"totalSeconds": -12600}}, -210, []),
        ({"time": "2024-04-03T06:00:00Z", "zoneOffset": {"id": "-0430"}}, -270, []),
        ({"time": "2024-04-03T06:00:00Z"}, 120, []),  # the zone that was told
        ({"time": "2024-04-03T15:00:00+09:00"}, 540, []),
        ({"time": "2024-04-03T15:00:00", "zoneOffset": "+09:00"}, 540, []),
        ({"time": "2024-04-03T08:00:00"}, 120, ["zone_assumed"]),
        ({"time": 1712124000000}, 120, []),
        ({"time": {"epochSecond": 1712124000, "nano": 0}, "zoneOffset": 3600}, 60, []),
    ],
)
def test_times_in_any_form(record: Import, times: dict[str, Any], offset: int, marks: list[str]) -> None:
    made, _ = record(
        {"dump.json": json.dumps([{"type": "RestingHeartRateRecord", "beatsPerMinute": 52, **ORIGIN, **times}])}
    )
    assert made["start"].dt.timestamp("ms").to_list() == [1712124000000]
    assert made["offset_min"].to_list() == [offset]
    assert made["quality"].to_list() == [marks]


def test_a_night_with_named_stages_and_one_with_none(record: Import) -> None:
    night = {"type": "SleepSession", "startTime": "2024-04-02T21:00:00Z", "endTime": "2024-04-02T23:00:00Z"}
    stage = {"startTime": "2024-04-02T21:00:00Z", "endTime": "2024-04-02T21:30:00Z", "stage": "STAGE_TYPE_SLEEPING"}
    made, _ = record({"a.json": json.dumps([{**night, **ORIGIN, "stages": [stage, {"stage": 5}]}])})
    assert rows(made) == [("02 23:00:00", "sleep_stage", None, "asleep", "stage", [])]
    assert (made["end"] - made["start"]).dt.total_minutes().to_list() == [30]
    made, _ = record({"a.json": json.dumps([{**night, **ORIGIN, "stages": []}])})
    assert (made["end"] - made["start"]).dt.total_minutes().to_list() == [120]


def test_what_is_typed_in_is_marked_and_what_has_no_type_is_counted_away(record: Import) -> None:
    typed = {
        "type": "Steps",
        **STEPS,
        "metadata": {"dataOrigin": "x", "recordingMethod": "RECORDING_METHOD_MANUAL_ENTRY"},
    }
    unknown = {"time": "2024-04-03T06:00:00Z", "beatsPerMinute": 52, **ORIGIN}  # at rest or not?
    made, tally = record({"dump.json": json.dumps([typed, unknown, {"type": "OvulationTestRecord", **STEPS}])})
    assert rows(made) == [("03 08:00:00", "steps", 900.0, None, "count", ["manual"])]
    (file,) = tally.files.values()
    assert file.skipped == {"no metric of ours: a record without a type": 1, "no metric of ours: ovulationtest": 1}


@pytest.mark.parametrize("second", [1e308, "9" * 300, True, None, -1e300])
def test_an_instant_that_is_none(record: Import, second: object) -> None:
    broken = {"type": "Steps", "time": {"epochSecond": second, "nano": 1e308}, "count": 5, **ORIGIN}
    made, tally = record({"dump.json": json.dumps([broken, {"type": "Steps", **STEPS}])})
    assert [row[2] for row in rows(made)] == [900.0]
    (file,) = tally.files.values()
    assert file.skipped == {"a stamp that is no time": 1}
