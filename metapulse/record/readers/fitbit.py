"""Fitbit in Google Takeout: JSON of ``Global Export Data`` and the CSV twins beside it, under any name of the root.

Stamps of JSON series are UTC, month first with a year of two digits; those of sleep and exercise are local. The same
day may be there in both encodings, which the store finds. Steps, energy and distance are per minute; what comes once
a day is of a day. What a series is of the file's name tells, but its values have to look so: of heart rate they are
objects, of steps texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from metapulse.record.clock import MINUTE, Clock, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.fitbit_items import FITBIT, exercise, night, usual_of, weight
from metapulse.record.readers.text import csv_rows, csv_table, json_items, number, number_noted
from metapulse.record.schema import Device, Row

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
SHAPED = ("heart_rate", "resting_heart_rate", "demographic_vo2_max")  # whose values are objects, not texts
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
ITEM_TIMES = ("dateTime", "startTime", "endTime", "date")  # of the JSON's items
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
        usual = usual_of(context)
        for at, item in json_items(context):
            rows = list(_item(context, item, at, usual)) if isinstance(item, dict) else []
            yield from rows
            if not rows:
                context.skip(_why_not(context, item))
    else:
        yield from _csv(context)


def _why_not(context: Context, item: Any) -> str:
    if isinstance(item, dict) and "dateTime" in item and "value" in item and _measured(context, item) is None:
        if _stem(context) in SHAPED and number(item["value"]) is not None:
            return "a value of another series than the file's name tells"
        return "a series without a metric of ours, or no value in it"
    stamps = [item[name] for name in ITEM_TIMES if name in item] if isinstance(item, dict) else []
    if any(context.clock.read(str(stamp)) is None for stamp in stamps):
        return "a stamp that is no time"
    return "nothing that is known to be measured"


def _item(context: Context, item: dict[str, Any], at: int, usual: Callable[[], str]) -> Iterator[Row]:
    """One element of a file: a value of a series, a night, an exercise, a weight."""
    if "levels" in item or "dateOfSleep" in item:
        yield from night(context, item, at)
    elif "activityName" in item:
        yield from exercise(context, item, at)
    elif "dateTime" in item:
        yield from _sample(context, item, at)
    elif "weight" in item and "date" in item:
        yield from weight(context, item, at, usual)


def _sample(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    measured, stamp = _measured(context, item), UTC.read(str(item.get("dateTime")))
    if measured is not None and stamp is not None:
        (metric, unit, minutes, code), amount, marks = measured
        yield _row(context, metric, stamp, amount, unit, at, minutes, code, FITBIT, marks)


def _stem(context: Context) -> str:
    """What the file's name begins with."""
    return re.split(r"[-.(]", context.file.name.rsplit("/", 1)[-1], maxsplit=1)[0].strip().lower()


def _measured(
    context: Context, item: dict[str, Any]
) -> tuple[tuple[str, str | None, int, str | None], float, tuple[str, ...]] | None:
    """(what, how much, marks) of an item of a series; None if that is nothing that is known."""
    stem = _stem(context)
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
    elif stem in SHAPED:
        return None
    series, amount = SERIES.get(stem), number(value)
    if series is None or amount is None or (stem == "resting_heart_rate" and not amount):  # 0: not known
        return None
    return series, amount, marks


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


def _csv(context: Context) -> Iterator[Row]:
    """A twin: columns by name. Resting heart rate has the column of heart rate; the file's name tells them apart."""
    resting = "resting" in context.file.name.rsplit("/", 1)[-1].lower()
    first = next((cells for _, cells in csv_rows(context, count=False, as_written=True)), [])
    timed = [cell.lower() for cell in first if cell.lower() in TIMES]  # by which a header below is known as one
    for line, cells in csv_table(context, *timed[:1], fold=str.lower):
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
