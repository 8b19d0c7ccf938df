"""Withings: what its zip keeps one line a night, an activity or a measurement: sleep, activities, weight, bp, height.

Nights and activities have stamps with the person's own offset. Of weight, blood pressure and height stamps are local,
and the unit is in the header, whose words may be translated: a scale's columns are found by the names that are known,
else by Withings' order, a date and five masses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from csv import reader
from typing import NamedTuple

from metapulse.record.clock import US
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import UNKNOWN, by_name, note_unread, placed, split
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.text import (
    csv_rows,
    csv_table,
    delimiter_of,
    is_empty,
    lines,
    number_noted,
    row_of,
)
from metapulse.record.schema import Device, Row
from metapulse.record.units import ucum

WITHINGS = Device("Withings")
SCALE = ("weight", "fat_mass", "bone_mass", "muscle_mass", "body_water_mass")  # behind the date, in order
CUFF = {"systolic": ("bp_systolic", "mmHg"), "diastolic": ("bp_diastolic", "mmHg"), "heart rate": ("heart_rate", "bpm")}
AWAKE = "awake (s)"
NIGHT = (
    ("light (s)", "sleep_light"),
    ("deep (s)", "sleep_deep"),
    ("rem (s)", "sleep_rem"),
    (AWAKE, "sleep_awake"),
)
RATES = (("average heart rate", None), ("heart rate (min)", "minimum"), ("heart rate (max)", "maximum"))
WORKOUT = (("calories", "workout_energy", "kcal"), ("distance", "workout_distance", "m"),
           ("hr_average", "workout_hr_mean", "bpm"), ("hr_max", "workout_hr_max", "bpm"))  # fmt: skip
#: Columns of nights and of activities that are read, or left out on purpose: what Withings has in every file.
KNOWN = {
    *("from", "to", "from (manual)", "to (manual)", "timezone", "activity type", "data", "gps", "modified", "notes"),
    *(column for column, _ in (*NIGHT, *RATES)),
    *("wake up", "duration to sleep (s)", "duration to wake up (s)", "snoring (s)", "snoring episodes"),
    *("night events",),
}
_HEIGHT = re.compile(r"height \((m|cm|in|ft)\)")
_FEET = re.compile(r"(\d)\s*['′]\s*(\d{1,2}(?:\.\d+)?)\s*(?:''|[\"″])")


def sniff(sample: Sample) -> str:
    """By the header."""
    cells = _header(sample.lines[0]) if sample.lines else []
    header = [cell.lower() for cell in cells]
    if {"from", "to", "light (s)", "deep (s)"} <= set(header):
        return "nights from and to, with seconds light and deep"
    if {"from", "to", "activity type", "data"} <= set(header):
        return "activities from and to, with their type and data"
    return _measures_why(cells)


def _measures_why(cells: list[str]) -> str:
    """Which of the files of measurements has this header; "" if none has."""
    header = [cell.lower() for cell in cells]
    if _is_scale(cells):
        return "a date and masses of the body, fat and bone, as Withings' scales"
    if header[1:4] == ["heart rate", "systolic", "diastolic"] or (len(header) < 7 and {"date", *CUFF} <= set(header)):
        return "a date, heart rate, systolic and diastolic, as Withings' cuffs"
    place = _height(header)
    if (place == 1 and len(header) in (2, 3)) or (place >= 0 and "date" in header and len(header) < 5):
        return "a date and a height"
    return ""


def _height(header: list[str]) -> int:
    """Place of the column of heights; -1 if there is none."""
    return next((at for at, cell in enumerate(header) if _HEIGHT.fullmatch(cell)), -1)


def _header(line: str) -> list[str]:
    return [cell.strip() for cell in next(reader([line], delimiter=delimiter_of(line)), [])]


def _masses(header: list[str]) -> list[int]:
    """Places of the columns that have a unit of mass."""
    return [at for at, cell in enumerate(header) if ucum(split(cell)[1]) in ("kg", "[lb_av]", "[stone_av]")]


def _is_scale(header: list[str]) -> bool:
    """Whether it has the names of a scale's columns, or three masses behind a first column."""
    return {"date", *SCALE[:3]} <= by_name("withings", header).keys() or _masses(header)[:3] == [1, 2, 3]


def _scale(header: list[str]) -> dict[str, int]:
    """Column → place of a scale's file: by name, else by order if it has five masses, and comments at most behind."""
    width = max((at + 1 for at, cell in enumerate(header) if cell), default=0)
    fits = _masses(header) == [1, 2, 3, 4, 5] and width <= 7
    order = {name: at for at, name in enumerate(("date", *SCALE, "comments")[:width])}
    return placed(by_name("withings", header), order if fits else {})


def read(context: Context) -> Iterator[Row]:
    """Each file by its header."""
    header = _header(next((line for _, line in lines(context)), "")[:4096])
    yield from (_intervals if "from" in map(str.lower, header) else _measures)(context)


def _intervals(context: Context) -> Iterator[Row]:
    """Nights and activities."""
    for at, cells in csv_table(context, "from", "to", fold=str.lower, known=KNOWN):
        begin, end = context.clock.read(cells["from"]), context.clock.read(cells["to"])
        if begin is None or end is None or begin.end is not None:
            context.skip("a stamp that is no time")
            continue
        marks = tuple({*begin.marks, *end.marks})
        whole = Row("", begin.start, None, None, at, end.start, begin.offset_min, None, WITHINGS, marks)
        rows = list((_activity if "activity type" in cells else _night)(context, cells, whole))
        yield from rows
        if not rows:
            context.skip("a night without sleep")


def _night(context: Context, cells: dict[str, str], whole: Row) -> Iterator[Row]:
    """A phase of 0 s was not told apart by the device: its metric is absent, not 0. Sleep is the sum of all phases."""
    told = {column: number_noted(context, cells, column) for column, _ in NIGHT if column in cells}
    seconds = {metric: value for column, metric in NIGHT if (value := told.get(column))}
    phases = {column: value for column, value in told.items() if column != AWAKE}
    known = {column: value for column, value in phases.items() if value}
    if not known:
        return
    if None not in phases.values():
        parts = " + ".join(f"{column} {value:.15g}" for column, value in known.items())
        yield whole._replace(metric="sleep_duration", value=sum(known.values()), unit="s", raw=parts)
    yield whole._replace(metric="time_in_bed", value=((whole.end or whole.start) - whole.start) / US, unit="s")
    for metric, value in seconds.items():
        yield whole._replace(metric=metric, value=value, unit="s")
    if (latency := number_noted(context, cells, "duration to sleep (s)")) is not None:
        yield whole._replace(metric="sleep_latency", value=latency, unit="s")
    for column, code in RATES:
        if rate := number_noted(context, cells, column):
            yield whole._replace(metric="heart_rate", value=rate, unit="bpm", code=code or "average")


def _activity(context: Context, cells: dict[str, str], whole: Row) -> Iterator[Row]:
    """The numbers of an activity are JSON in a cell; what was typed in has names of its own."""
    code = cells["activity type"].lower()[:60] or "unknown"
    length = ((whole.end or whole.start) - whole.start) / US
    yield whole._replace(metric="workout", value=length, unit="s", code=code)
    try:
        data = json.loads(cells.get("data", ""))
    except (ValueError, RecursionError):
        if not is_empty(cells.get("data")):
            context.note("an activity whose data are no JSON")
        return
    for name, metric, unit in WORKOUT if isinstance(data, dict) else ():
        typed = number_noted(context, data, f"manual_{name}")
        if value := typed or number_noted(context, data, name):
            marks = (*whole.quality, "manual") if typed else whole.quality
            yield whole._replace(metric=metric, value=value, unit=unit, code=code, quality=marks)


class _Measures(NamedTuple):
    """The column of the date, and those with values: name, metric, unit."""

    date: str
    columns: list[tuple[str, str, str]]


def _measures_of(context: Context, header: list[str], count: bool) -> _Measures:
    """What a header says; no columns if it does not tell which is which."""
    lower = [cell.lower() for cell in header] or [""]
    date = "date" if "date" in lower else lower[0]
    columns = [(column, metric, unit) for column, (metric, unit) in CUFF.items() if column in lower]
    read = {date, *CUFF, "comments"}
    if _is_scale(header):
        at = _scale(header)
        date = lower[at["date"]] if "date" in at else ""
        columns = [(lower[at[name]], name, split(header[at[name]])[1]) for name in SCALE if name in at and date]
        read = {lower[place] for place in at.values()}
    elif (place := _height(lower)) >= 0:
        columns = [(lower[place], "height", split(lower[place])[1])]
        read = {date, lower[place], "comments"}
    if count and columns:
        note_unread(context, header, {place for place, cell in enumerate(lower) if cell in read})
    return _Measures(date, columns)


def _measured(context: Context, count: bool = True) -> Iterator[tuple[int, dict[str, str], _Measures]]:
    """(line, cell by column, what the header next above says) of every row: exports that were joined have several."""
    names: list[str] = []
    of = _Measures("", [])
    for line, cells in csv_rows(context, count=count, as_written=not count):
        if not names or (names_columns(cells) and _measures_why(cells)):
            names, of = [cell.lower() for cell in cells], _measures_of(context, cells, count)
            if count:
                context.skip("the header")
            continue
        if count and any(cells[len(names) :]):
            context.note("a row has more cells than the header has columns")
        yield line, row_of(context, names, cells + [""] * (len(names) - len(cells)), count), of


def _measures(context: Context) -> Iterator[Row]:
    """Weight, blood pressure or height, of an instant."""
    dates = (cells[of.date] for _, cells, of in _measured(context, count=False) if of.columns)
    context.date_order((text for text in dates if text), "dmy")
    for line, cells, (date, columns) in _measured(context):
        if not columns:
            context.skip(UNKNOWN)
            continue
        stamp = context.clock.read(cells[date])
        if stamp is None:
            context.skip("a stamp that is no time")
            continue
        given = False
        for column, metric, unit in columns:
            feet = _FEET.fullmatch(cells.get(column, ""))
            value = int(feet[1]) * 12 + float(feet[2]) if feet else number_noted(context, cells, column)
            unit, raw = ("in", feet[0]) if feet else (unit, None)
            if value:
                given = True
                yield Row(metric, stamp.start, value, unit, line, stamp.end, stamp.offset_min, None, WITHINGS,
                          stamp.marks, raw)  # fmt: skip
        if not given:
            context.skip("no value")


READER = Reader("withings_logs", "Withings: sleep, activities, weight, bp and height of its zip", sniff, read)
