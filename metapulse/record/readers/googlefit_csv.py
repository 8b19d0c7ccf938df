"""Google Fit: the CSV of *Daily activity metrics* in Takeout, in any language.

One file has a line a day; one file a day has a line every 15 minutes, whose times carry an offset but no date: that is
in the file's name alone. Headers are translated: columns are found by the names that are known, else by units and
order: an energy in kcal, a distance in m, mean, highest and lowest of heart rate (bpm), speed (m/s) and weight (kg),
minutes before the energy, and steps after the speeds, if they stand there alone.

A whole line has a cell for every column. One with fewer was edited: which cell is of which column cannot be known.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import NamedTuple

from metapulse.record.clock import DAY, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import by_name, cell_of, placed
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.text import csv_rows, noted
from metapulse.record.schema import Row

CODES = ("", " maximum", " minimum")  # of three columns of one unit
TRIPLES = {"bpm": "heart_rate", "m/s": "speed", "kg": "weight"}
SINGLES = {"kcal": "total_energy", "m": "distance"}
COUNTS = {"active_minutes": "min", "steps": None}
METRICS = {*TRIPLES.values(), *SINGLES.values(), *COUNTS}
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
    why = "its header has Google Fit's daily metrics: kcal, m, degrees, mean, highest and lowest"
    return why if _known(header) else ""


def _units(header: list[str]) -> list[str]:
    return [match[1].strip() if (match := _UNIT.search(cell)) else "" for cell in header]


def _known(header: list[str]) -> bool:
    """Whether this is a header of Google Fit, by its units."""
    units = _units(header)
    if "kcal" not in units or "m/s" not in units or {"deg", "ms"}.isdisjoint(units):
        return False
    return not units[0] or not {"date", "begin"}.isdisjoint(by_name("googlefit", header))


def columns(header: list[str], times: int) -> tuple[dict[str, int], list[Column]]:
    """(name of a column → place, the columns with values): by name, else by units and order.

    Args:
        header: of Google Fit.
        times: columns that say when: a date, or a start and an end.
    """
    units = _units(header)
    at = placed(by_name("googlefit", header), _ordered(units, times))
    found = []
    for name, place in at.items():
        metric, _, code = name.partition(" ")
        if metric in METRICS:
            found.append(Column(place, metric, COUNTS.get(metric, units[place]), code or None))
    return at, found


def _ordered(units: list[str], times: int) -> dict[str, int]:
    """Where columns are by unit and order; one of which that is not certain is left out."""
    found = {"begin": 0, "end": 1} if times > 1 else {"date": 0}
    found |= {metric: units.index(unit) for unit, metric in SINGLES.items() if units.count(unit) == 1}
    for unit, metric in TRIPLES.items():
        first = units.index(unit) if unit in units else 0
        if units.count(unit) == 3 and units[first : first + 3] == [unit] * 3:
            found |= {f"{metric}{code}": at for at, code in enumerate(CODES, start=first)}
    if units.index("kcal") == times + 1:
        found["active_minutes"] = times
    steps = len(units) - units[::-1].index("m/s")
    if units[steps : steps + 1] == [""] and units[steps + 1 : steps + 2] != [""]:
        found["steps"] = steps
    return found


def read(context: Context) -> Iterator[Row]:
    """Every value of every line."""
    times = _times(context)
    at: dict[str, int] = {}
    known: list[Column] = []
    width = 0
    for line, cells in csv_rows(context, ","):
        if not width or names_columns(cells):
            if is_header := _known(cells):
                at, known = columns(cells, times)
                width = len(cells)
                _left_out(context, cells, at, known)
            if is_header or not width:
                context.skip("the header" if is_header else "above the header")
                continue
        if len(cells) < width:
            context.skip("fewer cells than the header has columns")
            continue
        stamp = _span(context, cells, at)
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


def _times(context: Context) -> int:
    """How many columns say when, by the first line below the header: a date, or a start and an end."""
    rows = (cells for _, cells in csv_rows(context, ",", count=False))
    header = next((cells for cells in rows if _known(cells)), [])
    at, below = {"begin": 0, "end": 1} | by_name("googlefit", header), next(rows, [])
    return 2 if all(_TIME.fullmatch(cell_of(below, at, column)) for column in ("begin", "end")) else 1


def _left_out(context: Context, header: list[str], at: dict[str, int], known: list[Column]) -> None:
    """Say which columns are not read: points, places, and times of activities, which their segments tell better."""
    read = {column.at for column in known} | {at[name] for name in ("date", "begin", "end") if name in at}
    for place, cell in enumerate(header):
        if place not in read:
            context.note(f"a column that is not read: {cell[:60]}")


def _span(context: Context, cells: list[str], at: dict[str, int]) -> Stamp | str:
    """A day, or a quarter of an hour of the day in the file's name; or why it is neither."""
    first, last = (cell_of(cells, at, name) for name in ("date" if "date" in at else "begin", "end"))
    if not _TIME.fullmatch(first):
        stamp = context.clock.read(first)
        return stamp if stamp and stamp.end is not None else "a stamp that is no day"
    named = _DAY.search(context.file.name.rsplit("/", 1)[-1])
    if named is None:
        return "a time without a date: the file's name has none"
    start = context.clock.read(f"{named[1]}T{first}")
    end = context.clock.read(f"{named[1]}T{last}") if _TIME.fullmatch(last) else None
    if start is None:
        return "a stamp that is no time"
    until = None if end is None else end.start if end.start > start.start else end.start + DAY
    return start._replace(end=until)


READER = Reader("googlefit_csv", "Google Fit: daily activity metrics (CSV of Takeout)", sniff, read, by_name=True)
