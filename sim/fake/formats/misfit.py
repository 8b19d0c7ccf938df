"""Misfit: answers of its interface. Whole seconds with the offset; distances in miles.

A night is written without its stages, and a workout without its totals: reading a part of one always gives the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import MINUTE, US
from metapulse.record.readers.misfit import LONGEST, MISFIT
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import daily, gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, floored, iso, json_text, offset_text, plain, put

MILE = 1609.344  # m
#: Metric of a day → member, digits, canonical units of one of the file's.
DAYS: dict[str, tuple[str, int | None, float]] = {
    "steps_daily": ("steps", None, 1.0),
    "total_energy": ("calories", 1, 1.0),
    "active_energy": ("activityCalories", 1, 1.0),
    "distance": ("distance", 4, MILE),
}
SPANS = {"time_in_bed": "sleeps", "workout": "sessions"}


def says(row: Row) -> Row | None:
    """Totals of days, lengths of nights, workouts; what was typed in is told of the latter two."""
    told = floored(plain(row, "manual"), SECOND)._replace(device=MISFIT)
    if daily(row):
        if row.metric not in DAYS or row.code not in (None, "daily") or row.value is None:
            return None
        marks = ("date_only", "unit_assumed") if row.metric == "distance" else ("date_only",)
        return rounded(told, *DAYS[row.metric][1:])._replace(quality=marks, code=None)
    length = 0 if told.end is None else told.end - told.start
    if row.metric not in SPANS or not 0 < length <= LONGEST * US or (row.metric == "time_in_bed" and row.code):
        return None
    code = (row.code or "unknown").lower()[:60] if row.metric == "workout" else None
    return told._replace(value=length / MINUTE, code=code, offset_min=row.offset_min or 0)


def write(rows: Sequence[Row], making: Making) -> None:
    """A file for each kind of answer; with traps newest first, a second page, repeats and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    files: dict[str, list[dict[str, Any]]] = {}
    for item in gathered((row for row in told if daily(row)), lambda row: _day(row, making)):
        day: dict[str, Any] = {"date": _day(next(iter(item.values())), making), "points": 400}
        for metric, row in item.items():
            name, digits, scale = DAYS[str(metric)]
            day[name] = written_value(row, digits, scale)
        files.setdefault("summary", []).append(day)
    for at, row in enumerate(row for row in told if not daily(row)):
        files.setdefault(SPANS[row.metric], []).append({"id": f"{at:024x}", **_span(row)})
    for name, items in files.items():
        pages = [items[:1], items[1:]] if making.traps else [items]
        torn = f'{{"{name}": [{{"id": "5", "poi' if making.traps else ""
        put(making.folder / f"{name}.json", "\n".join(json_text({name: page}) for page in pages) + torn)


def _day(row: Row, making: Making) -> str:
    return iso(walls(row, making.zone)[0])[:10]


def _span(row: Row) -> dict[str, Any]:
    start = iso(row.start + (row.offset_min or 0) * MINUTE, offset_text(row.offset_min), 0)
    item: dict[str, Any] = {"autoDetected": not row.quality, "startTime": start}
    item |= {"duration": ((row.end or row.start) - row.start) // US}
    if row.metric == "time_in_bed":
        return {**item, "sleepDetails": []}
    return {**item, "activityType": row.code, "points": 60}


METRICS = frozenset({*DAYS, *SPANS})
FORMAT = Format("misfit", "Misfit: workouts, days and nights of its interface", METRICS, says, write, in_zone)
