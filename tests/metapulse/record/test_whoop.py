"""Whoop: headers of every kind of table and language."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from metapulse.record.store import import_files
from metapulse.record.tally import FileTally
from tests.metapulse.record.samples import SAMPLES

CYCLES = (
    "Cycle start time,Cycle end time,Cycle timezone,Recovery score %,Resting heart rate (bpm),"
    "Heart rate variability (ms),Skin temp (celsius),Blood oxygen %,Day Strain,Energy burned (cal),Max HR (bpm),"
    "Average HR (bpm),Sleep onset,Wake onset,Sleep performance %,Respiratory rate (rpm),Asleep duration (min),"
    "In bed duration (min),Light sleep duration (min),Deep (SWS) duration (min),REM duration (min),"
    "Awake duration (min),Sleep need (min),Sleep debt (min),Sleep efficiency %,Sleep consistency %\n"
    "2024-04-02 23:10:00,,UTC-04:00,66,52,61,33.9,97.1,12.3,2210,171,68,2024-04-02 23:10:00,2024-04-03 06:50:00,"
    "81,15.2,410,440,200,90,120,30,480,20,93,77\n"
    "2024-04-01 23:00:00,2024-04-02 23:10:00,UTCZ,,,,,,8.1,1900,150,62,,,,,,,,,,,,,,\n"
)
GERMAN = CYCLES.replace("Cycle start time", "Startzeit des Zyklus").replace("Cycle timezone", "Zeitzone").replace(
    "Resting heart rate", "Ruheherzfrequenz"
).replace("Sleep onset", "Schlafbeginn")  # fmt: skip
WORKOUTS = (
    "Cycle start time,Cycle end time,Cycle timezone,Workout start time,Workout end time,Duration (min),Activity name,"
    "Activity Strain,Energy burned (cal),Max HR (bpm),Average HR (bpm),HR Zone 1 %,GPS enabled,Distance (meters)\n"
    "2024-04-02 23:10:00,,UTC+01:00,2024-04-03 17:00:00,2024-04-03 17:45:00,45,Running,11.2,520,175,150,10,true,8000\n"
)
JOURNAL = (
    "Cycle start time,Cycle end time,Cycle timezone,Question text,Answered yes,Notes\n"
    '2024-04-02 23:10:00,,UTC+01:00,Have any caffeine?,true,"two, late"\n'
)


def record_of(tmp_path: Path, text: str, name: str = "some.csv") -> tuple[FileTally, pl.DataFrame]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    out = tmp_path / "person.parquet"
    out.unlink(missing_ok=True)
    (tally,) = import_files([tmp_path / name], out).files.values()
    assert not tally.unexplained
    assert tally.format == "whoop"
    return tally, pl.read_parquet(out)


def values(record: pl.DataFrame, metric: str) -> list[float]:
    return record.filter(pl.col("metric") == metric).sort("start", descending=True)["value"].to_list()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", [CYCLES, GERMAN])
def test_a_table_without_a_line_is_known_by_its_header(text: str, tmp_path: Path) -> None:
    tally, made = record_of(tmp_path, text.splitlines()[0])
    assert (len(made), tally.skipped) == (0, {"the header": 1})


@pytest.mark.parametrize("text", [CYCLES, GERMAN])
def test_cycles_in_two_languages(text: str, tmp_path: Path) -> None:
    """The running cycle has no end; UTCZ is UTC; a cycle without sleep has strain all the same."""
    _, record = record_of(tmp_path, text)
    assert values(record, "resting_heart_rate") == [52]
    assert values(record, "hrv_rmssd") == [61]
    assert values(record, "strain") == [12.3, 8.1]
    assert values(record, "sleep_duration") == [410]
    night = record.filter(pl.col("metric") == "sleep_duration").row(0, named=True)
    assert (night["start"], night["end"], night["offset_min"]) == (at("2024-04-03T03:10"), at("2024-04-03T10:50"), -240)
    energy = record.filter(pl.col("metric") == "total_energy").sort("start")
    assert energy["value"].to_list() == [1900, 2210]
    assert energy["end"].to_list() == [at("2024-04-02T23:10"), None]
    assert all("unit_assumed" in marks for marks in energy["quality"])  # cal that are kcal


def test_skin_in_fahrenheit(tmp_path: Path) -> None:
    text = CYCLES.replace("(celsius)", "(fahrenheit)").replace("33.9", "93.02")
    assert values(record_of(tmp_path, text)[1], "skin_temperature") == pytest.approx([33.9])


def test_workouts(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, WORKOUTS)
    workout = record.filter(pl.col("metric") == "workout").row(0, named=True)
    assert (workout["code"], workout["value"], workout["start"]) == ("running", 45, at("2024-04-03T16:00"))
    assert values(record, "workout_energy") == [520]
    assert values(record, "workout_hr_max") == [175]
    assert values(record, "workout_distance") == [8000]
    assert record.filter(pl.col("metric") == "strain")["code"].to_list() == ["running"]


def test_a_journal_has_no_measurements(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, JOURNAL)
    assert record.is_empty()
    assert tally.skipped["an answer of the journal"] == 1


def test_dates_that_a_spreadsheet_rewrote_are_decided_from_the_column(tmp_path: Path) -> None:
    text = WORKOUTS.replace("2024-04-02 23:10:00", "04/02/2024 23:10").replace(
        "2024-04-03 17:00:00", "04/03/2024 17:00"
    )
    _, record = record_of(tmp_path, text)
    assert all("date_order_assumed" in marks for marks in record["quality"])
    assert set(record["start"]) == {at("2024-04-03T16:00")}
    more = text + text.splitlines()[1].replace("04/02/2024", "04/22/2024").replace("04/03/2024", "04/23/2024") + "\n"
    _, record = record_of(tmp_path, more)
    assert not any("date_order_assumed" in marks for marks in record["quality"])


def test_a_torn_last_line_costs_itself(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, WORKOUTS + "2024-04-02 2")
    assert values(record, "workout") == [45]
    assert tally.skipped["no value, or no time"] == 1


def test_a_cell_that_is_no_number_is_told_and_costs_itself(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, CYCLES.replace(",52,", ",abc,").replace(",2210,171,", ",much,fast,"))
    assert tally.notes == {
        "resting heart rate: no number": 1, "energy burned: no number": 1, "max hr: no number": 1
    }  # fmt: skip
    assert values(record, "hrv_rmssd") == [61]


DEEP, REM = "Durata profondo (SWS)", "Durata REM"
SWAPPED = SAMPLES["sonno.csv"].replace(f"{DEEP} (min),{REM}", f"{REM} (min),{DEEP}")


@pytest.mark.parametrize(
    "text",
    [
        SWAPPED,
        SWAPPED.replace("Sonno richiesto", "Dati nuovi (min),Sonno richiesto").replace(",516,", ",7,516,"),
        SWAPPED.replace("Tempo a letto", "?????"),
    ],
)
def test_columns_in_another_language_are_taken_by_their_names(text: str, tmp_path: Path) -> None:
    tally, made = record_of(tmp_path, text)
    assert (values(made, "sleep_rem"), values(made, "sleep_deep"), values(made, "sleep_need")) == ([92], [137], [516])
    assert values(made, "time_in_bed") == ([] if "?" in text else [407])
    assert tally.notes.total() == ("?" in text) + ("nuovi" in text)


def test_of_two_columns_of_one_name_the_first_counts(tmp_path: Path) -> None:
    header, line = WORKOUTS.splitlines()
    tally, made = record_of(tmp_path, f"{header},Max HR (bpm)\n{line},190\n")
    assert values(made, "workout_hr_max") == [175]
    assert tally.notes == {"two columns of one name: the first counts": 1}


@pytest.mark.parametrize(
    "name", ["Asleep duration (min)", "Respiratory rate (rpm)", "REM duration (min)", "Day Strain"]
)
def test_an_english_column_under_another_name_is_noted(name: str, tmp_path: Path) -> None:
    whole, _ = record_of(tmp_path, CYCLES)
    assert not whole.notes
    tally, made = record_of(tmp_path, CYCLES.replace(name, "Something (min)"))
    assert tally.notes == {"a column that is not read: Something (min)": 1}
    assert values(made, "hrv_rmssd") == [61]


@pytest.mark.parametrize("text", [WORKOUTS, JOURNAL, SAMPLES["sonno.csv"]])
def test_columns_that_are_left_out_on_purpose_are_not_noted(text: str, tmp_path: Path) -> None:
    tally, _ = record_of(tmp_path, text)
    assert not tally.notes


@pytest.mark.parametrize("others", [(), ("Workout end time", "Activity name", "Activity Strain", "GPS enabled")])
def test_a_workout_whose_start_is_not_known_is_not_put_at_the_start_of_its_cycle(
    others: tuple[str, ...], tmp_path: Path
) -> None:
    text = WORKOUTS.replace("Workout start time", "Workout begin time")
    for name in others:
        text = text.replace(name, f"X {name}")
    tally, made = record_of(tmp_path, text)
    assert made.is_empty()
    assert tally.skipped == {"the header": 1, "a workout whose start is not known": 1}
    assert tally.notes.total() == 1 + len(others)


def test_a_nap_whose_onset_is_not_known_is_not_put_at_the_start_of_its_cycle(tmp_path: Path) -> None:
    text = SWAPPED.replace("Inizio del sonno", "Inizio")
    assert values(record_of(tmp_path, text)[1], "sleep_duration") == [377]
    tally, made = record_of(tmp_path, text.replace("false", "true"))
    assert made.is_empty()
    assert tally.skipped["no value, or no time"] == 1


def test_rows_are_read_by_the_header_next_above_them(tmp_path: Path) -> None:
    """Two exports joined: the second has its columns in another order and the skin in another unit."""
    table = [line.split(",") for line in CYCLES.replace("celsius", "fahrenheit").splitlines()[:2]]
    order = [0, 1, 2, 4, 3, *range(5, len(table[0]))]
    joined = CYCLES + "".join(",".join(row[at] for at in order) + "\n" for row in table)
    tally, record = record_of(
        tmp_path, joined.replace(",33.9,97.1,12.3", ",93.02,97.1,12.4").replace("93.02", "33.9", 1)
    )
    assert values(record, "resting_heart_rate") == [52, 52]
    assert values(record, "skin_temperature") == pytest.approx([33.9, 33.9])
    assert tally.skipped == {"the header": 2}


@pytest.mark.parametrize("text", [WORKOUTS, CYCLES, GERMAN])
@pytest.mark.parametrize("order", [[-1, 0, 1, 2], [2, 0, 1], [1, 2, 0, -1]])
def test_a_column_that_was_added_or_moved_takes_none_with_it(order: list[int], text: str, tmp_path: Path) -> None:
    table = [[*line.split(","), f"{at}"] for at, line in enumerate(text.splitlines())]
    table[0][-1] = "Id"
    places = [*order, *range(3, len(table[0]) - 1)]
    moved = "\n".join(",".join(row[at] for at in places) for row in table)
    tally, record = record_of(tmp_path, moved)
    said = ["start", "end", "metric", "value", "code", "offset_min"]
    assert record.select(said).equals(record_of(tmp_path, text)[1].select(said))
    assert tally.notes.get("a column that is not read: Id", 0) == (-1 in order)
