"""Withings: answers of its API as JSON, as programs that fetch one's data keep them.

One answer has a body with measurements in groups, days, a night's stages, nights, workouts, or a day's minutes by
seconds since 1970. Values of measurements are whole numbers with a power of ten. A group of category 2 is a goal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.errors import ConfigError
from metapulse.record.clock import US, Clock, epoch, zone
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import json_items, number, number_noted
from metapulse.record.schema import Device, Row

Known = dict[str, tuple[str, str | None, str | None]]  # name → metric, unit, code
#: Type of a measurement → metric, unit.
TYPES: dict[int, tuple[str, str]] = {
    1: ("weight", "kg"), 4: ("height", "m"), 5: ("lean_mass", "kg"), 6: ("body_fat", "%"), 8: ("fat_mass", "kg"),
    9: ("bp_diastolic", "mmHg"), 10: ("bp_systolic", "mmHg"), 11: ("heart_rate", "bpm"),
    12: ("body_temperature", "Cel"), 54: ("spo2", "%"), 71: ("body_temperature", "Cel"),
    73: ("skin_temperature", "Cel"), 76: ("muscle_mass", "kg"), 77: ("body_water_mass", "kg"),
    88: ("bone_mass", "kg"), 91: ("pulse_wave_velocity", "m/s"), 123: ("vo2max", "mL/kg/min"),
}  # fmt: skip
DAY: Known = {
    "steps": ("steps_daily", None, None), "distance": ("distance", "m", "daily"),
    "elevation": ("floors", None, "daily"), "calories": ("active_energy", "kcal", "daily"),
    "totalcalories": ("total_energy", "kcal", "daily"),
    "soft": ("active_minutes", "s", "lightly"), "moderate": ("active_minutes", "s", "fairly"),
    "intense": ("active_minutes", "s", "very"), "hr_average": ("heart_rate", "bpm", "average"),
    "hr_min": ("heart_rate", "bpm", "minimum"), "hr_max": ("heart_rate", "bpm", "maximum"),
}  # fmt: skip
MINUTES: Known = {
    "steps": ("steps", None, None), "distance": ("distance", "m", None), "elevation": ("floors", None, None),
    "calories": ("active_energy", "kcal", None), "stroke": ("swimming_strokes", None, None),
}  # fmt: skip
MOMENTS: Known = {  # of a day's minutes and of a night's stages
    "heart_rate": ("heart_rate", "bpm", None), "hr": ("heart_rate", "bpm", None),
    "rr": ("respiratory_rate", "/min", None),
    "spo2_auto": ("spo2", "%", None), "rmssd": ("hrv_rmssd", "ms", None), "sdnn_1": ("hrv_sdnn", "ms", None),
}  # fmt: skip
NIGHT: Known = {
    "wakeupduration": ("sleep_awake", "s", None), "lightsleepduration": ("sleep_light", "s", None),
    "deepsleepduration": ("sleep_deep", "s", None), "remsleepduration": ("sleep_rem", "s", None),
    "durationtosleep": ("sleep_latency", "s", None), "total_sleep_time": ("sleep_duration", "s", None),
    "total_timeinbed": ("time_in_bed", "s", None), "sleep_efficiency": ("sleep_efficiency", "1", None),
    "sleep_score": ("sleep_score", None, None), "hr_average": ("heart_rate", "bpm", "average"),
    "hr_min": ("heart_rate", "bpm", "minimum"), "hr_max": ("heart_rate", "bpm", "maximum"),
    "rr_average": ("respiratory_rate", "/min", "average"),
}  # fmt: skip
WORKOUT: Known = {
    "calories": ("workout_energy", "kcal", None), "distance": ("workout_distance", "m", None),
    "hr_average": ("workout_hr_mean", "bpm", None), "hr_max": ("workout_hr_max", "bpm", None),
}  # fmt: skip
ABSENT = ("sleep_rem", "sleep_deep", "sleep_light", "heart_rate", "respiratory_rate", "spo2")  # where 0 is "not known"
STATES = ("awake", "light", "deep", "rem", "unknown", "unknown")
SPORTS = {
    1: "walking",
    2: "running",
    3: "hiking",
    6: "cycling",
    7: "swimming",
    16: "strength",
    18: "elliptical",
    28: "yoga",
}
PLACES = {16: "tracker", 32: "sleep monitor"}  # models of nights
ATTRIBUTES = {
    1: ("low_confidence",),
    2: ("manual",),
    4: ("manual",),
    15: ("low_confidence",),
}  # 1, 15: whose is not sure
_BODY = re.compile(
    r'"measuregrps"\s*:|"grpid"\s*:[^{}]*"measures"\s*:'
    r'|"activities"\s*:\s*\[[^{}]{0,99}\{[^{}]*"(soft|moderate|intense)"\s*:'
    r'|"series"\s*:\s*(\{\s*"\d{9,10}"\s*:|\[[^{}]{0,99}\{[^\[\]]{0,600}"startdate"\s*:)'
)


def sniff(sample: Sample) -> str:
    """By the lists that only a body of Withings has."""
    head = sample.json[:8192]
    return "a body with lists as Withings' API answers them" if _BODY.search(head) else ""


def read(context: Context) -> Iterator[Row]:
    """Each answer's entries; every one of them is a row of the file."""
    line = 0
    for _, answer in json_items(context, within=("body",), series=("measuregrps", "activities", "series")):
        entries = list(_entries(answer))
        context.seen(max(len(entries) - 1, 0))
        if not entries:
            context.skip("an answer without measurements")
        for kind, entry, body in entries:
            rows = list(_entry(context, kind, entry, body))
            yield from (row._replace(row=line) for row in rows)
            if not rows:
                goal = kind == "measuregrps" and entry.get("category") == 2
                context.skip("a goal, which is no measurement" if goal else "nothing that is known to be measured")
            line += 1


def _entries(answer: Any) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(list's name, entry, body) of an answer, or of a body without its answer."""
    whole: dict[str, Any] = answer if isinstance(answer, dict) else {}
    if "measures" in whole:  # a group that a program took out of its answer
        yield "measuregrps", whole, {}
    given = whole.get("body", whole)
    body: dict[str, Any] = given if isinstance(given, dict) else {}
    for kind in ("measuregrps", "activities", "series"):
        found = body.get(kind)
        if isinstance(found, dict):  # minutes by seconds since 1970
            found = [{**entry, "at": at} if isinstance(entry, dict) else {} for at, entry in found.items()]
        for entry in found if isinstance(found, list) else ():
            yield kind, entry if isinstance(entry, dict) else {}, body


def _entry(context: Context, kind: str, entry: dict[str, Any], body: dict[str, Any]) -> Iterator[Row]:
    told = _clock(entry.get("timezone")) or context.clock
    model = entry.get("model", body.get("model"))
    name = PLACES.get(model, str(model)) if isinstance(model, int) else model
    serial = entry.get("deviceid") or entry.get("hash_deviceid")
    device = Device("Withings", name[:60] if isinstance(name, str) else None, unit=str(serial)[:60] if serial else None)
    begin, end = (_instant(entry.get(name)) for name in ("startdate", "enddate"))
    data = entry.get("data")
    if kind == "measuregrps":
        yield from _measures(context, told, entry, device)
    elif kind == "activities":
        stamp = told.read(str(entry.get("date")))
        if stamp is not None:
            whole = Row("", stamp.start, end=stamp.end, offset_min=stamp.offset_min, device=device, quality=stamp.marks)
            yield from _named(context, DAY, entry, whole)
    elif (at := _instant(entry.get("at"))) is not None:
        seconds = number(entry.get("duration"))
        until = at + round(seconds * US) if seconds is not None and 0 <= seconds < 1e6 else None
        whole = Row("", at, end=until, offset_min=told.offset(at), device=device)
        yield from _named(context, MINUTES, entry, whole)
        yield from _named(context, MOMENTS, entry, whole._replace(end=None))
    elif begin is not None and end is not None:
        whole = Row("", begin, end=end, offset_min=told.offset(begin), device=device)
        if "state" in entry:
            yield from _stage(context, told, entry, whole)
        elif "category" in entry:
            sport = number(entry["category"])
            code = SPORTS.get(int(sport), "unknown") if sport is not None else "unknown"
            yield whole._replace(metric="workout", value=(end - begin) / US, unit="s", code=code, quality=("mapped",))
            yield from (row._replace(code=code) for row in _named(context, WORKOUT, data, whole))
        else:
            yield from _named(context, NIGHT, data, whole)


def _measures(context: Context, clock: Clock, entry: dict[str, Any], device: Device) -> Iterator[Row]:
    """A group of measurements of one moment."""
    at, found = _instant(entry.get("date")), entry.get("measures")
    if at is None or entry.get("category") == 2 or not isinstance(found, list):
        return
    attribute = number(entry.get("attrib"))
    marks = ATTRIBUTES.get(int(attribute), ()) if attribute is not None else ()
    for measure in found:
        measure = measure if isinstance(measure, dict) else {}
        value, power, kind = (number(measure.get(name)) for name in ("value", "unit", "type"))
        metric, unit = TYPES.get(int(kind), ("", "")) if kind is not None else ("", "")
        if metric and value is not None and power is not None and -20 <= power <= 20:
            scaled = value / 10 ** -int(power) if power < 0 else value * 10 ** int(power)
            yield Row(metric, at, scaled, unit, 0, None, clock.offset(at), None, device, marks)
        else:
            context.note("a measurement without a value, or of a type that is no metric of ours")


def _stage(context: Context, clock: Clock, entry: dict[str, Any], whole: Row) -> Iterator[Row]:
    """A stage, and what was measured in it by seconds since 1970."""
    state = number(entry["state"])
    code = STATES[int(state)] if state is not None and 0 <= state < len(STATES) else "unknown"
    yield whole._replace(metric="sleep_stage", code=code)
    for name in MOMENTS:
        found = entry.get(name)
        for text, value in found.items() if isinstance(found, dict) else ():
            if (at := _instant(text)) is None:
                context.note(f"{name}: a value without a time")
            else:
                moment = whole._replace(start=at, end=None, offset_min=clock.offset(at))
                yield from _named(context, MOMENTS, {name: value}, moment)


def _named(context: Context, known: Known, given: Any, whole: Row) -> Iterator[Row]:
    """The numbers that have a name that is known."""
    for name, (metric, unit, code) in known.items() if isinstance(given, dict) else ():
        value = number_noted(context, given, name)
        if value == -1:
            context.note(f"{name}: a code for a value that could not be measured")
        elif value is not None and (value or metric not in ABSENT):
            yield whole._replace(metric=metric, value=value, unit=unit, code=code)


def _instant(given: Any) -> int | None:
    return epoch(given) if isinstance(given, (int, float, str)) else None


def _clock(name: Any) -> Clock | None:
    """The clock of an entry's own zone; None if it names none."""
    try:
        return Clock(zone(name)) if isinstance(name, str) and name else None
    except ConfigError:
        return None


READER = Reader("withings_api", "Withings: answers of its API", sniff, read)
