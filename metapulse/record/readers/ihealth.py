"""iHealth: answers of its API, as JSON: blood pressure, glucose, saturation, weight, sleep, activity, sport.

Times are seconds from 1970-01-01T00:00 *on the person's clock*, not instants, with the offset beside them; what shows
that a list has instants all the same is a reading later than its own last change. Units are numbers that stand after
the list. 0 is "not measured". ``HoursSlept`` are minutes. Activity is of a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import DAY, MINUTE, US, Stamp, offset_minutes
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import json_items, number, number_noted
from metapulse.record.schema import Device, Row

LISTS = tuple(f"{name}DataList" for name in ("AR", "BG", "BO", "BP", "SPORT", "SR", "Weight"))
UNITS = {
    "BGUnit": ("mg/dL", "mmol/L"),
    "BPUnit": ("mmHg", "kPa"),
    "DistanceUnit": ("km", "mi"),
    "WeightUnit": ("kg", "lb", "stone"),
}
#: Field → metric, unit or the member that names it.
FIELDS = {
    "BG": ("glucose_blood", "BGUnit"),
    "HP": ("bp_systolic", "BPUnit"),
    "LP": ("bp_diastolic", "BPUnit"),
    "HR": ("heart_rate", "bpm"),
    "BO": ("spo2", "%"),
    "WeightValue": ("weight", "WeightUnit"),
    "BoneValue": ("bone_mass", "WeightUnit"),
    "MuscaleValue": ("muscle_mass", "WeightUnit"),
    "MuscleValue": ("muscle_mass", "WeightUnit"),
    "FatValue": ("body_fat", "%"),
    "WaterValue": ("body_water", "%"),
    "BMI": ("bmi", ""),
    "HoursSlept": ("sleep_duration", "min"),
    "FallSleep": ("sleep_latency", "min"),
    "SleepEfficiency": ("sleep_efficiency", "%"),
    "Awaken": ("sleep_disturbances", ""),
    "DistanceTraveled": ("distance", "DistanceUnit"),
}
ZERO = ("Awaken",)  # fields of which 0 is a value
STARTS = ("SportStartTime", "StartTime", "MDate")
SLACK = 3600  # seconds by which clocks of server and device may differ
_LIST = re.compile(rf'"({"|".join(LISTS)})"\s*:\s*\[')
_UNIT = re.compile(rb'"(BGUnit|BPUnit|DistanceUnit|WeightUnit)"\s*:\s*"?(\d{1,3})\b')


_UNIT_NAMED = re.compile(rb"(BG|BP|Distance|Weight)Unit")


def sniff(sample: Sample) -> str:
    """By the name of its list; in an empty answer too."""
    if found := _LIST.search(sample.json):
        return f"an answer with {found[1]}, as iHealth gives it"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every reading."""
    units, instants = _units(context), _instants(context)
    at = -1
    for _, item in json_items(context, *LISTS):
        for reading in _readings(context, item):
            at += 1
            yield from _reading(context, reading, at, units, instants)


def _readings(context: Context, item: object) -> list[Any]:
    """The readings of a page, where pages are items; else the item itself."""
    lists = [item[name] for name in LISTS if isinstance(item.get(name), list)] if isinstance(item, dict) else []
    if not lists:
        return [item]
    found = [reading for inner in lists for reading in inner]
    context.seen(len(found) - 1 if found else 0)
    if not found:
        context.skip("an empty page")
    return found


def _units(context: Context) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """Unit and marks by the member that names it; what is not named, or in two ways, is marked."""
    named: dict[str, set[int]] = {name: set() for name in UNITS}
    torn, tail = set[str](), b""
    with context.open() as stream:
        while block := stream.read(2**20):
            for found in _UNIT.finditer(tail + block):
                named[found[1].decode()].add(int(found[2]))
            torn |= _unread(tail + block, len(tail) + len(block) - 32)
            tail = (tail + block)[-64:]
    torn |= _unread(tail, len(tail))
    units: dict[str, tuple[str | None, tuple[str, ...]]] = {}
    for name, codes in named.items():
        code = min(codes, default=0)
        unit = UNITS[name][code] if code < len(UNITS[name]) else f"{name} {code}"
        units[name] = (unit, () if len(codes) == 1 else ("unit_assumed",))
        if name in torn:  # it is named, and cannot be read
            units[name] = (f"{name} ?", ())
            context.note(f"{name} cannot be read")
            continue
        if len(codes) > 1:
            context.note(f"several pages with different {name}: {unit} was taken")
    return units


def _unread(text: bytes, end: int) -> set[str]:
    """Units that are named before a place, and behind whose name none can be read."""
    read = {found.start(1) for found in _UNIT.finditer(text)}
    return {found[0].decode() for found in _UNIT_NAMED.finditer(text, 0, end) if found.start() not in read}


def _instants(context: Context) -> set[str]:
    """Names of starts that are instants: read as the person's clock, one would be after its own last change."""
    found: set[str] = set()
    for _, item in json_items(context, *LISTS, count=False):
        lists = [item[name] for name in LISTS if isinstance(item.get(name), list)] if isinstance(item, dict) else []
        for reading in (r for inner in lists for r in inner) if lists else [item]:
            if not isinstance(reading, dict) or "Steps" in reading:
                continue
            name = next((name for name in STARTS if name in reading), "")
            start, offset, changed = number(reading.get(name)), _offset(reading), number(reading.get("LastChangeTime"))
            if start is None or offset is None or changed is None:
                continue
            if start <= changed + SLACK < start - offset * 60:
                found.add(name)
    for name in sorted(found):
        context.note(f"{name} was read as an instant: on the person's clock it would be after its last change")
    return found


def _reading(
    context: Context, item: object, at: int, units: dict[str, tuple[str | None, tuple[str, ...]]], instants: set[str]
) -> Iterator[Row]:
    """The values of one reading; where there is none, it says why."""
    if not isinstance(item, dict):
        return context.skip("no object")
    name = next((name for name in STARTS if name in item), "")
    stamp = _stamp(context, item, name, instants)
    if stamp is None:
        return context.skip("a stamp that is no time")
    end = _end(stamp, item, name)
    marks = (*stamp.marks, "manual") if item.get("DataSource") == "Manual" else stamp.marks
    row = Row("", stamp.start, None, None, at, end, stamp.offset_min, None, Device("iHealth"), marks)
    if "Steps" in item:
        row = _day(context, row, item)
    found = [
        row._replace(metric=metric, value=value, unit=unit or None, quality=(*row.quality, *assumed))
        for field, (metric, named) in FIELDS.items()
        if (value := number_noted(context, item, field)) is not None
        and (value or (field in ZERO and "HoursSlept" in item))
        for unit, assumed in [units.get(named, (named, ()))]
    ]
    found += _bouts(row, item)
    if not found:
        return context.skip("no value: 0, or none")
    yield from found


def _bouts(row: Row, item: dict[str, Any]) -> list[Row]:
    """Values that depend on the kind of reading: a night, a sport, a day."""
    length = (row.end - row.start) / MINUTE if row.end is not None else 0.0
    energy, steps = number(item.get("Calories")), number(item.get("Steps"))
    found = []
    if "HoursSlept" in item and length > 0:
        found.append(row._replace(metric="time_in_bed", value=length, unit="min"))
    if "SportStartTime" in item:
        kind = str(item.get("SportName") or "unknown").strip().lower()[:40]
        found += [row._replace(metric="workout", value=length, unit="min", code=kind)] if length > 0 else []
        found += [row._replace(metric="workout_energy", value=energy, unit="kcal", code=kind)] if energy else []
    elif energy:
        found.append(row._replace(metric="total_energy", value=energy, unit="kcal"))
    if steps is not None:
        marks = row.quality if steps else (*row.quality, "not_worn_suspected")
        found.append(row._replace(metric="steps_daily", value=steps, quality=marks))
    return found


# -- time ---------------------------------------------------------------------


def _offset(item: dict[str, Any]) -> int | None:
    """Minutes of the person's clock before UTC: from "-0800", or from hours as a number."""
    given = item.get("TimeZone")
    if isinstance(given, str) and given.strip()[:1] in ("+", "-") and (found := offset_minutes(given)) is not None:
        return found
    hours = number(given)
    return round(hours * 60) if hours is not None and abs(hours) <= 18 else None


def _stamp(context: Context, item: dict[str, Any], name: str, instants: set[str]) -> Stamp | None:
    seconds, offset = number(item.get(name)), _offset(item)
    if seconds is None or not 0 < seconds < 1e11:
        return None
    wall = round(seconds * US)
    if name in instants:
        return Stamp(wall, offset)
    return context.clock.local(wall) if offset is None else Stamp(wall - offset * MINUTE, offset)


def _end(stamp: Stamp, item: dict[str, Any], name: str) -> int | None:
    """Of a night or a sport: as far from its start as the file has it."""
    start, end = number(item.get(name)), number(item.get("SportEndTime" if name == "SportStartTime" else "EndTime"))
    return None if start is None or end is None or abs(end) >= 1e11 else stamp.start + round((end - start) * US)


def _day(context: Context, row: Row, item: dict[str, Any]) -> Row:
    """The person's day that an activity is of."""
    day = round((number(item.get("MDate")) or 0) * US) // DAY
    if row.offset_min is None:
        stamp = context.clock.day(day)
    else:
        midnight = day * DAY - row.offset_min * MINUTE
        stamp = Stamp(midnight, row.offset_min, ("date_only",), midnight + DAY)
    marks = (*(mark for mark in row.quality if mark == "manual"), *stamp.marks)
    return row._replace(start=stamp.start, end=stamp.end, offset_min=stamp.offset_min, quality=marks)


READER = Reader("ihealth", "iHealth: answers of its API", sniff, read)
