"""A cell that cannot be read costs itself, and is told: in every reader whose rows have several values."""

from __future__ import annotations

import json

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

LIBRE = (
    "\n".join(SAMPLES["libre.csv"].splitlines()[:2])
    + "\nFreeStyle Libre 2,SN1,04-13-2024 01:06 PM,4,,abc,,4.5,,,,,,,,,,,\n"
)
CARELINK = (
    "Index,Date,Time,New Device Time,BG Reading (mg/dL),Sensor Glucose (mg/dL),ISIG Value\n"
    "1,2024/04/13,08:00:00,,abc,120,20\n"
)
NIGHT = (
    'from,to,"light (s)","deep (s)","rem (s)","awake (s)",wake up,"Duration to sleep (s)"\n'
    "2024-07-18T01:00:00+02:00,2024-07-18T08:00:00+02:00,9000,abc,0,60,1,\n"
)
ACTIVITY = (
    "from,to,Activity type,Data\n"
    '2024-07-18T09:00:00+02:00,2024-07-18T09:30:00+02:00,Walking,"{""calories"":""abc""}"\n'
    "2024-07-18T10:00:00+02:00,2024-07-18T10:30:00+02:00,Walking,\"{'calories':86}\"\n"
)
GARMIN = (
    "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,deepSleepDurationInMs\n"
    "a,2024-04-03,7200000,1712092200000,24600000,abc\n"
)
CGMACROS = (
    "Timestamp,Libre GL,Dexcom GL,HR,Calories (Activity),METs,Meal Type,"
    "Calories\n2024-04-03 08:00:00,100,abc,70,1,1,,\n"
)
APPLE = """<?xml version="1.0"?>
<HealthData>
 <Workout workoutActivityType="HKWorkoutActivityTypeRunning" duration="30" durationUnit="min" totalDistance="abc"
  totalDistanceUnit="km" sourceName="x" startDate="2024-04-03 08:00:00 +0200" endDate="2024-04-03 08:30:00 +0200"/>
</HealthData>
"""
EXERCISE = {"logId": 1, "activityName": "Run", "startTime": "04/03/24 08:00:00", "duration": 60000, "calories": "abc"}
WORKOUT = {"sessions": [{"startTime": "2024-04-03T08:00:00+02:00", "duration": 60, "steps": "abc", "points": 1}]}
MEAL = {"eventType": "Meal Bolus", "created_at": "2024-04-03T08:00:00Z", "insulin": 4, "carbs": "abc"}
GROUPS = {"body": {"activities": [{"date": "2024-04-03", "steps": 5000, "soft": 60, "distance": "abc", "moderate": 1}]}}
TIDE = {
    "type": "bolus",
    "deviceId": "x",
    "time": "2024-04-03T08:00:00Z",
    "normal": 2,
    "extended": "abc",
    "uploadId": "u",
}
SCALE = ("Weight", "Fat mass", "Bone mass", "Muscle mass", "Hydration")
SCALES = {  # of each column a file in which that is no number
    name: f"Date,{','.join(f'{each} (kg)' for each in SCALE)},Comments\n2024-04-03 08:00:00,"
    f"{','.join('abc' if each == name else '40' for each in SCALE)},\n"
    for name in SCALE
}
CUFF = "Date,Heart rate,Systolic,Diastolic,Comments\n2024-04-03 08:00:00,abc,125,81,\n"
UDS = {"calendarDate": "2024-04-03", "activeKilocalories": 400, "totalSteps": 4000}
EXERCISED = (
    "com.samsung.shealth.exercise,1,1\nstart_time,end_time,exercise_type,duration\n"
    "2024-04-03 08:00:00.000,2024-04-03 09:00:00.000,abc,3600000,\n"
)
WEIGHED = "com.samsung.health.weight,1,1\nstart_time,end_time,time_offset,weight\n2024-04-03 08:00:00.000,{},{},60,\n"
ABED = {
    "day": "2024-04-03",
    "bedtime_start": "2024-04-02T23:00:00+02:00",
    "bedtime_end": "2024-04-03T00:00:00+02:00",
    "sleep_phase_5_min": "4x21",
}
POLAR = {"exportVersion": "1.2", "date": "2024-04-03", "summary": {"stepCount": 5000, "calories": "abc"}, "mets": []}


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("export.xml", APPLE, "workout_distance: no number"),
        ("libre.csv", LIBRE, "glucose: no number"),
        ("carelink.csv", CARELINK, "glucose_blood: no number"),
        ("sleep.csv", NIGHT, "deep (s): no number"),
        ("activities.csv", ACTIVITY, "calories: no number"),
        ("activities.csv", ACTIVITY, "an activity whose data are no JSON"),
        ("sleep_summaries.csv", GARMIN, "deepsleepdurationinms: no number"),
        ("CGMacros.csv", CGMACROS, "dexcom gl: no number"),
        ("steps.csv", "timestamp,steps,calories\n2024-04-03T08:00:00Z,12,abc\n", "calories: no number"),
        ("fitbit.csv", "Activities\nDate,Calories Burned,Steps\n2024-04-03,2100,abc\n", "steps: no number"),
        ("exercise-0.json", json.dumps([EXERCISE]), "calories: no number"),
        ("misfit.json", json.dumps(WORKOUT), "steps: no number"),
        ("treatments.json", json.dumps([MEAL]), "carbs: no number"),
        ("withings.json", json.dumps(GROUPS), "distance: no number"),
        ("tidepool.json", json.dumps([TIDE]), "extended: no number"),
        ("polar.json", json.dumps(POLAR), "calories: no number"),
        *(("weight.csv", text, f"{name.lower()} (kg): no number") for name, text in SCALES.items()),
        ("bp.csv", CUFF, "heart rate: no number"),
        ("UDSFile.json", json.dumps([{**UDS, "restingHeartRate": "abc"}]), "restingHeartRate: no number"),
        (
            "UDSFile.json",
            json.dumps([{**UDS, "currentDayRestingHeartRate": 50, "restingHeartRate": "abc"}]),
            "restingHeartRate: no number",
        ),
        ("com.samsung.shealth.exercise.20240405090000.csv", EXERCISED, "exercise_type: no number"),
        ("sleep.json", json.dumps({"data": [ABED]}), "sleep_phase_5_min: no stage"),
        ("weighed.csv", WEIGHED.format("later", "UTC+0200"), "end_time: no time"),
        ("weighed.csv", WEIGHED.format("", "east"), "time_offset: no offset"),
        ("sleep_summaries.csv", GARMIN.replace("7200000", "east"), "timezoneoffsetinms: no number"),
    ],
)
def test_a_cell_that_cannot_be_read_is_told_where_its_row_has_more(
    record: Import, name: str, text: str, note: str
) -> None:
    made, tally = record({name: text})
    (file,) = tally.files.values()
    assert len(made)
    assert not file.unexplained
    assert file.notes[note] == 1


def point(start: object, value: object) -> dict[str, object]:
    name = "com.google.heart_rate.bpm"
    return {"startTimeNanos": start, "endTimeNanos": start, "dataTypeName": name, "value": [{"fpVal": value}]}


BUCKET = {"startTimeMillis": "1712131200000", "endTimeMillis": "1712217600000", "dataset": [{"point": [
    point("1712131200000000000", 60), point("soon", 61), point("1712131260000000000", "abc"),
]}]}  # fmt: skip
WEIGHT = {"dataOrigin": "app", "recordType": "Weight", "time": "2024-04-03T08:00:00Z", "weight": 70}
CONNECT = [[WEIGHT, {**WEIGHT, "time": "soon"}, {**WEIGHT, "weight": "abc"}]]
HEALTH = [{"dataPoints": [
    {"heartRate": {"sampleTime": {"physicalTime": "2024-04-03T08:00:00Z"}, "beatsPerMinute": "60"}},
    {"heartRate": {"sampleTime": {"physicalTime": "soon"}, "beatsPerMinute": "61"}},
    {"heartRate": {"sampleTime": {"physicalTime": "2024-04-03T08:01:00Z"}, "beatsPerMinute": "abc"}},
], "nextPageToken": ""}]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "lost"),
    [("fit.json", {"bucket": [BUCKET]}, 2), ("connect.json", CONNECT, 2), ("health.json", HEALTH, 2)],
)
def test_what_an_item_of_several_records_loses_is_told(record: Import, name: str, given: object, lost: int) -> None:
    """Each of the bad ones is a note, or a row that is skipped."""
    made, tally = record({name: json.dumps(given)})
    (file,) = tally.files.values()
    assert len(made) == 1
    assert not file.unexplained
    assert file.notes.total() + file.skipped.total() == lost


def test_characters_that_are_no_stage_take_their_time_and_are_none(record: Import) -> None:
    """A digit that is no known stage is one that is not known."""
    made, tally = record({"sleep.json": json.dumps({"data": [{**ABED, "sleep_phase_5_min": "4xx9²1"}]})})
    assert made["code"].to_list() == ["awake", "unknown", "deep"]
    assert ((made["start"] - made["start"][0]).dt.total_minutes() // 5).to_list() == [0, 3, 5]
    assert next(iter(tally.files.values())).notes == {"sleep_phase_5_min: no stage": 3}


def test_an_exercise_of_no_readable_type_is_of_none_that_is_known(record: Import) -> None:
    made, _ = record({"exercise.csv": EXERCISED})
    assert made.select("metric", "code").rows() == [("workout", "unknown")]


@pytest.mark.parametrize("end", ["", "0", "-", "1970-01-01 00:00:00.000", "2024-04-03 08:00:00.000"])
def test_an_end_that_is_a_placeholder_is_no_bad_cell(record: Import, end: str) -> None:
    _, tally = record({"weighed.csv": WEIGHED.format(end, "UTC+0200")})
    assert not next(iter(tally.files.values())).notes
