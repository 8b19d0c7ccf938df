"""Whoop: the CSVs of its export (sleeps, physiological cycles, workouts, journal), in any of its languages.

Stamps are local; the offset has a column of its own, beside the cycle's start. The header's words are in the phone's
language: columns are found by the names that are known, else by their order, if what all their headers end in (%, a
unit in brackets) is that of a table of Whoop's. The running cycle has no end. "cal" are kilocalories, by their size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from metapulse.record.clock import MINUTE, Stamp, offset_minutes
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import by_name, note_unread, placed
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.text import csv_rows, number_noted, row_of
from metapulse.record.schema import Device, Row

WHOOP = Device("Whoop")
CYCLE = ("cycle start time", "cycle end time", "cycle timezone")
SLEEP = (
    "sleep onset",
    "wake onset",
    "sleep performance",
    "respiratory rate",
    "asleep duration",
    "in bed duration",
    "light sleep duration",
    "deep duration",
    "rem duration",
    "awake duration",
    "sleep need",
    "sleep debt",
    "sleep efficiency",
    "sleep consistency",
)
#: Tables in the order of their columns, for headers in other languages: English names, and how the headers end.
LAYOUTS = (
    ((*CYCLE, *SLEEP, "nap"), ".....%(((((((((%%."),
    (
        (
            *CYCLE, "recovery score", "resting heart rate", "heart rate variability", "skin temp", "blood oxygen",
            "day strain", "energy burned", "max hr", "average hr", *SLEEP,
        ),
        "...%(((%.(((..%(((((((((%%",
    ),
    (
        (
            *CYCLE, "workout start time", "workout end time", "duration", "activity name", "activity strain",
            "energy burned", "max hr", "average hr",
        ),
        ".....(..(((",
    ),
)  # fmt: skip
#: Column → metric, unit ("": in the header's brackets), what it is of: the night, the cycle or the workout.
COLUMNS: dict[str, tuple[str, str | None, str]] = {
    "asleep duration": ("sleep_duration", "min", "night"),
    "in bed duration": ("time_in_bed", "min", "night"),
    "light sleep duration": ("sleep_light", "min", "night"),
    "deep duration": ("sleep_deep", "min", "night"),
    "rem duration": ("sleep_rem", "min", "night"),
    "awake duration": ("sleep_awake", "min", "night"),
    "sleep need": ("sleep_need", "min", "night"),
    "sleep efficiency": ("sleep_efficiency", "%", "night"),
    "sleep performance": ("sleep_score", None, "night"),
    "respiratory rate": ("respiratory_rate", "/min", "night"),
    "recovery score": ("readiness_score", None, "night"),
    "resting heart rate": ("resting_heart_rate", "bpm", "night"),
    "heart rate variability": ("hrv_rmssd", "ms", "night"),
    "skin temp": ("skin_temperature", "", "night"),
    "blood oxygen": ("spo2", "%", "night"),
    "day strain": ("strain", None, "cycle"),
    "activity strain": ("strain", None, "workout"),
    "duration": ("workout", "min", "workout"),
    "distance": ("workout_distance", "", "workout"),
    "altitude gain": ("elevation_gain", "", "workout"),
}
SPANS = {
    "night": ("sleep onset", "wake onset"),
    "cycle": ("cycle start time", "cycle end time"),
    "workout": ("workout start time", "workout end time"),
}
LONG = 18  # columns, from which on their shape alone tells
HEART = (("max hr", "workout_hr_max", "maximum"), ("average hr", "workout_hr_mean", "mean"))
#: Columns of workouts alone; another name of one of them leaves the others to tell what the file is of.
ZONES = tuple(f"hr zone {zone}" for zone in range(6))
WORKOUT = {"workout start time", "workout end time", "activity name", "activity strain", "gps enabled", *ZONES}
JOURNAL = ("question text", "answered yes", "notes")
#: Names whose columns are read, or left out on purpose: debt and consistency are Whoop's own reckoning.
KNOWN = {name for layout, _ in LAYOUTS for name in layout} | {*COLUMNS, *WORKOUT, *JOURNAL, "altitude change"}
LOST = "a workout whose start is not known"
_ZONE = re.compile(r"(UTC|GMT)?([+-]\d{1,2}(:?\d\d)?|Z)|UTC")
_STAMP = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]\d")


def sniff(sample: Sample) -> str:
    """The header in English, or another whose columns are known above a line with a time and an offset in theirs."""
    from csv import reader

    lines = [line for line in sample.lines if line.strip()][:2]
    header = next(reader(lines[:1]), [])
    names = columns(header)
    if set(CYCLE) <= set(_english(header)):
        return "its header has cycle start, cycle end and cycle timezone"
    first = next(reader(lines[1:]), [])
    if len(names) >= LONG and not first:
        return "its columns end in the units of Whoop's, with nothing below them"
    row = dict(zip(names, map(str.strip, first), strict=False))
    if len(row) > 3 and _STAMP.match(row.get(CYCLE[0], "")) and _ZONE.fullmatch(row.get(CYCLE[2], "")):
        return "its columns have the names or the units of Whoop's, below them times and an offset"
    return ""


def _english(header: list[str]) -> list[str]:
    """The names in a header without their units, as of one in English."""
    return [re.sub(r"\s{0,4}(\([^()]{0,40}\)|%)", "", cell.strip().lower()).strip() for cell in header]


def columns(header: list[str]) -> list[str]:
    """The columns' English names; [] if this is no header of Whoop."""
    names = _english(header)
    if set(CYCLE) <= set(names):
        return names
    ends = "".join("%" if c.strip().endswith("%") else "(" if c.strip().endswith(")") else "." for c in header)
    ordered: dict[str, int] = {}
    for layout, shape in LAYOUTS:
        if ends == shape or (layout[-1] == "average hr" and ends.startswith(shape)):
            ordered = {name: at for at, name in enumerate(layout)}
    found = {at: name for name, at in placed(by_name("whoop", header), ordered).items()}
    return [found.get(at, f"column {at}") for at in range(len(header))] if set(CYCLE) <= set(found.values()) else []


def read(context: Context) -> Iterator[Row]:
    """Every value of every line, over the time that it is of."""
    context.date_order(_starts(context), "mdy")
    names: list[str] = []
    units: dict[str, str] = {}
    for line, cells in csv_rows(context, ","):
        if found := columns(cells) if not names or names_columns(cells) else []:
            names = found
            units = {
                n: inside[1]
                for n, c in zip(names, cells, strict=False)
                if (inside := re.search(r"\(([^()]{0,40})\)$", c))
            }
            context.skip("the header")
            note_unread(context, cells[: len(names)], {at for at, name in enumerate(names) if name in KNOWN})
            continue
        if not names:
            context.skip("above the header")
            continue
        row = row_of(context, names, cells)
        spans = _spans(context, row, line)
        lost = "workout" not in spans and not WORKOUT.isdisjoint(names)
        rows = [] if lost else list(_values(context, row, spans, units))
        yield from rows
        if not rows:
            empty = LOST if lost and not WORKOUT.isdisjoint(row) else "no value, or no time"
            context.skip("an answer of the journal" if "question text" in names else empty)


def _starts(context: Context) -> Iterator[str]:
    """When cycles start, without counting rows."""
    at = -1
    for _, cells in csv_rows(context, ",", count=False):
        if found := columns(cells) if at < 0 or names_columns(cells) else []:
            at = found.index(CYCLE[0])
        elif 0 <= at < len(cells) and cells[at]:
            yield cells[at]


def _spans(context: Context, cells: dict[str, str], line: int) -> dict[str, Row]:
    """Night, cycle and workout of a line, each a row with its time and no value."""
    spans = {}
    for name, ends in SPANS.items():
        start, end = (_stamp(context, cells.get(column, ""), cells.get("cycle timezone", "")) for column in ends)
        if start is not None:
            until = None if end is None else end.start
            spans[name] = Row("", start.start, None, None, line, until, start.offset_min, None, WHOOP, start.marks)
    if "night" not in spans and "cycle" in spans and not _is_nap(cells):  # a night whose times are not told
        spans["night"] = spans["cycle"]._replace(end=None)
    return spans


def _is_nap(cells: dict[str, str]) -> bool:
    return cells.get("nap", "").lower() in ("true", "1", "yes", "vero", "ja", "oui", "sí", "wahr")


def _values(context: Context, cells: dict[str, str], spans: dict[str, Row], units: dict[str, str]) -> Iterator[Row]:
    """Every value of a line that has a time."""
    nap = _is_nap(cells)
    kind = cells.get("activity name", "").strip().lower()[:60] or "unknown"
    for name, (metric, unit, of) in COLUMNS.items():
        value = number_noted(context, cells, name) if of in spans else None
        if value is not None:
            code = "nap" if nap and of == "night" else kind if of == "workout" else None
            unit = units.get(name, "") if unit == "" else unit
            yield spans[of]._replace(metric=metric, value=value, unit=unit, code=code)
    of = "workout" if "workout" in spans else "cycle"
    if of in spans and "question text" not in cells:
        if (value := number_noted(context, cells, "energy burned")) is not None:
            energy = "workout_energy" if of == "workout" else "total_energy"
            unit = units.get("energy burned", "cal")
            quality = (*spans[of].quality, *(("unit_assumed",) if unit == "cal" else ()))
            unit = "kcal" if unit == "cal" else unit
            code = kind if of == "workout" else None
            yield spans[of]._replace(metric=energy, value=value, unit=unit, code=code, quality=quality)
        for name, metric, code in HEART:
            if value := number_noted(context, cells, name):
                at_work = of == "workout"
                metric = metric if at_work else "heart_rate"
                yield spans[of]._replace(metric=metric, value=value, unit="bpm", code=kind if at_work else code)


def _stamp(context: Context, text: str, zone: str) -> Stamp | None:
    """A local time, with the offset of its cycle."""
    offset = offset_minutes(zone.strip()) if zone.strip() else None
    stamp = context.wall.read(text)
    if stamp is None or offset is None or stamp.end is not None:
        return context.clock.read(text)
    return stamp._replace(start=stamp.start - offset * MINUTE, offset_min=offset)


READER = Reader("whoop", "Whoop: CSV of sleeps, cycles and workouts", sniff, read)
