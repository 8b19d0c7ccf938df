"""Google Fit: what its files look like besides the small samples."""

from __future__ import annotations

import json

import pytest

from metapulse.record.readers.googlefit import device
from metapulse.record.schema import Device
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

QUARTERS = """Start time,End time,Move Minutes count,Calories (kcal),Distance (m),Low latitude (deg),\
Average speed (m/s),Max speed (m/s),Min speed (m/s),Step count
23:30:00.000+02:00,23:45:00.000+02:00,2,18.25,101.0,,,,,156
23:45:00.000+02:00,00:00:00.000+02:00,,18.25,,,,,,
"""


def test_points_with_their_device(record: Import) -> None:
    made, _ = record({"points.json": SAMPLES["derived_com.google.step_count.delta.json"]})
    assert rows(made) == [
        ("03 08:00:00", "heart_rate", 78.0, "minimum", "/min", []),
        ("03 08:00:00", "heart_rate", 92.0, "maximum", "/min", []),
        ("03 08:00:00", "steps", 120.0, None, "count", []),
    ]
    assert made["device"][2]["model"] == "Nexus 5"
    assert made["device"][0]["app"] == "com.google.android.gms"


def test_a_stream_whose_name_has_colons_is_no_device() -> None:
    assert device(
        "raw:com.google.step_count.delta:fi.x:2024-04-30T17:59:58.999Z - 2024-04-30T19:17:30.000Z: steps"
    ) == (Device(app="fi.x"))


def test_days_with_a_header_in_another_language(record: Import) -> None:
    made, tally = record({"days.csv": SAMPLES["Dagelijkse activiteitsstatistieken.csv"]})
    assert rows(made, "heart_rate", "steps_daily", "weight", "active_minutes") == [
        ("03 00:00:00", "active_minutes", 72.0, None, "min", ["date_only"]),
        ("03 00:00:00", "heart_rate", 52.0, "minimum", "/min", ["date_only"]),
        ("03 00:00:00", "heart_rate", 71.5, None, "/min", ["date_only"]),
        ("03 00:00:00", "heart_rate", 130.0, "maximum", "/min", ["date_only"]),
        ("03 00:00:00", "steps_daily", 5627.0, None, "count", ["date_only"]),
        *(("03 00:00:00", "weight", 89.9, code, "kg", ["date_only"]) for code in (None, "maximum", "minimum")),
    ]
    (file,) = tally.files.values()
    assert file.notes["a column that is not read: Cardiopunten"] == 1


def test_a_line_with_too_few_cells_is_counted_away(record: Import) -> None:
    """Which of them are missing cannot be known: the rest would be read under other columns' names."""
    days = SAMPLES["Dagelijkse activiteitsstatistieken.csv"]
    made, tally = record({"days.csv": days.replace("40,71.5,130,52,", "40,")})
    assert rows(made) == [("04 00:00:00", "total_energy", 1752.25, None, "kcal", ["date_only"])]
    (file,) = tally.files.values()
    assert file.skipped["fewer cells than the header has columns"] == 1


def test_quarters_of_an_hour_have_their_date_in_the_file_s_name(record: Import) -> None:
    made, _ = record({"2024-04-03.csv": QUARTERS})
    assert rows(made, "steps") == [("03 23:30:00", "steps", 156.0, None, "count", [])]
    assert made["offset_min"].unique().to_list() == [120]
    assert set((made["end"] - made["start"]).dt.total_minutes()) == {15}
    _, tally = record({"2024-04-03.csv": QUARTERS, "copy.csv": QUARTERS})
    copy = next(file for file in tally.files.values() if file.file == "copy.csv")
    assert copy.skipped["a time without a date: the file's name has none"] == 2


def test_sessions_say_where_the_person_was(record: Import) -> None:
    night = {
        "fitnessActivity": "sleep",
        "startTime": "2024-05-21T20:35:36Z",
        "endTime": "2024-05-22T03:32:06Z",
        "segment": [
            {"fitnessActivity": "sleep.deep", "startTime": "2024-05-21T20:35:36Z", "endTime": "2024-05-21T21:00:00Z"},
            {"fitnessActivity": "sleep.awake", "startTime": "2024-05-21T21:00:00Z", "endTime": "2024-05-21T21:01:00Z"},
        ],
    }
    made, _ = record({"2024-05-21T23_35_36+03_00_SLEEP.json": json.dumps(night)})
    assert rows(made) == [
        ("21 23:35:36", "sleep_stage", None, "deep", "stage", []),
        ("22 00:00:00", "sleep_stage", None, "awake", "stage", []),
    ]


def test_buckets_and_sessions_of_the_rest_interface(record: Import) -> None:
    point = {
        "startTimeNanos": "1712124000000000000",
        "endTimeNanos": "1712124060000000000",
        "dataTypeName": "com.google.blood_glucose",
        "value": [{"fpVal": 5.5}, {}, {}, {}, {"intVal": 2}],
    }
    buckets = {"bucket": [{"startTimeMillis": "1712124000000", "dataset": [{"dataSourceId": "x", "point": [point]}]}]}
    session = {"startTimeMillis": "1712124000000", "endTimeMillis": "1712125800000", "activityType": 8}
    made, _ = record({"a.json": json.dumps(buckets), "b.json": json.dumps({"session": [session]})})
    assert [row[1:4] for row in rows(made)] == [
        ("glucose_blood", pytest.approx(99.0858), None),
        ("workout", 30.0, "running"),
    ]


@pytest.mark.parametrize("activity", ["NaN", "Infinity", "7", "[]", "1e400", "null"])
def test_an_activity_that_is_no_text(record: Import, activity: str) -> None:
    session = '{"fitnessActivity": %s, "startTime": "2024-05-21T20:35:36Z", "endTime": "2024-05-21T21:35:36Z"}'
    made, _ = record({"session.json": session % activity})
    assert [row[1:4] for row in rows(made)] == [("workout", 60.0, "unknown")]


ENGLISH = QUARTERS.splitlines()[0]


def quarter(header: str, **cells: str) -> str:
    """One quarter of an hour, with a cell for each column that is named here by its first word."""
    names = header.split(",")
    given = [next((cell for word, cell in cells.items() if name.lower().startswith(word)), "") for name in names]
    return ",".join(names) + "\n" + ",".join(["23:30:00.000+02:00", "23:45:00.000+02:00", *given[2:]]) + "\n"


@pytest.mark.parametrize(
    "header",
    [
        ENGLISH,
        ENGLISH.replace("Step count", "Cycle count,Step count"),
        ENGLISH.replace("Max speed (m/s),Min speed (m/s)", "Min speed (m/s),Max speed (m/s)"),
        ENGLISH.replace(",Calories", ",Cycle count,Calories"),
        ENGLISH.replace(",Step count", "").replace("Move", "Step count,Move"),
    ],
)
def test_days_and_quarters_have_columns_by_their_names(record: Import, header: str) -> None:
    cells = {"move": "2", "step": "156", "cycle": "7", "max": "4.5", "min": "0.5", "average": "1.5", "calories": "18"}
    made, tally = record({"2024-04-03.csv": quarter(header, **cells)})
    assert sorted(row[1:4] for row in rows(made)) == [
        ("active_minutes", 2.0, None), ("speed", 0.5, "minimum"), ("speed", 1.5, None), ("speed", 4.5, "maximum"),
        ("steps", 156.0, None), ("total_energy", 18.0, None),
    ]  # fmt: skip
    strange = {"a column that is not read: Cycle count": 1} if "Cycle" in header else {}
    assert next(iter(tally.files.values())).notes == {"a column that is not read: Low latitude (deg)": 1, **strange}


def test_columns_whose_names_are_not_known_are_read_where_their_place_is_certain(record: Import) -> None:
    """A column among the counts, or one less among mean, highest and lowest: none of those is read."""
    strange = "a,b,c,d (kcal),e (m),f (deg),g (m/s),h (m/s),i (m/s),j"
    line = "23:30:00.000+02:00,23:45:00.000+02:00,2,18,101,,1.5,4.5,0.5,156"
    made, _ = record({"2024-04-03.csv": f"{strange}\n{line}\n"})
    assert len(made) == 7
    for header, cells, lost in (
        (strange.replace("j", "x,j"), line.replace("156", "7,156"), {"steps"}),
        (strange.replace("c,", "x,c,"), line.replace(",2,", ",7,2,"), {"active_minutes"}),
        (strange.replace(",h (m/s)", ""), line.replace(",4.5", ""), {"speed"}),
    ):
        made, tally = record({"2024-04-03.csv": f"{header}\n{cells}\n"})
        assert set(made["metric"]) == {"active_minutes", "distance", "speed", "steps", "total_energy"} - lost
        assert next(iter(tally.files.values())).notes.total() >= 2


def test_times_are_found_by_their_names_and_by_the_header_next_above(record: Import) -> None:
    """A column in front, an energy in front, and two files joined of which the second has other columns."""
    plain = quarter(ENGLISH, calories="18", step="156")
    expected = [("03 23:30:00", "steps", 156.0), ("03 23:30:00", "total_energy", 18.0)]
    added = "\n".join(f"{cell},{line}" for cell, line in zip(("Extra", "x"), plain.splitlines(), strict=True))
    table = [line.split(",") for line in plain.splitlines()]
    moved = "\n".join(",".join([row[3], *row[:3], *row[4:]]) for row in table)
    for text in (plain, added, moved):
        made, _ = record({"2024-04-03.csv": text})
        assert [row[:3] for row in rows(made)] == expected
    joined, tally = record({"2024-04-03.csv": f"{plain}{added.replace('23:30', '22:30').replace('156', '157')}"})
    assert joined.filter(metric="steps")["value"].to_list() == [157.0, 156.0]
    assert next(iter(tally.files.values())).skipped == {"the header": 2}
