"""FreeStyle Libre: the CSV of LibreView, in any of its languages.

The first line is about the account. The header's words are in the account's language, its units and their order are
not: four columns end in a unit of glucose (history, scan, strip, ketones), one is in grams, five are in units of
insulin. Stamps are local.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_rows, noted
from metapulse.record.schema import Device, Row
from metapulse.record.units import GLUCOSE, ucum

CONCENTRATIONS = ("mg/dL", "mmol/L")
LOW, HIGH = 40, 500  # mg/dL: what a Libre measures between
ROUNDED = 1  # mg/dL: 2.2 mmol/L are 40 mg/dL, though 39.6 when converted, and 27.8 are 500, though 500.8
DEVICE, SERIAL, TIME, KIND = range(4)


class Column(NamedTuple):
    """A column with values: where it is, its metric, unit and code."""

    at: int
    metric: str
    unit: str
    code: str | None = None


def sniff(sample: Sample) -> str:
    """The header is one of the first lines."""
    from csv import reader

    for line in sample.lines[:5]:
        if columns(next(reader([line]), [])) or columns(next(reader([line], delimiter=";"), [])):
            return "its header has LibreView's columns: history, scan, strip and ketones, grams, units of insulin"
    return ""


def columns(header: list[str]) -> list[Column]:
    """The columns with values, by their units; [] if this is no header of LibreView."""
    glucose = [
        (at, cell.split()[-1])
        for at, cell in enumerate(header)
        if cell.split() and ucum(cell.split()[-1]) in CONCENTRATIONS
    ]
    bracketed = [
        (at, ucum(found[1])) for at, cell in enumerate(header) if (found := re.search(r"\(([^()]+)\)\s*$", cell))
    ]
    grams = [at for at, unit in bracketed if unit == "g"]
    insulin = [at for at, unit in bracketed if unit == "U"]
    if len(glucose) != 4 or len(grams) != 1 or len(insulin) < 2 or glucose[0][0] != KIND + 1:
        return []
    named = zip(("glucose", "glucose", "glucose_blood", "ketones"), (None, "scan", None, None), glucose, strict=True)
    values = [Column(at, metric, unit, code) for metric, code, (at, unit) in named]
    values.append(Column(grams[0], "carbohydrates", "g"))
    kinds = (
        ("insulin_rapid", None),
        ("insulin_long", None),
        *(("insulin_rapid", c) for c in ("meal", "correction", "change")),
    )
    return values + [Column(at, metric, "U", code) for at, (metric, code) in zip(insulin, kinds, strict=False)]


def read(context: Context) -> Iterator[Row]:
    """Every value of every line."""
    _decide_order(context)
    known: list[Column] = []
    for line, cells in csv_rows(context):
        if not known:
            known = columns(cells)
            context.skip("the header" if known else "above the header")
            continue
        stamp = context.clock.read(cells[TIME]) if len(cells) > KIND else None
        if stamp is None:
            context.skip("a stamp that is no time")
            continue
        device = Device("Abbott", cells[DEVICE] or None, unit=cells[SERIAL] or None)
        found = [
            row for column in known if column.at < len(cells) and (row := _value(context, column, cells[column.at]))
        ]
        for row in found:
            yield row._replace(
                start=stamp.start,
                row=line,
                offset_min=stamp.offset_min,
                device=device,
                quality=(*stamp.marks, *row.quality),
            )
        if not found:
            context.skip(f"no value: a line of type {cells[KIND][:4]}" if cells[KIND].isdigit() else "no value")


def _decide_order(context: Context) -> None:
    """Day and month from the whole column; with a 12-hour clock the account is likelier American."""
    rows = (cells[TIME] for _, cells in csv_rows(context, count=False) if len(cells) > KIND and cells[KIND].isdigit())
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
