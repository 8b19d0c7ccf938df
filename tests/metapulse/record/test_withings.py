"""Withings: the files of its zip and the answers of its API."""

from __future__ import annotations

import json

import polars as pl
import pytest

from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows


def test_lists_follow_one_another_in_time(record: Import) -> None:
    """-1 could not be measured, and still takes its second."""
    made, tally = record({"raw_hr_hr.csv": SAMPLES["raw_hr_hr.csv"]})
    assert rows(made) == [
        ("18 10:49:42", "heart_rate", 82.0, None, "/min", []),
        ("18 10:49:44", "heart_rate", 79.0, None, "/min", []),
        ("18 10:51:30", "heart_rate", 70.0, None, "/min", []),
    ]
    assert (made["end"] - made["start"]).dt.total_seconds().to_list() == [1, 60, 29]
    assert next(iter(tally.files.values())).notes["a value of a list that is none"] == 1


def test_the_person_is_where_the_nights_of_the_zip_say(record: Import) -> None:
    files = {name: SAMPLES[name] for name in ("raw_hr_hr.csv", "sleep.csv")}
    assert set(record({"raw_hr_hr.csv": files["raw_hr_hr.csv"]}, Options())[0]["offset_min"]) == {None}
    import zipfile
    from io import BytesIO

    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    made, _ = record({"data.zip": packed.getvalue()}, Options())
    assert set(made["offset_min"]) == {-420}


def test_a_phase_that_was_not_told_apart_is_absent(record: Import) -> None:
    made, _ = record({"sleep.csv": SAMPLES["sleep.csv"]}, Options())
    values = {(row[1], row[3]): row[2] for row in rows(made)}
    assert values["sleep_duration", None] == 470
    assert values["time_in_bed", None] == 480
    assert values["heart_rate", "minimum"] == 66
    assert "sleep_rem" not in {metric for metric, _ in values}


def test_stages_of_a_tracker_and_of_a_monitor_that_knows_only_asleep(record: Import) -> None:
    series = 'start,duration,value\n2024-07-18T01:00:00+02:00,"[60,60,60,60,60]","[0,1,2,3,9]"\n'
    made, _ = record({"raw_tracker_sleep-state.csv": series})
    assert made["code"].to_list() == ["awake", "light", "deep", "rem", "unknown"]
    made, _ = record({"raw_sleep-monitor_sleep-state.csv": series.replace("3,9", "1,1")})
    assert made["code"].to_list() == ["awake", "asleep", "deep", "asleep", "asleep"]


def test_of_places_only_the_first_value_of_a_list_is_one(record: Import) -> None:
    series = 'start,duration,value\n2024-07-18T01:00:00+02:00,"[60,60]","[212.5,-1.3]"\n'
    made, _ = record({"raw_location_altitude.csv": series})
    assert made["value"].to_list() == [212.5]


def test_a_series_of_no_metric_and_broken_lists_are_counted_away(record: Import) -> None:
    line = "2024-07-18T01:00:00+02:00"
    series = (
        f'start,duration,value\n{line},[60],[1]\n{line},"[60","[1]"\n{line},[60],["x"]\n{line},[1e12],[70]\nx,[1],[1]\n'
    )
    _, tally = record(
        {"raw_hr_hr.csv": series, "raw_swim_lap-pool.csv": "start,duration,value\n" + f"{line},[60],[4]\n"}
    )
    hearts, laps = (tally.files[key] for key in sorted(tally.files))
    assert hearts.skipped == {
        "the header": 1,
        "no value": 2,
        "lists of different lengths": 1,
        "a stamp that is no time": 1,
    }
    assert laps.skipped["a series whose file's name is no metric of ours"] == 1


def test_a_translated_scale_in_pounds(record: Import) -> None:
    made, _ = record({"weight.csv": SAMPLES["weight.csv"]})
    values = {(row[0], row[1]): round(row[2], 2) for row in rows(made)}
    assert values["17 08:15:00", "weight"] == 80.51
    assert values["18 08:15:00", "fat_mass"] == 17.96
    assert values["18 08:15:00", "body_water_mass"] == 38.24
    assert made["raw"][0] == "177.5 lb"


def test_cuff_height_totals_and_activities(record: Import) -> None:
    made, _ = record({
        "bp.csv": 'Date,"Heart rate",Systolic,Diastolic,Comments\n"2024-07-18 08:00:00",0,121,80,x\n',
        "height.csv": "Date,\"Height (in)\",Comments\n\"2024-07-18 08:00:00\",\"5' 10.0''\",\n",
        "aggregates_steps.csv": "date,value\n2024-07-18,1234\n",
        "aggregates_distance (1).csv": "date,value\n2024-07-18,900\n",
        "activities.csv": 'from,to,"from (manual)","to (manual)",Timezone,"Activity type",Data,GPS,Modified\n'
        "2024-07-18T09:00:00+02:00,2024-07-18T09:30:00+02:00,,,Europe/Berlin,Walking,"
        '"{""calories"":86,""manual_distance"":2100,""hr_average"":97}",,\n',
    })  # fmt: skip
    assert rows(made) == [
        ("18 00:00:00", "distance", 900.0, "daily", "m", ["date_only"]),
        ("18 00:00:00", "steps_daily", 1234.0, None, "count", ["date_only"]),
        ("18 08:00:00", "bp_diastolic", 80.0, None, "mm[Hg]", []),
        ("18 08:00:00", "bp_systolic", 121.0, None, "mm[Hg]", []),
        ("18 08:00:00", "height", pytest.approx(1.778), None, "m", []),
        ("18 09:00:00", "workout", 30.0, "walking", "min", []),
        ("18 09:00:00", "workout_distance", 2100.0, "walking", "m", ["manual"]),
        ("18 09:00:00", "workout_energy", 86.0, "walking", "kcal", []),
        ("18 09:00:00", "workout_hr_mean", 97.0, "walking", "/min", []),
    ]


def test_answers_of_the_interface(record: Import) -> None:
    made, tally = record({"withings.json": SAMPLES["withings.json"]}, Options())
    assert made.select("metric", "value", "quality").rows() == [
        ("bp_diastolic", 68.0, ["manual"]), ("bp_systolic", 104.0, ["manual"]), ("weight", 74.126, ["manual"]),
        ("distance", 15.0, []), ("steps", 21.0, []), ("heart_rate", 61.0, []),
    ]  # fmt: skip
    assert made["end"].is_null().to_list() == [True, True, True, False, False, True]
    (file,) = tally.files.values()
    assert file.skipped == {"a goal, which is no measurement": 1, "nothing that is known to be measured": 1}
    assert file.notes.total() == 1


def test_nights_workouts_and_what_was_measured_in_a_stage(record: Import) -> None:
    body = {"series": [
        {"startdate": 1417550400, "enddate": 1417551300, "state": 5, "hr": {"1417550460": 52, "x": 3}, "model": 32},
        {"startdate": 1504307700, "enddate": 1504319100, "timezone": "Europe/London", "model": 16,
         "data": {"remsleepduration": 0, "lightsleepduration": "3360", "sleep_efficiency": 0.9, "hr_average": None}},
        {"startdate": 1504477140, "enddate": 1504478940, "category": 2, "timezone": "x", "data": {"distance": 5000}},
    ]}  # fmt: skip
    made, _ = record({"x": json.dumps({"status": 0, "body": body})}, Options())
    assert made.select("metric", "value", "code", "offset_min").rows() == [
        ("sleep_stage", None, "unknown", None), ("heart_rate", 52.0, None, None),
        ("sleep_efficiency", 90.0, None, 60), ("sleep_light", 56.0, None, 60),
        ("workout", 30.0, "running", None), ("workout_distance", 5000.0, "running", None),
    ]  # fmt: skip
    assert made["device"][0]["model"] == "sleep monitor"


@pytest.mark.parametrize(
    ("lengths", "values", "kept", "notes"),
    [
        ("[60,null,60,60]", "[70,71,72,73]", [70], {"a value of a list at no known time": 3}),
        ("[60,-5,60]", "[70,71,72]", [70], {"a value of a list at no known time": 2}),
        ("[60,60,60]", "[70,x,72]", [70, 72], {"a value of a list that is none": 1}),
    ],
)
def test_what_a_broken_list_loses_is_counted(
    record: Import, lengths: str, values: str, kept: list[float], notes: dict[str, int]
) -> None:
    series = f'start,duration,value\n2024-07-18T01:00:00+02:00,"{lengths}","{values}"\n'
    made, tally = record({"raw_hr_hr.csv": series})
    assert made["value"].to_list() == kept
    assert next(iter(tally.files.values())).notes == notes


@pytest.mark.parametrize(
    ("lengths", "values"),
    [
        *(("[60,60]", "[70,71,72]"), ("[60,60,60]", "[70,71]"), ("[60,60,60]", "[7071,72]")),
        *(("[60,120,60]", "[70,,71]"), ("[60,120,60]", "[70,71 72]"), ("[60,120 60]", "[70,71,72]")),
    ],
)
def test_values_of_which_it_is_not_known_whose_length_is_whose_are_none(
    record: Import, lengths: str, values: str
) -> None:
    rows = f'"{lengths}","{values}"\n2024-07-18T02:00:00+02:00,[60],[72]\n'
    made, tally = record({"raw_hr_hr.csv": f"start,duration,value\n2024-07-18T01:00:00+02:00,{rows}"})
    assert made["value"].to_list() == [72]
    assert next(iter(tally.files.values())).skipped["lists of different lengths"] == 1


@pytest.mark.parametrize(
    ("light", "deep", "rem", "asleep"),
    [
        ("9000", "3000", "1800", 230),
        ("9000", "0", "0", 150),  # were not told apart
        ("9000", "3000", None, 200),  # a file from before there was REM
        ("9000", "abc", "0", None),
        ("9000", "", "0", None),
        ("9000", "3000", "abc", None),
        ("9000", "3000", "", None),
    ],
)
def test_sleep_is_the_sum_of_all_its_phases(
    record: Import, light: str, deep: str, rem: str | None, asleep: int | None
) -> None:
    cells = {"light (s)": light, "deep (s)": deep, "rem (s)": rem}
    told = {name: cell for name, cell in cells.items() if cell is not None}
    head = ",".join(f'"{name}"' for name in told)
    line = f"2024-07-18T01:00:00+02:00,2024-07-18T08:00:00+02:00,{','.join(told.values())}"
    made, tally = record({"sleep.csv": f"from,to,{head}\n{line}\n"})
    found = dict(made.filter(made["metric"] == "sleep_duration").select("value", "raw").rows())
    parts = " + ".join(f"{name} {cell}" for name, cell in told.items() if cell != "0")
    assert found == ({asleep: parts} if asleep else {})
    assert made.filter(made["metric"] == "sleep_light")["value"].to_list() == [150]
    assert next(iter(tally.files.values())).notes.total() == [light, deep, rem].count("abc")


MASSES = "Date,Weight (kg),Fat mass (kg),Bone mass (kg),Muscle mass (kg),Hydration (kg),Comments"
MASS = {"weight": 80.0, "fat_mass": 14.0, "bone_mass": 3.5, "muscle_mass": 60.0, "body_water_mass": 40.0}


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (MASSES, "80,14,3.5,60,40,"),
        ("Date,Weight (kg),Bone mass (kg),Fat mass (kg),Muscle mass (kg),Hydration (kg),Comments", "80,3.5,14,60,40,"),
        (MASSES.replace(",Fat", ",Visceral fat (kg),Fat"), "80,2,14,3.5,60,40,"),
        (MASSES.replace(",Fat", ",Heart rate,Fat"), "80,61,14,3.5,60,40,"),
        ("Datum,Gewicht (kg),Knochenmasse (kg),Fettmasse (kg),Muskelmasse (kg),Wasser (kg),Text", "80,3.5,14,60,40,"),
    ],
)
def test_masses_are_taken_by_their_names(record: Import, header: str, line: str) -> None:
    made, tally = record({"weight.csv": f'{header}\n"2024-04-03 08:00:00",{line}\n'})
    assert dict(made.select("metric", "value").iter_rows()) == MASS
    strange = [cell for cell in header.split(",") if cell in ("Visceral fat (kg)", "Heart rate")]
    notes = next(iter(tally.files.values())).notes
    assert [note for note in notes if "Text" not in note] == [f"a column that is not read: {cell}" for cell in strange]


def test_a_date_behind_the_masses(record: Import) -> None:
    header = "Weight (kg),Date,Fat mass (kg),Bone mass (kg),Muscle mass (kg),Hydration (kg),Comments"
    made, _ = record({"weight.csv": f'{header}\n80,"2024-04-03 08:00:00",14,3.5,60,40,\n'})
    assert dict(made.select("metric", "value").iter_rows()) == MASS


def test_masses_whose_names_are_not_known(record: Import) -> None:
    """Five masses are read in the vendor's order; with one more, or one less, which is which cannot be known."""
    five = "a,b (kg),c (kg),d (kg),e (kg),f (kg),g"
    made, _ = record({"weight.csv": f'{five}\n"2024-04-03 08:00:00",80,14,3.5,60,40,\n'})
    assert dict(made.select("metric", "value").iter_rows()) == MASS
    for header in (five.replace(",c", ",x (kg),c"), five.replace(",f (kg)", ""), five.replace("d (kg)", "Weight (kg)")):
        made, tally = record({"weight.csv": f'{header}\n"2024-04-03 08:00:00",80,14,3.5,60,40,\n'})
        (account,) = tally.files.values()
        assert made.is_empty()
        assert account.skipped["columns whose names are not known, in another order than the vendor's"] == 1


def test_a_cuff_whose_columns_stand_in_another_order(record: Import) -> None:
    made, tally = record({"bp.csv": "Date,Systolic,Diastolic,Heart rate,Comments\n2024-07-18 08:00:00,121,80,61,x\n"})
    assert dict(made.select("metric", "value").iter_rows()) == {
        "bp_systolic": 121.0, "bp_diastolic": 80.0, "heart_rate": 61.0,
    }  # fmt: skip
    assert not next(iter(tally.files.values())).notes


def test_rows_are_read_by_the_header_next_above_them(record: Import) -> None:
    """Two exports joined, of accounts with other units, languages and columns."""
    masses = "Date,Weight (kg),Fat mass (kg),Bone mass (kg)\n2024-04-03 08:00:00,59.0,14,2.4\n"
    pounds = "Fettmasse (lb),Datum,Gewicht (lb),Knochenmasse (lb)\n30,2024-04-04 08:00:00,130,5.4\n"
    made, tally = record({"weight.csv": masses + pounds})
    assert made.filter(pl.col("metric") == "weight")["value"].to_list() == pytest.approx([59, 58.967], abs=0.001)
    assert made.filter(pl.col("metric") == "fat_mass")["value"].to_list() == pytest.approx([14, 13.608], abs=0.001)
    assert next(iter(tally.files.values())).skipped == {"the header": 2}
    night = SAMPLES["sleep.csv"].splitlines()
    columns = night[0].replace('"', "").split(",")
    swapped = ",".join([*columns[:2], columns[3], columns[2], *columns[4:]])
    twice = "\n".join([*night, swapped, "2024-08-18T01:00:00+02:00,2024-08-18T09:00:00+02:00,60,6000,0,0,0,0", ""])
    made, _ = record({"sleep.csv": twice})
    assert made.filter(pl.col("metric").is_in(["sleep_light", "sleep_deep"]))["value"].to_list()[-2:] == [1, 100]


def test_a_column_beside_blood_pressure_that_is_not_read_is_noted(record: Import) -> None:
    text = "Date,Heart rate,Systolic,Diastolic,Comments,Pulse wave velocity (m/s)\n2024-01-24 06:56:00,60,125,81,,7.5\n"
    _, tally = record({"bp.csv": text})
    assert next(iter(tally.files.values())).notes == {"a column that is not read: Pulse wave velocity (m/s)": 1}


@pytest.mark.parametrize(
    ("name", "text", "metric", "value"),
    [
        ("raw_tracker_steps.csv", "start,value,duration\n2024-01-24T23:23:00+02:00,[20],[60]\n", "steps", 20),
        ("raw_tracker_steps.csv", "id,start,duration,value\n1,2024-01-24T23:23:00+02:00,[60],[20]\n", "steps", 20),
        ("aggregates_steps.csv", "id,value,date\nx,5000,2024-01-24\n", "steps_daily", 5000),
        ("activities.csv", "id,to,from,Timezone,Data,Activity type\n"
         "1,2024-01-23T19:32:00+01:00,2024-01-23T18:54:00+01:00,Europe/Berlin,,Running\n", "workout", 38),
        ("height.csv", "id,Height (m),Date\n1,1.7,2024-01-24 06:56:00\n", "height", 1.7),
    ],
)  # fmt: skip
def test_a_column_that_was_added_or_moved_takes_none_with_it(
    record: Import, name: str, text: str, metric: str, value: float
) -> None:
    made, tally = record({name: text})
    assert made.select("metric", "value").rows() == [(metric, value)]
    assert next(iter(tally.files.values())).notes == ({"a column that is not read: id": 1} if "id," in text else {})


def test_a_column_of_nights_that_is_not_read_is_noted(record: Import) -> None:
    lines = SAMPLES["sleep.csv"].splitlines()
    _, tally = record({"sleep.csv": "\n".join([f"{lines[0]},Xyzzy", *lines[1:]])})
    assert next(iter(tally.files.values())).notes == {"a column that is not read: Xyzzy": 1}
