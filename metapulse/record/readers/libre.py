"""FreeStyle Libre: the CSV of LibreView, in any of its languages.

The first line is about the account. The header's words are in the account's language: columns are found by the names
that are known, else by LibreView's order, if number and units of the columns are those of it. The type of a line says
which glucose it has. Stamps are local.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from csv import reader
from typing import NamedTuple

from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import (
    CONCENTRATIONS,
    LONG,
    RAPID,
    UNKNOWN,
    by_name,
    cell_of,
    first_lines,
    placed,
    split,
)
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.text import csv_rows, noted
from metapulse.record.schema import Device, Row
from metapulse.record.units import GLUCOSE, ucum

LOW, HIGH = 40, 500  # mg/dL: what a Libre measures between
ROUNDED = 1  # mg/dL: 2.2 mmol/L are 40 mg/dL, though 39.6 when converted, and 27.8 are 500, though 500.8
ORDER = (
    "device", "serial", "time", "kind", "historic", "scan", "rapid word", "rapid", "food word", "carbs", "servings",
    "long word", "long", "notes", "strip", "ketone", "meal", "correction", "change",
)  # fmt: skip
SHAPE = "....cc.U.g..U.ccUUU"  # units of these: c of glucose, U of insulin, g
SHORTEST = 16  # columns: those of meals, corrections and changes came later
#: Column → metric, code.
VALUES: dict[str, tuple[str, str | None]] = {
    "historic": ("glucose", None),
    "scan": ("glucose", "scan"),
    "strip": ("glucose_blood", None),
    "ketone": ("ketones", None),
    "carbs": ("carbohydrates", None),
    "rapid": ("insulin_rapid", None),
    "long": ("insulin_long", None),
    "meal": ("insulin_rapid", "meal"),
    "correction": ("insulin_rapid", "correction"),
    "change": ("insulin_rapid", "change"),
}
TEXTS = ("device", "serial", "notes")  # columns whose cells may look like numbers
TYPES = {"0": "historic", "1": "scan", "2": "strip", "3": "ketone"}  # of a line → the column that has its value
DENIED = "a glucose in another column than the type of its line says"


class Column(NamedTuple):
    """A column with values: where it is, its metric, unit and code, and whether its name is known."""

    name: str
    at: int
    metric: str
    unit: str
    code: str | None
    named: bool


class Columns(NamedTuple):
    """Where things are. Without values: a header of LibreView in another order, under unknown names."""

    at: dict[str, int]
    values: list[Column]


def sniff(sample: Sample) -> str:
    """The header is one of the first lines."""
    for line in sample.lines[:5]:
        if columns(next(reader([line]), [])) or columns(next(reader([line], delimiter=";"), [])):
            return "its header has LibreView's columns: history, scan, strip and ketones, grams, units of insulin"
    return ""


def columns(header: list[str]) -> Columns | None:
    """The columns by their names, or by units and order; None if this is no header of LibreView."""
    units = [split(cell)[1] for cell in header]
    shape = "".join(_kind(cell, unit) for cell, unit in zip(header, units, strict=True))
    named = by_name("libre", header)
    told = {"time", "kind"} <= named.keys() and bool({"historic", "scan"} & named.keys())
    alike = shape.startswith("....c") and shape.count("c") == 4 and shape.count("g") == 1 < shape.count("U")
    if not told and not alike:
        return None
    at = placed(named, _ordered(header, shape))
    values = [
        Column(name, at[name], metric, units[at[name]], code, name in named)
        for name, (metric, code) in VALUES.items()
        if name in at
    ]
    return Columns(at, values) if values and "time" in at else Columns({}, [])


def _kind(cell: str, unit: str) -> str:
    """The letter of ``SHAPE``. LibreView's units of glucose stand without brackets, as no other vendor's do."""
    known = ucum(unit)
    if known in CONCENTRATIONS:
        return "." if cell.rstrip().endswith(")") else "c"
    return known if known in ("U", "g") else "."


def _ordered(header: list[str], shape: str) -> dict[str, int]:
    """LibreView's order; {} if number or units of the columns are others, or words for rapid and long change places."""
    while header and not header[-1].strip():
        header = header[:-1]
    if len(header) < SHORTEST or shape[: len(header)] != SHAPE[: len(header)] or len(header) > len(SHAPE):
        return {}
    rapid, long = (split(header[ORDER.index(name)])[0] for name in ("rapid", "long"))
    if (LONG.search(rapid) and not RAPID.search(rapid)) or (RAPID.search(long) and not LONG.search(long)):
        return {}
    return {name: at for at, name in enumerate(ORDER[: len(header)])}


def read(context: Context) -> Iterator[Row]:
    """Every value of every line."""
    _decide_order(context)
    at: Columns | None = None
    texts: set[int] = set()
    for line, cells in csv_rows(context, texts=texts):
        found = columns(cells) if at is None or names_columns(cells) else None
        if at is None or found:
            at = found
            first_lines(context, cells, None if at is None else at.at, texts, TEXTS)
            continue
        stamp = context.clock.read(cell_of(cells, at.at, "time")) if at.values else None
        if stamp is None:
            context.skip("a stamp that is no time" if at.values else UNKNOWN)
            continue
        device = Device("Abbott", cell_of(cells, at.at, "device") or None, unit=cell_of(cells, at.at, "serial") or None)
        kind = cell_of(cells, at.at, "kind")
        given, denied = False, False
        for column in at.values:
            text = cell_of(cells, at.at, column.name)
            if text and column.name in TYPES.values() and TYPES.get(kind, column.name) != column.name:
                denied = True
                if not column.named:
                    continue
            if row := _value(context, column, text):
                given = True
                yield row._replace(
                    start=stamp.start,
                    row=line,
                    offset_min=stamp.offset_min,
                    device=device,
                    quality=(*stamp.marks, *row.quality),
                )
        if denied and given:
            context.note(DENIED)
        if not given:
            empty = f"no value: a line of type {kind[:4]}" if kind.isdigit() else "no value"
            context.skip(DENIED if denied else empty)


def _decide_order(context: Context) -> None:
    """Day and month from the whole column; with a 12-hour clock the account is likelier American."""

    def stamps() -> Iterator[str]:
        at: Columns | None = None
        for _, cells in csv_rows(context, count=False):
            if found := columns(cells) if at is None or names_columns(cells) else None:
                at = found
            elif at is not None and (text := cell_of(cells, at.at, "time")):
                yield text

    rows = stamps()
    first = next(rows, "")
    usual = "mdy" if re.search(r"[AaPp]\.?\s?[Mm]", first) else "dmy"
    context.date_order((text for texts in ((first,), rows) for text in texts), usual)


def _value(context: Context, column: Column, text: str) -> Row | None:
    """One cell, still without its time; None if it is empty or no value.

    A number beyond what the sensor measures is a limit: readers and apps show LO or HI for it (tidepool-org/uploader
    #1460). 0 and less are no limit of any sensor, and no glucose.
    """
    if not text:
        return None
    word = text.strip().upper()
    if column.metric.startswith("glucose") and word in ("LO", "LOW", "HI", "HIGH"):
        low = word.startswith("L")
        return Row(
            column.metric,
            0,
            LOW if low else HIGH,
            "mg/dL",
            code=column.code,
            quality=("censored_low" if low else "censored_high",),
            raw=text,
        )
    value = noted(context, text, column.metric, decimal_comma=True)
    if value is None:
        return None
    marks: tuple[str, ...] = ()
    if column.metric == "glucose":
        converted = ucum(column.unit) == "mmol/L"
        mg, near = value * (GLUCOSE if converted else 1), ROUNDED if converted else 0
        marks = ("censored_low",) if 0 < mg < LOW - near else ("censored_high",) if mg > HIGH + near else ()
    return Row(column.metric, 0, value, column.unit, code=column.code, quality=marks)


READER = Reader("libre", "FreeStyle Libre: CSV of LibreView", sniff, read)
