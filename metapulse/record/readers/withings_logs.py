"""Withings: what its zip keeps one line a night, an activity or a measurement: sleep, activities, weight, bp, height.

Nights and activities have stamps with the person's own offset. Of weight, blood pressure and height stamps are local,
and the unit is in the header, whose words may be translated: a scale's columns are a date and masses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from csv import reader

from metapulse.record.clock import US
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_column, csv_table, delimiter_of, is_empty, lines, number, number_noted
from metapulse.record.schema import Device, Row
from metapulse.record.units import ucum

WITHINGS = Device("Withings")
SCALE = ("weight", "fat_mass", "bone_mass", "muscle_mass", "body_water_mass")  # columns with a unit of mass, in order
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
_FEET = re.compile(r"(\d)\s*['′]\s*(\d{1,2}(?:\.\d+)?)\s*(?:''|[\"″])")


def sniff(sample: Sample) -> str:
    """By the header."""
    header = _header(sample.lines[0]) if sample.lines else []
    if header[:2] == ["from", "to"] and {"light (s)", "deep (s)"} <= set(header):
        return "nights from and to, with seconds light and deep"
    if header[:2] == ["from", "to"] and {"activity type", "data"} <= set(header):
        return "activities from and to, with their type and data"
    if len(_masses(header)) >= 3:
        return "a date and masses of the body, fat and bone, as Withings' scales"
    if header[1:4] == ["heart rate", "systolic", "diastolic"]:
        return "a date, heart rate, systolic and diastolic, as Withings' cuffs"
    if len(header) in (2, 3) and re.fullmatch(r"height \((m|cm|in|ft)\)", header[1]):
        return "a date and a height"
    return ""


def _header(line: str) -> list[str]:
    return [cell.strip().lower() for cell in next(reader([line], delimiter=delimiter_of(line)), [])]


def _masses(header: list[str]) -> list[tuple[str, str]]:
    """(column, unit) of those after the date that have a unit of mass, without a gap."""
    found: list[tuple[str, str]] = []
    for cell in header[1:]:
        bracket = re.search(r"\(([^()]{1,6})\)$", cell)
        if not bracket or ucum(bracket[1]) not in ("kg", "[lb_av]", "[stone_av]"):
            break
        found.append((cell, bracket[1]))
    return found


def read(context: Context) -> Iterator[Row]:
    """Each file by its header."""
    header = _header(next((line for _, line in lines(context)), "")[:4096])
    yield from _intervals(context) if "from" in header else _measures(context, header)


def _intervals(context: Context) -> Iterator[Row]:
    """Nights and activities."""
    for at, cells in csv_table(context, "from", "to", fold=str.lower):
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


def _measures(context: Context, header: list[str]) -> Iterator[Row]:
    """Weight, blood pressure or height, of an instant."""
    date = header[0] if header else ""
    context.date_order(csv_column(context, date, fold=str.lower), "dmy")
    masses = [(column, metric, unit) for (column, unit), metric in zip(_masses(header), SCALE, strict=False)]
    columns = masses or [("systolic", "bp_systolic", "mmHg"), ("diastolic", "bp_diastolic", "mmHg"),
                         ("heart rate", "heart_rate", "bpm")]  # fmt: skip
    heights = [
        (cell, "height", cell.partition("(")[2].rstrip(")")) for cell in header[1:2] if cell.startswith("height")
    ]
    for at, cells in csv_table(context, date, fold=str.lower):
        stamp = context.clock.read(cells[date])
        if stamp is None:
            context.skip("a stamp that is no time")
            continue
        given = False
        for column, metric, unit in heights or columns:
            text = cells.get(column, "")
            value, raw = number(text), None
            if feet := _FEET.fullmatch(text):
                value, unit, raw = int(feet[1]) * 12 + float(feet[2]), "in", text
            if value:
                given = True
                yield Row(metric, stamp.start, value, unit, at, stamp.end, stamp.offset_min, None, WITHINGS,
                          stamp.marks, raw)  # fmt: skip
        if not given:
            context.skip("no value")


READER = Reader("withings_logs", "Withings: sleep, activities, weight, bp and height of its zip", sniff, read)
