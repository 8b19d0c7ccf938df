"""Clarity's CSV: languages, units, clocks that go back, transmitters, words in place of numbers."""

from __future__ import annotations

import polars as pl
import pytest

from metapulse.record.readers.base import Options
from metapulse.record.readers.dexcom_words import LIMITS
from tests.metapulse.record.conftest import BERLIN, Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

HEADER = SAMPLES["clarity.csv"].splitlines()[0]
GERMAN = (
    "Index;Zeitstempel (JJJJ-MM-TTThh:mm:ss);Ereignistyp;Ereignisuntertyp;Patienteninfo;Geräteinfo;Quellgeräte-ID;"
    "Glukosewert (mmol/l);Insulinwert (IE);Kohlenhydratwert (Gramm);Dauer (hh:mm:ss);"
    "Glukose-Änderungsrate (mmol/l/min);Transmitterzeit (Ganzzahl);Transmitter-ID"
)


def file(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines)) + "\n"


def reading(time: str, value: str, seconds: str = "", transmitter: str = "8A") -> str:
    return f"1,{time},EGV,,,,iPhone G6,{value},,,,,{seconds},{transmitter}"


def test_what_is_in_the_sample(record: Import) -> None:
    made, tally = record({"clarity.csv": SAMPLES["clarity.csv"]})
    assert rows(made) == [
        ("03 08:00:00", "glucose", 39.0, None, "mg/dL", ["censored_low"]),
        ("03 08:05:00", "glucose", 62.0, None, "mg/dL", []),
        ("03 08:05:00", "glucose_rate", 0.4, None, "mg/dL/min", []),
        ("03 08:07:00", "glucose_blood", 71.0, "calibration", "mg/dL", []),
        ("03 08:08:00", "insulin_rapid", 4.5, "fast-acting", "U", ["manual"]),
        ("03 08:09:00", "carbohydrates", 45.0, None, "g", ["manual"]),
        ("03 08:30:00", "workout", 45.0, "heavy", "min", ["manual"]),
    ]
    assert made["device"][1] == {
        "manufacturer": "Dexcom", "model": "Dexcom G6", "hardware": None, "firmware": None, "unit": "8A" + 4 * "A",
        "app": "Dexcom G6 Mobile App (iPhone G6)",
    }  # fmt: skip
    assert next(iter(tally.files.values())).skipped.total() == 4


def test_a_german_file_in_mmol_with_decimal_commas(record: Import) -> None:
    """ "EGW" is what a reading is called there: the type that most rows with glucose have."""
    made, _ = record({"x": file(
        "1;;Vorname;;X;;;;;;;;;", "2;;Warnung;Hoch;;;iOS;13,9;;;;;;",
        "3;2026-06-02T00:00:00;EGW;;;;iOS G7;5,8;;;;;;", "4;2026-06-02T00:05:00;EGW;;;;iOS G7;Niedrig;;;;;;",
        "5;2026-06-02T00:10:00;EGW;;;;iOS G7;2,2;;;;;;", "6;2026-06-02T00:11:00;Warnung;;;;iOS G7;13,9;;;;;;",
        "7;2026-06-02T00:12:00;Kalibrierung;;;;iOS G7;6,1;;;;;;",
        "8;2026-06-02T00:13:00;Insulin;Langwirkend;;;iOS G7;;4,5;;;;;",
        "9;2026-06-02T00:14:00;Insulin;;;;iOS G7;;3;;;;;",
        header=GERMAN,
    )})  # fmt: skip
    assert rows(made) == [
        ("02 00:00:00", "glucose", pytest.approx(104.49, abs=0.01), None, "mg/dL", []),
        ("02 00:05:00", "glucose", 39.0, None, "mg/dL", ["censored_low"]),
        ("02 00:10:00", "glucose", pytest.approx(39.63, abs=0.01), None, "mg/dL", []),
        ("02 00:12:00", "glucose_blood", pytest.approx(109.9, abs=0.01), "calibration", "mg/dL", []),
        ("02 00:13:00", "insulin_long", 4.5, "long-acting", "U", ["manual"]),
        ("02 00:14:00", "insulin", 3.0, None, "U", ["manual"]),
    ]


def test_without_a_transmitters_seconds_the_order_of_rows_tells_which_hour_it_is(record: Import) -> None:
    walls = ["01:55:00", "02:00:00", "02:15:00", "02:30:00", "02:45:00", "02:00:00", "02:15:00", "03:00:00"]
    lines = [reading(f"2024-10-27T{wall}", str(100 + at)) for at, wall in enumerate(walls)]
    upwards, _ = record({"x": file(*lines)})
    assert upwards["value"].to_list() == [100, 101, 102, 103, 104, 105, 106, 107]
    assert upwards["offset_min"].to_list() == [120] * 5 + [60] * 3
    assert upwards["quality"].list.len().sum() == 0
    downwards, _ = record({"x": file(*lines[::-1])})
    columns = ["start", "value", "offset_min"]
    assert downwards.select(columns).equals(upwards.select(columns))


NIGHT = [("01:55", 100), ("02:25", 101), ("02:55", 102), ("02:00", 103), ("02:25", 104), ("02:55", 105), ("03:00", 106)]


def in_the_night(readings: list[tuple[str, int]], seconds: str = "") -> str:
    return file(*(reading(f"2024-10-27T{wall}:00", str(value), seconds) for wall, value in readings))


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_that_begins_in_the_hour_that_exists_twice_repeats_another(record: Import, order: int) -> None:
    """Three o'clock follows 2:55 in five minutes, so that it was the second one, and so was the 2:25 before it."""
    made, _ = record({"Clarity_2.csv": in_the_night(NIGHT), "Clarity_1.csv": in_the_night(NIGHT[-3:][::order])})
    assert made["value"].to_list() == [100, 101, 102, 103, 104, 105, 106]
    assert made["offset_min"].to_list() == [120] * 3 + [60] * 4


def test_which_hour_a_file_begins_in_is_told_by_what_follows(record: Import) -> None:
    walls = ["02:45", "02:50", "02:55", "02:00", "02:05", "02:55", "03:00"]
    made, _ = record({"x": in_the_night([(wall, 100 + at) for at, wall in enumerate(walls)])})
    assert made["value"].to_list() == [100, 101, 102, 103, 104, 105, 106]
    assert made["offset_min"].to_list() == [120] * 3 + [60] * 4
    doubtful = ["clock_ambiguous"]
    assert made["quality"].to_list() == [doubtful] * 5 + [[]] * 2  # 50 minutes are missing between 2:05 and 2:55
    whole, _ = record({"x": in_the_night([("02:45", 100), ("02:50", 101), ("02:55", 102), ("03:00", 103)])})
    assert whole["offset_min"].to_list() == [60] * 4
    assert whole["quality"].list.len().sum() == 0


def test_what_follows_an_unsure_reading_is_as_unsure(record: Import) -> None:
    made, _ = record({"x": in_the_night([("02:30", 100), ("02:35", 101), ("09:00", 102)])})
    assert made["offset_min"].to_list() == [120, 120, 60]
    assert made["quality"].to_list() == [["clock_ambiguous"]] * 2 + [[]]


def test_a_counter_that_started_anew_does_not_tell_the_hour(record: Import) -> None:
    """Without a transmitter's id only the order of rows does."""
    rows_of = [("01:55:00", "700000"), ("02:00:00", "100"), ("02:05:00", "400"), ("02:02:00", "3820")]
    lines = [reading(f"2024-10-27T{wall}", str(100 + at), seconds, "") for at, (wall, seconds) in enumerate(rows_of)]
    made, _ = record({"x": file(*lines)})
    assert made["offset_min"].to_list() == [120, 120, 120, 60]


def test_a_lone_ambiguous_reading_stays_marked(record: Import) -> None:
    made, _ = record({"x": file(reading("2024-10-27T02:30:00", "100", "5000"))})
    assert made["quality"].to_list() == [["clock_ambiguous"]]


def test_a_moved_phone_clock_is_noted_and_a_new_transmitter_is_none(record: Import) -> None:
    lines = [reading("2024-07-01T08:00:00", "100", "1000"), reading("2024-07-01T10:05:00", "101", "1300")]
    _, tally = record({"x": file(*lines)})
    note = "the clock of the phone moved against that of the transmitter"
    assert next(iter(tally.files.values())).notes[note] == 1
    _, tally = record({"x": file(lines[0], reading("2024-07-01T10:05:00", "101", "1300", "8B"))})
    assert not next(iter(tally.files.values())).notes


def test_stamps_that_a_spreadsheet_rewrote(record: Import) -> None:
    """A day over 12 anywhere decides; where there is none, the usual order is taken and marked."""
    made, _ = record({"x": file(reading("4/3/2024 8:00", "100"), reading("4/13/2024 8:00", "101"))})
    assert made["start"].dt.strftime("%m-%d").to_list() == ["04-03", "04-13"]
    made, _ = record({"x": file(reading("4/3/2024 8:00", "100"))})
    assert made["quality"].to_list() == [["date_order_assumed"]]
    made, _ = record({"x": file(reading("4/3/2024 8:00", "100"))}, Options(BERLIN.zone, "mdy"))
    assert made["quality"].to_list() == [[]]
    assert made["start"].dt.month().to_list() == [4]


def test_a_glucose_column_without_a_unit_takes_that_of_the_rate(record: Import) -> None:
    header = HEADER.replace("Glucose Value (mg/dL)", "Glucose Value").replace("mg/dL/min", "mmol/L/min")
    made, _ = record({"x": file(reading("2024-07-01T08:00:00", "5.5"), header=header)})
    assert made["value"][0] == pytest.approx(99.09, abs=0.01)
    assert made["quality"].to_list() == [["unit_assumed"]]


def test_values_at_the_limits(record: Import) -> None:
    values = ["39", "40", "400", "401", "", "???", '"1,234"', "NaN"]
    made, tally = record({"x": file(*(reading(f"2024-07-01T08:0{at}:00", v) for at, v in enumerate(values)))})
    kept = made.filter(pl.col("metric") == "glucose")
    assert kept.select("value", pl.col("quality").list.first()).rows() == [
        (39.0, "censored_low"), (40.0, None), (400.0, None), (401.0, "censored_high"), (1.234, "implausible"),
    ]  # fmt: skip
    assert next(iter(tally.files.values())).skipped["no value: EGV"] == 3


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("Low", "High"), ("Niedrig", "Hoch"), ("Tief", "Hoch"), ("Bas", "Haut"), ("Bajo", "Alto"), ("Basso", "Alto"),
        ("Laag", "Hoog"), ("Lågt", "Högt"), ("Lav", "Høy"), ("Lavt", "Højt"), ("Matala", "Korkea"), ("Baixo", "Alto"),
        ("Niskie", "Wysokie"), ("Nízká", "Vysoká"), ("Nízky", "Vysoký"), ("Düşük", "Yüksek"), ("DÜŞÜK", "YÜKSEK"),
        ("Du\u0308s\u0327u\u0308k", "Yu\u0308ksek"), ("Alacsony", "Magas"), ("Nizko", "Visoko"), ("Nisko", "Visoko"),
        ("Scăzut", "Ridicat"), ("Χαμηλή", "Υψηλή"), ("נמוך", "גבוה"), ("منخفض", "مرتفع"), ("Низкий", "Высокий"),
        ("Низький", "Високий"), ("Ниско", "Високо"), ("低", "高"), ("偏低", "偏高"), ("低い", "高い"), ("낮음", "높음"),
        ("Madal", "Kõrge"), ("Zems", "Augsts"), ("Žemas", "Aukštas"), ("Rendah", "Tinggi"), ("ต่ำ", "สูง"),
        ("Thấp", "Cao"),
    ],
)  # fmt: skip
def test_both_words_of_a_language_are_limits(record: Import, low: str, high: str) -> None:
    made, tally = record({"x": file(reading("2026-06-02T00:00:00", low), reading("2026-06-02T00:05:00", high))})
    assert rows(made) == [
        ("02 00:00:00", "glucose", 39.0, None, "mg/dL", ["censored_low"]),
        ("02 00:05:00", "glucose", 401.0, None, "mg/dL", ["censored_high"]),
    ]
    assert made["raw"].to_list() == [low, high]
    assert not next(iter(tally.files.values())).notes


def test_each_language_has_a_word_for_low_and_one_for_high() -> None:
    assert all(len(pair) == 2 and all(pair) for pair in LIMITS)


def test_a_word_that_is_not_known_is_told_where_the_row_has_more(record: Import) -> None:
    line = "1,2026-06-02T00:00:00,EGV,,,,iPhone G6,Xyzzy,,,,0.4,,8A"
    made, tally = record({"x": file(reading("2026-06-02T00:05:00", "100"), line)})
    assert made["metric"].to_list() == ["glucose_rate", "glucose"]
    assert next(iter(tally.files.values())).notes == {"glucose: no number": 1}


UNKNOWN = "columns whose names are not known, in another order than the vendor's"
#: Words of no language, with the brackets that Clarity's columns have.
STRANGE = [f"wort {at} {cell[cell.find('(') :] if '(' in cell else ''}" for at, cell in enumerate(HEADER.split(","))]


def lines_of(columns: list[str], order: list[int]) -> str:
    """A reading, a calibration and insulin below a header whose columns stand in another order; -1: an empty one."""
    lines = [reading("2024-04-03T08:00:00", "100", "1000"), reading("2024-04-03T08:05:00", "101", "1300")]
    lines[1] = lines[1].replace("EGV", "Calibration")
    lines.append("3,2024-04-03T08:06:00,Insulin,Long-Acting,,App,iPhone G6,,14,,,,,")
    table = [[*columns, "neu"], *([*line.split(","), ""] for line in lines)]  # -1: the last
    return "\n".join(",".join(row[at] for at in order) for row in table)


IN_ORDER = list(range(14))
ADDED = [0, 1, -1, *IN_ORDER[2:]]


@pytest.mark.parametrize("order", [IN_ORDER, ADDED, [1, 0, *IN_ORDER[2:]], [0, 1, 7, *IN_ORDER[2:7], *IN_ORDER[8:]]])
def test_columns_are_taken_by_their_names(record: Import, order: list[int]) -> None:
    made, tally = record({"x": lines_of(HEADER.split(","), order)})
    assert rows(made) == [
        ("03 08:00:00", "glucose", 100.0, None, "mg/dL", []),
        ("03 08:05:00", "glucose_blood", 101.0, "calibration", "mg/dL", []),
        ("03 08:06:00", "insulin_long", 14.0, "long-acting", "U", ["manual"]),
    ]
    devices = made["device"].struct
    assert devices.field("unit").to_list() == ["8A", "8A", None]
    assert devices.field("app").to_list() == ["iPhone G6", "iPhone G6", "App (iPhone G6)"]
    assert next(iter(tally.files.values())).notes == ({"a column that is not read: neu": 1} if -1 in order else {})


def test_names_that_are_not_known_are_read_by_the_vendors_order(record: Import) -> None:
    made, tally = record({"x": lines_of(STRANGE, IN_ORDER)})
    assert made["metric"].to_list() == ["glucose", "glucose_blood", "insulin_long"]
    assert not next(iter(tally.files.values())).notes


@pytest.mark.parametrize("order", [ADDED, [*IN_ORDER[:9], -1, *IN_ORDER[9:]], [*IN_ORDER, -1]])
def test_names_that_are_not_known_in_another_order_are_counted_away(record: Import, order: list[int]) -> None:
    made, tally = record({"x": lines_of(STRANGE, order)})
    assert made.is_empty()
    assert next(iter(tally.files.values())).skipped[UNKNOWN] == 3


def test_a_known_name_in_anothers_place_is_never_read_by_order(record: Import) -> None:
    columns = [cell if at in (1, 2, 7) else STRANGE[at] for at, cell in enumerate(HEADER.split(","))]
    columns[5] = "Source Device ID"
    made, tally = record({"x": lines_of(columns, IN_ORDER)})
    assert made["metric"].to_list() == ["glucose", "glucose_blood"]
    (account,) = tally.files.values()
    assert account.notes["a column that is not read: wort 8 (u)"] == 1


@pytest.mark.parametrize("text", ["2.100", "2,100"])
def test_the_id_of_a_transmitter_stays_as_it_is_written(record: Import, text: str) -> None:
    """The file's decimal commas say what a point is in its numbers, not in its texts."""
    lines = [f"1;2026-06-02T00:{minute}:00;EGW;;;;{text};5,{minute};;;;0,12;;{text}" for minute in range(10, 60, 5)]
    made, tally = record({"x": file(*lines, header=GERMAN)})
    assert {(device["app"], device["unit"]) for device in made["device"]} == {(text, text)}
    assert not next(iter(tally.files.values())).notes


def test_rows_are_read_by_the_header_next_above_them(record: Import) -> None:
    """Two exports joined: the second has its columns in another order, or is in another language and unit."""
    first = lines_of(HEADER.split(","), IN_ORDER)
    other = lines_of(HEADER.split(","), [0, 1, 2, 3, 4, 5, 6, 8, 9, 7, *IN_ORDER[10:]]).replace(
        "2024-04-03", "2024-04-04"
    )
    made, tally = record({"x": f"{first}\n{other}"})
    assert [row[:3] for row in rows(made)] == [
        (f"{day} {time}", *what)
        for day in ("03", "04")
        for time, what in (
            ("08:00:00", ("glucose", 100.0)),
            ("08:05:00", ("glucose_blood", 101.0)),
            ("08:06:00", ("insulin_long", 14.0)),
        )
    ]
    assert next(iter(tally.files.values())).skipped == {"the header": 2}
    german = GERMAN + "\n3;2024-04-05T00:00:00;EGW;;;;iOS G7;5,8;;;;;;\n"
    made, _ = record({"x": f"{first}\n{german}".replace(";", ",").replace("5,8", '"5,8"')})
    assert rows(made)[-1][:3] == ("05 00:00:00", "glucose", pytest.approx(104.49, abs=0.01))


def test_rows_below_a_second_header_that_is_not_known_are_counted_away(record: Import) -> None:
    made, tally = record({"x": lines_of(HEADER.split(","), IN_ORDER) + "\n" + lines_of(STRANGE, ADDED)})
    assert len(made) == 3
    assert next(iter(tally.files.values())).skipped == {"the header": 2, UNKNOWN: 3}


def test_an_event_is_the_same_one_after_the_accounts_language_changed(record: Import) -> None:
    """Words of other languages are one code; one that is not known stays as it is."""
    english = ["Fast-Acting", "Long-Acting", "Heavy", "Xyzzy"]
    others = (
        (HEADER, english),
        (GERMAN, ["Schnell wirkend", "Langwirkend", "Schwer", "XYZZY"]),
        (HEADER.replace("Event", "X"), ["Acción rápida", "Acción prolongada", "Intenso", "xyzzy"]),
    )
    files = {}
    for at, (header, words) in enumerate(others):
        lines = [
            f"1,2024-04-03T08:0{row}:00,{kind},{word},,,iPhone G6,,{units},,{length},,,"
            for row, (kind, word, units, length) in enumerate(
                zip(["Insulin", "Insulin", "Exercise", "Insulin"], words, ["6.0", "9.0", "", "2.0"],
                    ["", "", "00:30:00", ""], strict=True)
            )
        ]  # fmt: skip
        files[f"Clarity_{at}.csv"] = file(*lines, header=header.replace(";", ",").replace("mmol/l", "mg/dL"))
    made, _ = record(files)
    used = made.filter(~pl.col("quality").list.contains("duplicate_of"))
    assert used["code"].to_list() == ["fast-acting", "long-acting", "heavy", "xyzzy"]
