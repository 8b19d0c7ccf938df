"""Google Fit: the CSV of *Daily activity metrics* in Takeout, in any language.

One file has a line a day; one file a day has a line every 15 minutes, whose times carry an offset but no date: that is
in the file's name alone. Headers are translated, their units and their order are not: an energy in kcal, a distance in
m, mean, highest and lowest of heart rate (bpm), speed (m/s) and weight (kg), and the column after the speeds is steps.

A whole line has a cell for every column. One with fewer was edited: which cell is of which column cannot be known.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import NamedTuple

from metapulse.record.clock import DAY, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_rows, noted
from metapulse.record.schema import Row

CODES = (None, "maximum", "minimum")  # of three columns of one unit
TRIPLES = {"bpm": "heart_rate", "m/s": "speed", "kg": "weight"}
SINGLES = {"kcal": "total_energy", "m": "distance"}
_UNIT = re.compile(r"\(([^()]*)\)\s*$")
_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:?\d\d|Z)?")
_DAY = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)(?!\d)")


class Column(NamedTuple):
    """A column with values."""

    at: int
    metric: str
    unit: str | None
    code: str | None = None


def sniff(sample: Sample) -> str:
    """The header is the first line."""
    header = next(csv.reader(sample.lines[:1]), [])
    return (
        "its header has Google Fit's daily metrics: kcal, m, degrees, mean, highest and lowest"
        if columns(header)
        else ""
    )


def columns(header: list[str]) -> list[Column]:
    """The columns with values, by their units; [] if this is no header of Google Fit."""
    units = [match[1].strip() if (match := _UNIT.search(cell)) else "" for cell in header]
    if "kcal" not in units or units[0] or not {"deg", "ms"} & set(units) or "m/s" not in units:
        return []
    found = [Column(units.index(unit), metric, unit) for unit, metric in SINGLES.items() if unit in units]
    for unit, metric in TRIPLES.items():
        places = [at for at, given in enumerate(units) if given == unit]
        found += [Column(at, metric, unit, code) for at, code in zip(places, CODES, strict=False)]
    moving, steps = units.index("kcal") - 1, len(units) - units[::-1].index("m/s")
    if moving > 0 and not units[moving]:
        found.append(Column(moving, "active_minutes", "min"))
    if steps < len(units) and not units[steps]:
        found.append(Column(steps, "steps", None))
    return found


def read(context: Context) -> Iterator[Row]:
    """Every value of every line."""
    known: list[Column] = []
    width = 0
    for line, cells in csv_rows(context, ","):
        if not known:
            known = columns(cells)
            context.skip("the header" if known else "above the header")
            _left_out(context, cells, known)
            width = len(cells)
            continue
        if len(cells) < width:
            context.skip("fewer cells than the header has columns")
            continue
        stamp = _span(context, cells)
        if isinstance(stamp, str):
            context.skip(stamp)
            continue
        given = False
        for column in known:
            if (value := noted(context, cells[column.at], column.metric)) is None:
                continue
            given = True
            daily = column.metric == "steps" and "date_only" in stamp.marks
            row = Row("steps_daily" if daily else column.metric, stamp.start, value, column.unit, line, stamp.end)
            yield row._replace(offset_min=stamp.offset_min, code=column.code, quality=stamp.marks)
        if not given:
            context.skip("no value")


def _left_out(context: Context, header: list[str], known: list[Column]) -> None:
    """Say which columns are not read: points, places, and times of activities, which their segments tell better."""
    read = {column.at for column in known}
    times = 2 if min(read, default=0) > 1 else 1  # a start and an end, or a date
    for at, cell in enumerate(header):
        if known and at >= times and at not in read:
            context.note(f"a column that is not read: {cell[:60]}")


def _span(context: Context, cells: list[str]) -> Stamp | str:
    """A day, or a quarter of an hour of the day in the file's name; or why it is neither."""
    if not _TIME.fullmatch(cells[0]):
        stamp = context.clock.read(cells[0])
        return stamp if stamp and stamp.end is not None else "a stamp that is no day"
    named = _DAY.search(context.file.name.rsplit("/", 1)[-1])
    if named is None:
        return "a time without a date: the file's name has none"
    start = context.clock.read(f"{named[1]}T{cells[0]}")
    end = context.clock.read(f"{named[1]}T{cells[1]}") if len(cells) > 1 and _TIME.fullmatch(cells[1]) else None
    if start is None:
        return "a stamp that is no time"
    until = None if end is None else end.start if end.start > start.start else end.start + DAY
    return start._replace(end=until)


READER = Reader("googlefit_csv", "Google Fit: daily activity metrics (CSV of Takeout)", sniff, read, by_name=True)
