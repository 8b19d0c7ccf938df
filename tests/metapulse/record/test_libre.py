"""LibreView's CSV: columns by their names, by the vendor's order where those are not known, and by neither."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

ACCOUNT, HEADER = SAMPLES["libre.csv"].splitlines()[:2]
COLUMNS = HEADER.split(",")
HISTORIC, SCAN, RAPID, LONG, STRIP = 4, 5, 7, 12, 14
#: Words of no language, with the units that LibreView's columns have.
STRANGE = [
    f"wort{chr(97 + at)} {cell.split()[-1] if '/' in cell or '(' in cell else ''}".strip()
    for at, cell in enumerate(COLUMNS)
]
UNKNOWN = "columns whose names are not known, in another order than the vendor's"


def file(columns: list[str], *lines: tuple[str, int, dict[int, str]]) -> dict[str, str]:
    """Lines of (minute, type, place → cell) below a header."""
    texts = [ACCOUNT, ",".join(columns)]
    for minute, kind, given in lines:
        cells = ["FSL3", "S1", f"13-04-2024 08:{minute}", str(kind), *(len(columns) - 4) * [""]]
        for at, cell in given.items():
            cells[at] = cell
        texts.append(",".join(cells))
    return {"libre.csv": "\n".join(texts) + "\n"}


def moved(columns: list[str], origin: int, to: int) -> list[str]:
    left = [cell for at, cell in enumerate(columns) if at != origin]
    return [*left[:to], columns[origin], *left[to:]]


@pytest.mark.parametrize("fold", [str, str.upper, lambda cell: cell.replace(" ", "  ").replace("-", " ")])
def test_a_column_that_was_added_shifts_none(record: Import, fold: Callable[[str], str]) -> None:
    columns = [fold(cell) for cell in [*COLUMNS[:RAPID], "Insulin on Board (units)", *COLUMNS[RAPID:]]]
    made, tally = record(file(columns, ("04", 4, {RAPID + 1: "5"}), ("05", 4, {LONG + 1: "12", RAPID: "3"})))
    assert rows(made) == [
        ("13 08:04:00", "insulin_rapid", 5.0, None, "U", []),
        ("13 08:05:00", "insulin_long", 12.0, None, "U", []),
    ]
    (account,) = tally.files.values()
    assert account.notes == {f"a column that is not read: {columns[RAPID]}": 1}


def test_columns_in_another_order(record: Import) -> None:
    columns = moved(COLUMNS, STRIP, HISTORIC)
    columns[RAPID + 1], columns[LONG + 1] = columns[LONG + 1], columns[RAPID + 1]
    made, tally = record(
        file(
            columns,
            ("00", 0, {HISTORIC + 1: "101"}),
            ("02", 2, {HISTORIC: "103"}),
            ("04", 4, {LONG + 1: "5"}),
            ("05", 4, {RAPID + 1: "12"}),
        )
    )
    assert rows(made) == [
        ("13 08:00:00", "glucose", 101.0, None, "mg/dL", []),
        ("13 08:02:00", "glucose_blood", 103.0, None, "mg/dL", []),
        ("13 08:04:00", "insulin_rapid", 5.0, None, "U", []),
        ("13 08:05:00", "insulin_long", 12.0, None, "U", []),
    ]
    assert not next(iter(tally.files.values())).notes


def test_words_that_are_not_known_are_read_by_the_vendors_order(record: Import) -> None:
    lines = (("00", 0, {HISTORIC: "101"}), ("02", 2, {STRIP: "103"}), ("05", 4, {LONG: "12"}))
    made, tally = record(file(STRANGE, *lines))
    assert [(metric, value) for _, metric, value, *_ in rows(made)] == [
        ("glucose", 101.0), ("glucose_blood", 103.0), ("insulin_long", 12.0),
    ]  # fmt: skip
    assert not next(iter(tally.files.values())).notes


@pytest.mark.parametrize(
    "columns",
    [
        [*STRANGE[:RAPID], "neu (units)", *STRANGE[RAPID:]],
        [*STRANGE[:RAPID], "neu", *STRANGE[RAPID:]],
        moved(STRANGE, LONG, RAPID),
        ["lang (units)" if at == RAPID else cell for at, cell in enumerate(STRANGE)],
    ],
)
def test_words_that_are_not_known_in_another_order_are_counted_away(record: Import, columns: list[str]) -> None:
    made, tally = record(file(columns, ("00", 0, {HISTORIC: "101"}), ("05", 4, {LONG: "12"})))
    assert made.is_empty()
    assert next(iter(tally.files.values())).skipped[UNKNOWN] == 2


def test_a_known_name_in_anothers_place_is_never_read_by_order(record: Import) -> None:
    columns = [*COLUMNS[: SCAN + 1], *STRANGE[SCAN + 1 :]]
    columns[LONG] = COLUMNS[RAPID]
    made, tally = record(file(columns, ("00", 0, {HISTORIC: "101"}), ("05", 4, {LONG: "12"}), ("06", 4, {RAPID: "9"})))
    assert [(metric, value) for _, metric, value, *_ in rows(made)] == [("glucose", 101.0), ("insulin_rapid", 12.0)]
    (account,) = tally.files.values()
    assert account.notes[f"a column that is not read: {columns[RAPID]}"] == 1


def test_the_type_of_a_line_says_which_glucose_it_has(record: Import) -> None:
    """Under names that are known it is noted, by order alone the value is not read."""
    lines = (("00", 0, {HISTORIC: "101"}), ("02", 2, {HISTORIC: "103"}), ("03", 1, {STRIP: "104"}))
    note = "a glucose in another column than the type of its line says"
    made, tally = record(file(COLUMNS, *lines))
    assert made["value"].to_list() == [101.0, 103.0, 104.0]
    assert next(iter(tally.files.values())).notes[note] == 2
    made, tally = record(file(STRANGE, *lines))
    assert made["value"].to_list() == [101.0]
    assert next(iter(tally.files.values())).skipped[note] == 2


@pytest.mark.parametrize("text", ["2.100", "2,100"])
def test_a_serial_number_stays_as_it_is_written(record: Import, text: str) -> None:
    """The file's decimal commas say what a point is in its numbers, not in its texts."""
    header = ";".join(cell.replace("mg/dL", "mmol/L") for cell in COLUMNS)
    rest = ";" * (len(COLUMNS) - 5)
    lines = [f"{text};{text};13-04-2024 08:{minute};0;6,{minute}{rest}" for minute in range(10, 60, 5)]
    lines.append(f"{text};{text};13-04-2024 09:00;5;;;;;;1.250{rest[5:]}")
    made, _ = record({"libre.csv": "\n".join([ACCOUNT.replace(",", ";"), header, *lines]) + "\n"})
    assert {(device["model"], device["unit"]) for device in made["device"]} == {(text, text)}
    assert made["value"].to_list()[-1] == 1250


def test_rows_are_read_by_the_header_next_above_them(record: Import) -> None:
    """Two exports joined: the second has its columns in another order, and its own line above them."""
    (first,) = file(COLUMNS, ("10", 0, {HISTORIC: "100"}), ("11", 4, {RAPID: "4"})).values()
    swapped = [COLUMNS[{HISTORIC: RAPID, RAPID: HISTORIC}.get(at, at)] for at in range(len(COLUMNS))]
    (second,) = file(swapped, ("25", 0, {RAPID: "110"}), ("26", 4, {HISTORIC: "5"})).values()
    made, tally = record({"libre.csv": first + second})
    assert [row[1:3] for row in rows(made)] == [
        ("glucose", 100.0),
        ("insulin_rapid", 4.0),
        ("glucose", 110.0),
        ("insulin_rapid", 5.0),
    ]
    assert next(iter(tally.files.values())).skipped["the header"] == 2
