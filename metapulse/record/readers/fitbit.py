"""Fitbit in Google Takeout: JSON of ``Global Export Data`` and the CSV twins beside it, under any name of the root.

Stamps of JSON series are UTC, month first with a year of two digits; those of sleep and exercise are local. The same
day may be there in both encodings, which the store finds. Steps, energy and distance are per minute; what comes once
a day is of a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import MINUTE, US, Clock, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_table, json_items, number, number_noted
from metapulse.record.schema import Device, Row

FITBIT = Device("Fitbit")
UTC = Clock(order="mdy")  # of the series
#: Beginning of a JSON file's name → metric, unit, minutes that a value covers (0: an instant, -1: a day), code.
SERIES: dict[str, tuple[str, str | None, int, str | None]] = {
    "heart_rate": ("heart_rate", "bpm", 0, None),
    "steps": ("steps", None, 1, None),
    "calories": ("total_energy", "kcal", 1, None),
    "distance": ("distance", "cm", 1, None),
    "sedentary_minutes": ("sedentary_minutes", "min", -1, None),
    "lightly_active_minutes": ("active_minutes", "min", -1, "lightly"),
    "moderately_active_minutes": ("active_minutes", "min", -1, "fairly"),
    "very_active_minutes": ("active_minutes", "min", -1, "very"),
    "resting_heart_rate": ("resting_heart_rate", "bpm", -1, None),
    "demographic_vo2_max": ("vo2max", None, -1, None),
}
#: Column of a CSV twin, in lower case → metric, unit, minutes that a value covers.
TWINS: dict[str, tuple[str, str | None, int]] = {
    "beats per minute": ("heart_rate", "bpm", 0),
    "steps": ("steps", None, 1),
    "calories": ("total_energy", "kcal", 1),
    "distance": ("distance", "m", 1),
    "floors": ("floors", None, 1),
    "rmssd": ("hrv_rmssd", "ms", 0),
    "average_value": ("spo2", "%", -1),
    "daily_respiratory_rate": ("respiratory_rate", "/min", -1),
    "weight grams": ("weight", "g", 0),
    "resting_heart_rate": ("resting_heart_rate", "bpm", -1),
    "overall_score": ("sleep_score", None, -1),
    "stress_score": ("stress", None, -1),
    "demographic_vo2max": ("vo2max", None, -1),
    "temperature": ("skin_temperature", "Cel", 0),
    "oxygen saturation percentage": ("spo2", "%", 0),
}
TIMES = ("timestamp", "recorded_time", "date", "date_time")
STAGES = {name: name for name in ("light", "deep", "rem", "asleep", "restless", "awake")} | {"wake": "awake"}
SUMMARY = (
    ("minutesAsleep", "sleep_duration"),
    ("timeInBed", "time_in_bed"),
    ("minutesToFallAsleep", "sleep_latency"),
    ("efficiency", "sleep_efficiency"),
)
_JSON = re.compile(r"[\[,\n]\s*\{\s*\"(dateTime|logId|activityName|weight)\"\s*:")
_STAMP = re.compile(r'"dateTime"\s*:\s*"\d\d/\d\d/\d\d \d\d:\d\d:\d\d"')


def sniff(sample: Sample) -> str:
    """Series with stamps as 04/22/19 04:00:05; sleep, exercise and weight with a log id; twins by their columns."""
    head = sample.json[:4096]
    if head.startswith("[") and _JSON.search(head):
        if _STAMP.search(head):
            return "a series of dateTime and value, with stamps as Takeout writes Fitbit's"
        if '"dateOfSleep"' in head and '"levels"' in head:
            return "nights with logId, dateOfSleep and levels"
        if '"logId"' in head and ('"activityName"' in head or '"bmi"' in head):
            return "exercises or weights with a logId"
    if sample.lines and _twin(sample.lines[0].lower().split(",")):
        return "its header is that of a series of Fitbit's in Takeout"
    return ""


def _twin(header: list[str]) -> bool:
    cells = {cell.strip().strip('"') for cell in header}
    timed = bool(cells & {*TIMES} - {"date"}) or ("date" in cells and len(cells) <= 8)  # "date" is in many tables
    others = {"device", "metric", "value", "id", "picture", "meal type"}
    return bool(cells & TWINS.keys()) and timed and not cells & others


def read(context: Context) -> Iterator[Row]:
    """JSON or CSV."""
    if context.is_json():
        context.clock = Clock(context.options.zone, "mdy", asked=context.clock.asked)
        for at, item in json_items(context):
            rows = list(_item(context, item, at)) if isinstance(item, dict) else []
            yield from rows
            if not rows:
                context.skip(_why_not(item))
    else:
        yield from _csv(context)


def _why_not(item: Any) -> str:
    if isinstance(item, dict) and "dateTime" in item and "value" in item:
        return "a series without a metric of ours, or no value in it"
    return "nothing that is known to be measured"


def _item(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """One element of a file: a value of a series, a night, an exercise, a weight."""
    if "levels" in item or "dateOfSleep" in item:
        yield from night(context, item, at)
    elif "activityName" in item:
        yield from exercise(context, item, at)
    elif "dateTime" in item:
        yield from _sample(context, item, at)
    elif "weight" in item and "date" in item:
        yield from weight(context, item, at)


def _sample(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    name = context.file.name.rsplit("/", 1)[-1]
    stem = re.split(r"[-.(]", name, maxsplit=1)[0].strip().lower()
    value = given = item.get("value")
    marks: tuple[str, ...] = ()
    if isinstance(given, dict):
        if "bpm" in given:
            stem, value = "heart_rate", given["bpm"]
            marks = ("low_confidence",) if number(given.get("confidence")) == 0 else ()
        elif "demographicVO2Max" in given:
            stem, value = "demographic_vo2_max", given["demographicVO2Max"]
        else:
            stem, value = "resting_heart_rate", given.get("value")
    metric, unit, minutes, code = SERIES.get(stem, ("", None, 0, None))
    amount, stamp = number(value), UTC.read(str(item.get("dateTime")))
    if not metric or amount is None or stamp is None or (stem == "resting_heart_rate" and not amount):  # 0: not known
        return
    yield _row(context, metric, stamp, amount, unit, at, minutes, code, FITBIT, marks)


def _row(
    context: Context, metric: str, stamp: Stamp, value: float, unit: str | None, at: int, minutes: int, code: str |
    None = None, device: Device = FITBIT, marks: tuple[str, ...] = (),
) -> Row:  # fmt: skip
    """A value of a series: of an instant, of some minutes, or of the person's day (-1), whose date is the stamp's."""
    if minutes < 0:
        offset = stamp.offset_min or 0
        stamp = context.clock.day((stamp.start + offset * MINUTE) // (1440 * MINUTE))
        return Row(
            metric, stamp.start, value, unit, at, stamp.end, stamp.offset_min, code, device, (*stamp.marks, *marks)
        )
    end = stamp.start + minutes * MINUTE if minutes else None
    return Row(metric, stamp.start, value, unit, at, end, context.clock.offset(stamp.start), code, device, marks)


def night(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """Stages, short awakenings (which lie within stages), and the totals of a night or a nap; stamps are local."""
    start, end = (context.clock.read(str(item.get(name))) for name in ("startTime", "endTime"))
    if start is None or end is None:
        return
    code = None if item.get("mainSleep", item.get("isMainSleep", True)) else "nap"
    for name, metric in SUMMARY:
        if (value := number_noted(context, item, name)) is not None:
            yield Row(metric, start.start, value, None, at, end.start, start.offset_min, code, FITBIT, start.marks)
    levels = item.get("levels")
    for name in ("data", "shortData"):
        last = start.start
        parts = levels.get(name) if isinstance(levels, dict) else None
        for part in parts if isinstance(parts, list) else []:
            part = part if isinstance(part, dict) else {}
            stamp, seconds = context.clock.read(str(part.get("dateTime")), after=last), number(part.get("seconds"))
            if stamp is None or seconds is None or not 0 < seconds < 172_800:
                context.note("a stage without a time or a length")
                continue
            until = stamp.start + round(seconds * US)
            stage = STAGES.get(str(part.get("level")), "unknown")
            last = until if name == "data" else last  # stages follow one another: that tells which 02:30 it is
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


def weight(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """The unit is the account's and is not written; the height that weight and BMI imply tells which it is."""
    stamp = context.clock.read(f"{item['date']} {item.get('time') or ''}".strip())
    weight, bmi = number(item["weight"]), number_noted(context, item, "bmi")
    if stamp is None or weight is None:
        return
    unit, marks = weight_unit(weight, bmi), stamp.marks
    marks = (*marks, "unit_assumed")
    manual = ("manual",) if str(item.get("source")) in ("API", "Web", "Manual") else ()
    yield Row("weight", stamp.start, weight, unit, at, None, stamp.offset_min, None, FITBIT, (*marks, *manual))
    if bmi:
        yield Row("bmi", stamp.start, bmi, None, at, None, stamp.offset_min, None, FITBIT, (*stamp.marks, *manual))


def weight_unit(weight: float, bmi: float | None) -> str:
    """Kilograms, pounds or stones: in which the height √(weight / BMI) is a person's."""
    for unit, kg in (("kg", 1.0), ("lb", 0.45359237), ("stone", 6.35029318)):
        if bmi and 1.2**2 <= weight * kg / bmi <= 2.2**2:
            return unit
    return "kg"


def _csv(context: Context) -> Iterator[Row]:
    """A twin: columns by name. Resting heart rate has the column of heart rate; the file's name tells them apart."""
    resting = "resting" in context.file.name.rsplit("/", 1)[-1].lower()
    for line, cells in csv_table(context, fold=str.lower):
        text = next((cells[name] for name in TIMES if cells.get(name)), "")
        stamp = context.clock.read(text)
        if stamp is None:
            context.skip("a stamp that is no time")
            continue
        source = cells.get("data source", "")
        device = Device("Fitbit", source) if source else FITBIT
        given = False
        for name, (metric, unit, minutes) in TWINS.items():
            value = number_noted(context, cells, name)
            if value is None or (metric == "resting_heart_rate" and not value):
                continue
            given = True
            if metric == "heart_rate" and resting:
                metric = "resting_heart_rate"
            row = _row(context, metric, stamp, value, unit, line, minutes, None, device, stamp.marks)
            yield row if minutes < 0 or stamp.end is None else row._replace(end=stamp.end)
        if not given:
            context.skip("no value")


READER = Reader("fitbit", "Fitbit: Google Takeout, JSON and CSV", sniff, read, by_name=True)
