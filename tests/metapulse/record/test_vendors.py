"""What each vendor's reader makes of its small export: the values, units, devices and marks."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

FIELDS = ("metric", "value", "code", "unit", "quality")


def rows(made: pl.DataFrame, *metrics: str) -> list[tuple[Any, ...]]:
    """(local time, metric, value, code, unit, marks) of some metrics; of all if none is named."""
    chosen = made.filter(pl.col("metric").is_in(metrics)) if metrics else made
    local = chosen.select((pl.col("start") + pl.duration(minutes=pl.col("offset_min"))).dt.strftime("%d %H:%M:%S"))
    return [(time[0], *values) for time, values in zip(local.rows(), chosen.select(FIELDS).rows(), strict=True)]


def test_apple(record: Import) -> None:
    made, _ = record({"export.xml": SAMPLES["export.xml"]})
    assert rows(made) == [
        ("02 08:00:00", "heart_rate", 61.0, None, "/min", []),
        ("02 08:02:00", "weight", 70.5, None, "kg", ["manual"]),
        ("02 09:00:00", "workout", 31.5, "running", "min", []),
        ("02 09:00:00", "workout_distance", 5200.0, "running", "m", []),
        ("02 09:00:00", "workout_hr_max", 172.0, "running", "/min", []),
        ("02 09:00:00", "workout_hr_mean", 141.0, "running", "/min", []),
    ]
    assert made["device"][0] == {
        "manufacturer": "Apple Inc.", "model": "Watch", "hardware": "Watch6,2", "firmware": "9.1", "unit": None,
        "app": "Uhr",
    }  # fmt: skip


def test_electrocardiogram_of_apple(record: Import) -> None:
    made, _ = record({"anything": SAMPLES["ecg.csv"]})
    assert made["value"].to_list() == [-12.5, 13.25, 14.0]
    assert made["start"].diff().dt.total_milliseconds().to_list() == [None, 2, 2]


def test_libre_of_an_american_account(record: Import) -> None:
    made, tally = record({"libre.csv": SAMPLES["libre.csv"]})
    assert rows(made) == [
        ("13 08:00:00", "glucose", 112.0, None, "mg/dL", []),
        ("13 13:05:00", "glucose", 40.0, "scan", "mg/dL", ["censored_low"]),
        ("13 13:06:00", "insulin_rapid", 4.5, None, "U", []),
        ("13 13:07:00", "ketones", 0.4, None, "mmol/L", []),
    ]
    assert made["device"][0]["unit"] == "SN1"
    assert made["raw"].to_list() == [None, "LO", None, None]
    (file,) = tally.files.values()
    assert file.skipped["no value: a line of type 6"] == 1


@pytest.mark.parametrize(
    ("unit", "written", "value", "marks"),
    [
        ("mg/dL", "0", 0.0, ["implausible"]),  # no limit of any sensor
        ("mg/dL", "-3", -3.0, ["implausible"]),
        ("mg/dL", "38", 38.0, ["censored_low"]),  # the reader shows LO for it
        ("mg/dL", "40", 40.0, []),
        ("mg/dL", "500", 500.0, []),
        ("mg/dL", "501", 501.0, ["censored_high"]),
        ("mmol/L", "2.1", 37.83, ["censored_low"]),
        ("mmol/L", "2.2", 39.63, []),  # 40 mg/dL, which the sensor measures
        ("mmol/L", "27.8", 500.83, []),
        ("mmol/L", "27.9", 502.64, ["censored_high"]),
    ],
)
def test_of_a_libre_what_is_beyond_its_range_is_a_limit(
    record: Import, unit: str, written: str, value: float, marks: list[str]
) -> None:
    header = "\n".join(SAMPLES["libre.csv"].splitlines()[:2]).replace("Glucose mg/dL", f"Glucose {unit}")
    made, _ = record({"libre.csv": f"{header}\nFreeStyle Libre 2,SN1,04-13-2024 08:00 AM,0,{written},,,,,,,,,,,,,,\n"})
    assert made["value"].to_list() == [pytest.approx(value, abs=0.01)]
    assert made["quality"].to_list() == [marks]


def test_a_night_of_fitbit(record: Import) -> None:
    made, _ = record({"sleep-2024-04-28.json": SAMPLES["sleep-2024-04-28.json"]})
    assert rows(made, "sleep_stage") == [
        ("27 23:09:00", "sleep_stage", None, "awake", "stage", []),
        ("27 23:09:30", "sleep_stage", None, "light", "stage", []),
        ("27 23:12:00", "sleep_stage", None, "awake", "stage", []),
    ]
    assert rows(made, "sleep_duration", "sleep_efficiency", "time_in_bed") == [
        ("27 23:09:00", "sleep_duration", 438.0, None, "min", []),
        ("27 23:09:00", "sleep_efficiency", 86.0, None, "%", []),
        ("27 23:09:00", "time_in_bed", 504.0, None, "min", []),
    ]


def test_twins_of_fitbit_are_one(record: Import) -> None:
    twins = ("heart_rate-2024-04-22.json", "heart_rate_2024-04-22.csv")
    made, tally = record({name: SAMPLES[name] for name in twins})
    assert (tally.records, tally.duplicates) == (4, 1)
    assert rows(made) == [
        ("22 06:00:05", "heart_rate", 69.0, None, "/min", []),
        ("22 06:00:05", "heart_rate", 69.0, None, "/min", ["duplicate_of"]),
        ("22 06:00:10", "heart_rate", 70.0, None, "/min", ["low_confidence"]),
        ("22 06:00:15", "heart_rate", 71.0, None, "/min", []),
    ]


def test_units_that_fitbit_com_does_not_write_are_inferred_and_marked(record: Import) -> None:
    made, _ = record({"fitbit_export.csv": SAMPLES["fitbit_export.csv"]})
    assert rows(made, "weight", "distance", "steps_daily", "sleep_duration") == [
        ("13 00:00:00", "distance", pytest.approx(6.4 * 1609.344), None, "m", ["date_only", "unit_assumed"]),
        ("13 00:00:00", "steps_daily", 13666.0, None, "count", ["date_only"]),
        ("13 00:00:00", "weight", pytest.approx(69.99, abs=0.01), None, "kg", ["date_only", "unit_assumed"]),
        ("13 23:15:00", "sleep_duration", 410.0, None, "min", []),
    ]


@pytest.mark.parametrize(("order", "days"), [("", []), ("dmy", ["2003-04-24"]), ("ymd", ["2024-04-03"])])
def test_a_year_of_two_digits_is_asked_for(record: Import, order: str, days: list[str]) -> None:
    text = "time,metric,value,unit\n24-04-03 08:00,weight,70,kg\n2024-04-05 08:00,height,1.7,m\n"
    rows, tally = record({"own.csv": text}, Options(date_order=order))
    found = rows.filter(pl.col("metric") == "weight")
    assert [str(start.date()) for start in found["start"]] == days
    assert next(iter(tally.files.values())).unexplained == 0


def test_a_local_date_of_nightscout_is_not_guessed_in_silence(record: Import) -> None:
    texts = ("2024-04-03T08:00:00Z", "2024-04-03T08:00:00", "04/05/2024 08:00")
    entries = [{"sgv": 100 + i, "dateString": text} for i, text in enumerate(texts)]
    rows, _ = record({"entries.json": json.dumps([*entries, {"sgv": 120, "date": 1712124000000}])})
    marks = dict(rows.select("value", "quality").iter_rows())
    assert marks == {100: [], 101: ["zone_assumed"], 102: ["date_order_assumed", "zone_assumed"], 120: []}


def test_what_a_later_version_of_nightscout_puts_into_a_result(record: Import) -> None:
    reading = {"type": "sgv", "sgv": 125, "date": 1712124000000, "device": "d"}
    meal = {"eventType": "Meal Bolus", "created_at": "2024-04-03T08:00:00Z", "carbs": 20}
    deleted = {**reading, "date": 1712124300000, "isValid": False}
    given = {"entries.json": [reading, deleted], "treatments.json": [meal], "one.json": {**reading, "sgv": 126}}
    files = {name: json.dumps({"status": 200, "result": result}) for name, result in given.items()}
    made, tally = record(files)
    assert sorted((*row[1:3], *row[5]) for row in rows(made)) == [
        ("carbohydrates", 20.0), ("glucose", 125.0), ("glucose", 125.0, "superseded"), ("glucose", 126.0),
    ]  # fmt: skip
    assert not any(file.unexplained for file in tally.files.values())
    assert sum(file.seen for file in tally.files.values()) == 4


def test_a_local_date_of_a_treatment_is_not_guessed_in_silence(record: Import) -> None:
    texts = {20: "2024-04-03T08:00:00Z", 21: "2024-04-03T08:00:00", 22: "04/05/2024 08:00"}
    meals = [{"eventType": "Meal Bolus", "created_at": text, "carbs": carbs} for carbs, text in texts.items()]
    made, _ = record({"treatments.json": json.dumps(meals)})
    marks = dict(made.select("value", "quality").iter_rows())
    assert marks == {20: [], 21: ["zone_assumed"], 22: ["date_order_assumed", "zone_assumed"]}


def test_nightscout(record: Import) -> None:
    made, tally = record({name: SAMPLES[name] for name in ("entries.json", "treatments.json")})
    assert rows(made) == [
        ("03 08:00:00", "glucose", 125.0, None, "mg/dL", []),
        ("03 08:05:00", "glucose", None, None, "mg/dL", ["sensor_error"]),
        ("03 08:06:40", "glucose_blood", 131.0, None, "mg/dL", []),
        ("05 21:00:00", "carbohydrates", 20.0, None, "g", []),
        ("05 22:01:03", "insulin_basal_rate", 0.65, None, "U/h", []),
        ("05 22:06:01", "insulin_rapid", 0.1, "smb", "U", []),
    ]
    reasons = {reason for file in tally.files.values() for reason in file.skipped}
    assert reasons == {"no reading: cal", "a treatment without an amount: Sensor Start"}


COMBO = {"eventType": "Combo Bolus", "created_at": "2024-04-03T08:10:00Z", "enteredinsulin": "4", "insulin": 2,
         "splitNow": "50", "splitExt": "50", "duration": 60, "relative": 2}  # fmt: skip
NOW, LATER = ("insulin_rapid", 2.0, None), ("insulin_rapid", 2.0, 60)
UNTOLD = "the extended part of a bolus: its amount or length is not told"
CONTRADICTION = "the extended part of a bolus: its numbers contradict each other"


@pytest.mark.parametrize(
    ("other", "expected", "notes"),
    [
        ({}, [NOW, LATER], {}),
        ({"relative": None}, [NOW, LATER], {}),
        ({"insulin": None, "splitNow": 0, "splitExt": 100, "enteredinsulin": 2}, [LATER], {}),
        ({"splitNow": 100, "splitExt": 0, "enteredinsulin": 2}, [NOW], {}),
        ({"enteredinsulin": None}, [NOW], {UNTOLD: 1}),
        ({"splitExt": None}, [NOW], {UNTOLD: 1}),
        ({"duration": None}, [NOW], {UNTOLD: 1}),
        ({"duration": 0}, [NOW], {CONTRADICTION: 1}),
        ({"relative": 3}, [NOW], {CONTRADICTION: 1}),
        ({"splitExt": 70, "relative": None}, [NOW], {CONTRADICTION: 1}),
        ({"enteredinsulin": 6, "relative": 3}, [NOW], {CONTRADICTION: 1}),
    ],
)
def test_the_extended_part_of_a_combo_bolus_of_nightscout(
    other: dict[str, object], expected: list[object], notes: dict[str, int], record: Import
) -> None:
    made, tally = record({"treatments.json": json.dumps([{**COMBO, **other}])})
    lengths = (pl.col("end") - pl.col("start")).dt.total_minutes()
    found = made.select("metric", "value", lengths, "quality").rows()
    assert sorted(found, key=lambda row: row[2] or 0) == [(*row, []) for row in expected]
    (file,) = tally.files.values()
    assert file.notes == notes


def test_an_entry_of_nightscout_in_mmol(record: Import) -> None:
    """Error codes are below 39 mg/dL, not below 39 mmol/L."""
    units = (("mmol/L", "sgv"), ("mmol", "mbg"), ("mg/dl", "sgv"))
    given = [{name: 6.7, "date": 1712124000000 + at * 300_000, "units": unit} for at, (unit, name) in enumerate(units)]
    made, _ = record({"entries.json": json.dumps(given)})
    assert made.select("metric", "value", "quality").rows() == [
        ("glucose", pytest.approx(120.7, abs=0.1), []),
        ("glucose_blood", pytest.approx(120.7, abs=0.1), []),
        ("glucose", None, ["sensor_error"]),
    ]


@pytest.mark.parametrize("apart", [0, 286])
def test_of_uploads_of_one_reading_of_nightscout_every_export_keeps_the_same(apart: int, record: Import) -> None:
    """Oldest first, newest first, and both of them; three uploads, of which each is near the next."""
    copies = [{"sgv": 120, "date": 1712124000000 + at * apart, "device": name} for at, name in enumerate("ABC")]
    given = [*copies, {"sgv": 125, "date": 1712124300000, "device": "A"}]
    first, last = json.dumps(given), json.dumps(given[::-1])
    for files in ({"1.json": first}, {"1.json": last}, {"1.json": first, "2.json": last}):
        made, _ = record(files)
        used = made.filter(pl.col("quality").list.len() == 0)
        assert [(value, device["app"]) for value, device in used.select("value", "device").rows()] == [
            (120.0, "A"),
            (125.0, "A"),
        ]
        assert made.height == 4


def test_readings_of_nightscout_are_kept_where_the_file_breaks_off(record: Import) -> None:
    text = json.dumps([{"sgv": 100 + at, "date": 1712124000000 + at * 300_000} for at in range(40)])
    made, tally = record({"entries.json": text[:-20]})
    assert made["value"].to_list() == [100.0 + at for at in range(39)]
    assert not any(file.unexplained for file in tally.files.values())


def test_our_own_csv(record: Import) -> None:
    made, tally = record({"own.csv": SAMPLES["own.csv"]})
    assert rows(made) == [
        ("02 23:10:00", "sleep_stage", None, "deep", "stage", []),
        ("03 00:00:00", "steps_daily", 8000.0, None, "count", ["date_only"]),
        ("03 08:00:00", "heart_rate", 61.0, None, "/min", []),
        ("03 09:00:00", "glucose", pytest.approx(99.0858), None, "mg/dL", []),
    ]
    (file,) = tally.files.values()
    assert file.skipped == {"the header": 1, "no metric of ours: temperament": 1}


UNREAD = {
    "fitbit.csv": (
        'Body\nDate,Weight,BMI,Fat,Visceral fat\n"2024-04-03","58.1","19.0","23.6","7"\n\n'
        "Sleep\nStart Time,End Time,Minutes Asleep,Snoring\n2024-04-02 11:00PM,2024-04-03 6:00AM,400,3\n",
        ["Visceral fat", "Snoring"],
    ),
    "com.samsung.health.weight.20240405090000.csv": (
        "com.samsung.health.weight,1,1\nstart_time,com.samsung.health.weight.weight,create_time,pkg_name,"
        "com.samsung.health.weight.total_body_water\n2024-04-03 08:00:00.000,60,2024-04-03 08:00:00.000,a,33,\n",
        ["total_body_water"],
    ),
    "com.samsung.health.sleep_stage.20240405090000.csv": (
        "com.samsung.health.sleep_stage,1,1\nstart_time,end_time,sleep_id,stage,certainty\n"
        "2024-04-03 00:00:00.000,2024-04-03 00:10:00.000,s,40003,5,\n",
        ["certainty"],
    ),
    "com.samsung.shealth.exercise.20240405090000.csv": (
        "com.samsung.shealth.exercise,1,1\nstart_time,end_time,exercise_type,duration,mean_cadence\n"
        "2024-04-03 08:00:00.000,2024-04-03 09:00:00.000,1002,3600000,80,\n",
        ["mean_cadence"],
    ),
    "com.samsung.health.vendor_news.20240405090000.csv": (
        "com.samsung.health.vendor_news,1,1\nstart_time,score\n2024-04-03 08:00:00.000,5,\n",
        [],  # none of it is read
    ),
    "bp.csv": (
        "Date,Heart rate,Systolic,Diastolic,Comments,Pulse wave velocity (m/s)\n2024-04-03 08:00:00,60,125,81,,7.5\n",
        ["Pulse wave velocity (m/s)"],
    ),
    "height.csv": ('Date,"Height (m)",Posture\n2024-04-03 08:00:00,1.8,upright\n', ["Posture"]),
    "sleep_summaries.csv": (
        "sleepSummaryId,calendarDate,isoDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,awakeDurationInMs,"
        "overallSleepQualifier,overallSleepScore,validation,averageSpo2\n"
        "a,2024-04-03,2024-04-02 22:00:00,7200000,1712092200000,24600000,0,GOOD,81,ENHANCED_FINAL,96\n",
        ["averageSpo2"],
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_column_that_is_not_read_is_told(record: Import, name: str) -> None:
    """Those that tell of the row alone, or are left out on purpose, are not."""
    text, unread = UNREAD[name]
    made, tally = record({name: text})
    (file,) = tally.files.values()
    assert made.is_empty() == (not unread)
    assert {note for note in file.notes if "column" in note} == {f"a column that is not read: {it}" for it in unread}
