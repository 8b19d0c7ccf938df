"""Misfit: answers of its interface: workouts, totals of days, nights.

Times have an offset, lengths are seconds, distances are miles, which the file does not say. A night's stages are
changes: each lasts until the next, the last until the night's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import US
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import json_items, number, number_noted
from metapulse.record.schema import Device, Row

MISFIT = Device("Misfit")
STAGES = {1: "awake", 2: "light", 3: "deep"}
#: Member → metric of a day, of a workout, unit.
TOTALS = (
    ("steps", "steps_daily", "steps", None),
    ("calories", "total_energy", "workout_energy", "kcal"),
    ("activityCalories", "active_energy", "", "kcal"),
    ("distance", "distance", "workout_distance", "mi"),
)
LONGEST = 172_800  # seconds of a night or a workout


def sniff(sample: Sample) -> str:
    """By the lists and Misfit's own points and details."""
    head = sample.json[:16384]
    if re.match(r'\{\s*"(sessions|summary)"\s*:\s*\[', head) and '"points"' in head:
        return "sessions or days with points, as Misfit answers"
    return "nights with sleepDetails, as Misfit answers" if head.startswith("{") and '"sleepDetails"' in head else ""


def read(context: Context) -> Iterator[Row]:
    """Every workout, day and night."""
    for at, item in json_items(context, "sessions", "summary", "sleeps"):
        given = False
        for row in _rows(context, item) if isinstance(item, dict) else ():
            given = True
            yield row._replace(row=at)
        if not given:
            context.skip("no value, or no time" if isinstance(item, dict) else "no object")


def _rows(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    daily = "startTime" not in item
    given = item.get("date" if daily else "startTime")
    stamp = context.clock.read(given) if isinstance(given, str) else None
    length = number(item.get("duration"))
    if stamp is None or (not daily and (length is None or not 0 < length <= LONGEST)):
        return
    end = stamp.end if daily else stamp.start + round((length or 0) * US)
    manual = ("manual",) if item.get("autoDetected") is False else ()
    whole = Row("", stamp.start, end=end, offset_min=stamp.offset_min, device=MISFIT, quality=(*stamp.marks, *manual))
    if "sleepDetails" in item:
        yield whole._replace(metric="time_in_bed", value=length, unit="s")
        yield from _night(context, item["sleepDetails"], whole)
        return
    code = None if daily else str(item.get("activityType") or "unknown").lower()[:60]
    if not daily:
        yield whole._replace(metric="workout", value=length, unit="s", code=code)
    for member, of_day, of_workout, unit in TOTALS:
        metric, value = of_day if daily else of_workout, number_noted(context, item, member)
        if metric and value is not None:
            marks = (*whole.quality, "unit_assumed") if unit == "mi" else whole.quality
            yield whole._replace(metric=metric, value=value, unit=unit, code=code, quality=marks)


def _night(context: Context, details: Any, whole: Row) -> Iterator[Row]:
    """Stages, in order of time; one before the night began is not of it."""
    changes: list[tuple[int, float]] = []
    for part in details if isinstance(details, list) else []:
        given, value = (part.get("datetime"), number(part.get("value"))) if isinstance(part, dict) else (None, None)
        stamp = context.clock.read(given) if isinstance(given, str) else None
        if stamp is None or value is None or not whole.start <= stamp.start < (whole.end or 0):
            context.note("a stage without a time, or outside of its night")
        else:
            changes.append((stamp.start, value))
    changes.sort()
    ends = [*(start for start, _ in changes[1:]), whole.end]
    for (start, value), end in zip(changes, ends, strict=False):
        yield whole._replace(metric="sleep_stage", start=start, end=end, code=STAGES.get(int(value), "unknown"))


READER = Reader("misfit", "Misfit: workouts, days and nights of its interface", sniff, read)
