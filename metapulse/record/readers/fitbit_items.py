"""Nights, exercises and weights of Fitbit, which Takeout and the Web API write alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from metapulse.record.clock import US
from metapulse.record.readers.base import Context
from metapulse.record.readers.ordered import Following
from metapulse.record.readers.text import json_items, number, number_noted
from metapulse.record.schema import Device, Row

FITBIT = Device("Fitbit")
STAGES = {name: name for name in ("light", "deep", "rem", "asleep", "restless", "awake")} | {"wake": "awake"}
SUMMARY = (
    ("minutesAsleep", "sleep_duration"),
    ("timeInBed", "time_in_bed"),
    ("minutesToFallAsleep", "sleep_latency"),
    ("efficiency", "sleep_efficiency"),
)


def night(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """Stages, short awakenings (which lie within stages), and the totals of a night or a nap; stamps are local."""
    start = context.clock.read(str(item.get("startTime")))
    end = start and context.clock.read(str(item.get("endTime")), after=start.start)
    if start is None or end is None:
        return
    code, marks = None if item.get("mainSleep", item.get("isMainSleep", True)) else "nap", {*start.marks, *end.marks}
    for name, metric in SUMMARY:
        if (value := number_noted(context, item, name)) is not None:
            yield Row(metric, start.start, value, None, at, end.start, start.offset_min, code, FITBIT, tuple(marks))
    levels = item.get("levels")
    for name in ("data", "shortData"):
        following = Following(context.clock, start)
        parts = levels.get(name) if isinstance(levels, dict) else None
        for part in parts if isinstance(parts, list) else []:
            part = part if isinstance(part, dict) else {}
            stamp, seconds = following.read(str(part.get("dateTime"))), number(part.get("seconds"))
            if stamp is None or seconds is None or not 0 < seconds < 172_800:
                context.note("a stage without a time or a length")
                continue
            following.last = until = stamp.start + round(seconds * US)
            stage = STAGES.get(str(part.get("level")), "unknown")
            yield Row("sleep_stage", stamp.start, None, None, at, until, stamp.offset_min, stage, FITBIT, stamp.marks)


def exercise(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """A workout and its totals; the stamp is local, or has an offset."""
    start, length = context.clock.read(str(item.get("startTime"))), number(item.get("duration"))
    if start is None or length is None or not 0 <= length < 1e10:
        return
    code = str(item["activityName"]).strip().lower()[:60] or "unknown"
    end = start.start + round(length) * 1000
    row = Row("workout", start.start, length, "ms", at, end, start.offset_min, code, FITBIT, start.marks)
    yield row
    for name, metric, unit in (("calories", "workout_energy", "kcal"), ("averageHeartRate", "workout_hr_mean", "bpm")):
        if value := number_noted(context, item, name):
            yield row._replace(metric=metric, value=value, unit=unit)
    unit = {"Kilometer": "km", "Mile": "mi"}.get(str(item.get("distanceUnit")), "")
    if unit and (value := number_noted(context, item, "distance")):
        yield row._replace(metric="workout_distance", value=value, unit=unit)


def weight(context: Context, item: dict[str, Any], at: int, usual: Callable[[], str]) -> Iterator[Row]:
    """The unit is the account's and is not written; the height that weight and BMI imply tells which it is.

    ``usual`` is asked where they tell nothing: the unit of the file's other weights.
    """
    stamp = context.clock.read(f"{item['date']} {item.get('time') or ''}".strip())
    weight, bmi = number(item["weight"]), number_noted(context, item, "bmi")
    if stamp is None or weight is None:
        return
    unit, marks = weight_unit(weight, bmi) or usual(), stamp.marks
    marks = (*marks, "unit_assumed")
    manual = ("manual",) if str(item.get("source")) in ("API", "Web", "Manual") else ()
    yield Row("weight", stamp.start, weight, unit, at, None, stamp.offset_min, None, FITBIT, (*marks, *manual))
    if bmi:
        yield Row("bmi", stamp.start, bmi, None, at, None, stamp.offset_min, None, FITBIT, (*stamp.marks, *manual))


def weight_unit(weight: float | None, bmi: float | None) -> str:
    """Kilograms, pounds or stones: in which the height √(weight / BMI) is a person's; "" in none, or without a BMI."""
    for unit, kg in (("kg", 1.0), ("lb", 0.45359237), ("stone", 6.35029318)):
        if weight and bmi and 1.2**2 <= weight * kg / bmi <= 2.2**2:
            return unit
    return ""


def usual_unit(weights: Iterable[tuple[float | None, float | None]]) -> str:
    """That of most of an account's weights with their BMI; kilograms where none tells."""
    found = Counter(unit for weight, bmi in weights if (unit := weight_unit(weight, bmi)))
    return found.most_common(1)[0][0] if found else "kg"


def usual_of(context: Context) -> Callable[[], str]:
    """``usual_unit`` of the weights of a file, which is gone through when it is asked first."""

    def weights() -> Iterator[tuple[float | None, float | None]]:
        for _, item in json_items(context, count=False):
            given = item.get("weight") if isinstance(item, dict) else None
            for each in given if isinstance(given, list) else [item]:
                if isinstance(each, dict):
                    yield number(each.get("weight")), number(each.get("bmi"))

    return cache(lambda: usual_unit(weights()))


def around_of(item: Any) -> str:
    """Why what an answer is, besides what it lists, is no row."""
    if isinstance(item, dict) and item.keys() <= {"dateTime", "value"} and not isinstance(item.get("value"), dict):
        return "a day of a series without its name"
    return "what is around the values" if isinstance(item, dict) else "no answer"
