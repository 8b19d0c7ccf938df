"""Fitbit's Web API: one answer a file, as programs save it.

An object with a list by day ("activities-steps"), with the minutes of a day beside it ("activities-steps-intraday",
whose times have no date), or with nights, weights, workouts. All times are the person's, without a zone. Distances are
in the unit of the request, which the file does not say: kilometres unless it asked for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from metapulse.record.clock import MINUTE, US, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.fitbit_items import FITBIT, around_of, exercise, night, usual_of, weight
from metapulse.record.readers.text import json_items, noted, number, number_noted
from metapulse.record.schema import Row

#: After "activities-" (or "activities-tracker-") → metric of a day, metric of a minute, unit, code.
SERIES: dict[str, tuple[str, str, str | None, str | None]] = {
    "heart": ("resting_heart_rate", "heart_rate", "bpm", None),
    "steps": ("steps_daily", "steps", None, None),
    "distance": ("distance", "distance", "km", None),
    "calories": ("total_energy", "total_energy", "kcal", None),
    "caloriesBMR": ("basal_energy", "basal_energy", "kcal", None),
    "activityCalories": ("active_energy", "active_energy", "kcal", None),
    "floors": ("floors", "floors", None, None),
    "elevation": ("elevation_gain", "elevation_gain", "m", None),
    "minutesSedentary": ("sedentary_minutes", "sedentary_minutes", "min", None),
    "minutesLightlyActive": ("active_minutes", "active_minutes", "min", "lightly"),
    "minutesFairlyActive": ("active_minutes", "active_minutes", "min", "fairly"),
    "minutesVeryActive": ("active_minutes", "active_minutes", "min", "very"),
}
#: List → member of an item's value, metric, unit, code.
DAILY: dict[str, list[tuple[str, str, str | None, str | None]]] = {
    "hrv": [("dailyRmssd", "hrv_rmssd", "ms", None)],
    "br": [("breathingRate", "respiratory_rate", "/min", None)],
    "tempSkin": [("nightlyRelative", "skin_temperature_deviation", "Cel", None)],
    "cardioScore": [("vo2Max", "vo2max", None, None)],
    "spo2": [("avg", "spo2", "%", None), ("min", "spo2", "%", "minimum"), ("max", "spo2", "%", "maximum")],
}
#: List → metric and unit of the minutes in its items.
MINUTES = {"hrv": ("hrv_rmssd", "ms"), "spo2": ("spo2", "%")}
#: Of a day's summary.
SUMMARY: dict[str, tuple[str, str | None, str | None]] = {
    "steps": ("steps_daily", None, None),
    "caloriesOut": ("total_energy", "kcal", None),
    "caloriesBMR": ("basal_energy", "kcal", None),
    "activityCalories": ("active_energy", "kcal", None),
    "floors": ("floors", None, None),
    "restingHeartRate": ("resting_heart_rate", "bpm", None),
    "sedentaryMinutes": ("sedentary_minutes", "min", None),
    "lightlyActiveMinutes": ("active_minutes", "min", "lightly"),
    "fairlyActiveMinutes": ("active_minutes", "min", "fairly"),
    "veryActiveMinutes": ("active_minutes", "min", "very"),
}
LOGS = ("sleep", "weight", "fat", "activities")
#: Lists whose elements stand for themselves.
LISTS = {*LOGS, *DAILY, "dataset", "minutes", *(f"activities-{of}{kind}" for kind in SERIES for of in ("", "tracker-"))}
BARE = LISTS - {*LOGS, *DAILY, "minutes"}
OLD_STAGES = {1: "asleep", 2: "restless", 3: "awake"}
NO_ZERO = ("resting_heart_rate", "heart_rate", "hrv_rmssd", "spo2", "respiratory_rate")
_LISTS = re.compile(r'"activities-[A-Za-z-]+"\s*:\s*[\[{]|"(hrv|br|spo2|tempSkin|cardioScore)"\s*:\s*\[\s*(\{\s*"|\])')
#: The only answers without a list's name; also several in an array.
_SATURATION = re.compile(r'[\[\s]*\{\s*"dateTime"\s*:\s*"[\d-]+"\s*,\s*"(value"\s*:\s*\{\s*"(avg|min|max)"|minutes")')


def sniff(sample: Sample) -> str:
    """By the members that only its answers have."""
    head = sample.json[:16384]
    if _SATURATION.match(head):
        return "oxygen saturation of days, as Fitbit's Web API answers"
    if not head.startswith("{"):
        return ""
    if _LISTS.match(head[1:].lstrip()) or re.search(r'"activities-\w+(-intraday)?"\s*:\s*[\[{]', head):
        return "series by day or minute, as Fitbit's Web API answers"
    if '"caloriesBMR"' in head or '"activityParentId"' in head or '"totalMinutesAsleep"' in head:
        return "a day's summary, as Fitbit's Web API answers"
    if re.search(r'"(sleep|weight|fat|activities)"\s*:\s*\[', head) and '"logId"' in head:
        return "nights, weights or workouts with a logId, as Fitbit's Web API answers"
    return "an answer of Fitbit's Web API without a night" if re.match(r'\{\s*"sleep"\s*:\s*\[\s*\]', head) else ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every answer. What an answer holds is counted row by row, besides the answer itself."""
    at, usual = 0, usual_of(context)
    for _, item in json_items(context, within=LOGS, series=LISTS, bare=BARE):
        context.skip(around_of(item))
        for name, part, dates in _parts(item) if isinstance(item, dict) else ():
            at += 1
            context.seen()
            given = False
            for row in _rows(context, name, part, dates, at, usual):
                given = True
                yield row
            if not given:
                context.skip(_why_not(name, part, dates))


def _parts(answer: dict[str, Any]) -> Iterator[tuple[str, Any, set[str]]]:
    """(name, item, dates that the answer names) of all that an answer lists."""
    named = [
        d for key, given in answer.items() if key != "goals" and isinstance(given, list) for d in map(_date, given)
    ]
    dates = {date for date in named if date}
    for name, given in answer.items():
        if name in ("dateTime", "goals", "value") or (name == "minutes" and "dateTime" in answer):
            continue
        if name.endswith("-intraday") and isinstance(given, dict) and isinstance(given.get("dataset"), list):
            step = given.get("datasetInterval"), given.get("datasetType")
            yield from ((name, (minute, step), dates) for minute in given["dataset"])
        elif isinstance(given, list):
            yield from ((name, part, dates) for part in given)
        elif name == "summary":
            yield name, given, dates
    if "dateTime" in answer and (isinstance(answer.get("value"), dict) or isinstance(answer.get("minutes"), list)):
        yield "spo2", answer, dates  # whose answer is its only item


def _date(part: Any) -> str:
    given = part.get("dateTime", part.get("startDate")) if isinstance(part, dict) else None
    return given[:10] if isinstance(given, str) else ""


def _why_not(name: str, part: Any, dates: set[str]) -> str:
    if name == "summary" or name.endswith("-intraday"):
        return "no value" if len(dates) == 1 else "of a day that the answer does not name, or a sum of its nights"
    if name == "activities-heart":
        return "no resting heart rate"
    return "no value" if isinstance(part, dict) else "no object"


def _rows(context: Context, name: str, part: Any, dates: set[str], at: int, usual: Callable[[], str]) -> Iterator[Row]:
    """The values of one item."""
    kind = name.removeprefix("activities-").removeprefix("tracker-").removesuffix("-intraday")
    if isinstance(part, tuple):
        yield from _minute(context, kind, part, dates, at)
    elif not isinstance(part, dict):
        return
    elif name == "sleep":
        yield from night(context, part, at)
        yield from _old_night(context, part, at)
    elif name == "weight":
        yield from weight(context, part, at, usual) if "weight" in part and "date" in part else ()
    elif name == "fat":
        stamp, fat = _stamp(context, part.get("date"), part.get("time")), number(part.get("fat"))
        if stamp and fat:
            yield _row("body_fat", stamp, fat, "%", at)
    elif name == "activities":
        yield from exercise(context, part, at) if "activityName" in part else _workout(context, part, at)
    elif name == "summary":
        yield from _summary(context, part, dates, at)
    elif kind in SERIES and name != kind:
        yield from _day(context, part, [("value", SERIES[kind][0], *SERIES[kind][2:])], at)
    elif name in DAILY:
        yield from _day(context, part, DAILY[name], at)
        minutes = part.get("minutes") if name in MINUTES else None
        for minute in minutes if isinstance(minutes, list) else []:
            given = minute.get("value") if isinstance(minute, dict) else None
            given = given.get("rmssd") if isinstance(given, dict) and name == "hrv" else given
            value = noted(context, given, name)
            if value and (stamp := _stamp(context, minute.get("minute"))):
                yield _row(MINUTES[name][0], stamp, value, MINUTES[name][1], at)


def _day(
    context: Context, part: dict[str, Any], members: list[tuple[str, str, str | None, str | None]], at: int
) -> Iterator[Row]:
    """A day of a series, and the minutes in it."""
    stamp, given = _stamp(context, part.get("dateTime")), part.get("value")
    for member, metric, unit, code in members if stamp else []:
        value = noted(context, given.get(member) if isinstance(given, dict) else given, metric)
        if metric == "resting_heart_rate":  # a number in its place is a mean over the time that was asked for
            value = number(given.get("restingHeartRate")) if isinstance(given, dict) else None
        if stamp and value is not None and (value or metric not in NO_ZERO):
            yield _row(metric, stamp, value, unit, at, code)


def _minute(context: Context, kind: str, part: tuple[Any, tuple[Any, Any]], dates: set[str], at: int) -> Iterator[Row]:
    """A value of the minutes of a day, which another list of the answer names."""
    minute, (interval, unit_of_time) = part
    if not isinstance(minute, dict) or len(dates) != 1 or kind not in SERIES:
        return
    stamp, value = _stamp(context, next(iter(dates)), minute.get("time")), number(minute.get("value"))
    _, metric, unit, code = SERIES[kind]
    if stamp is None or stamp.end is not None or value is None or (not value and metric in NO_ZERO):
        return
    length = (number(interval) or 0) * (US if unit_of_time == "second" else MINUTE)
    row = _row(metric, stamp, value, unit, at, code)
    if metric == "heart_rate":
        yield row
    elif 0 < length < 1e12:  # else it is not known how long it lasts, as that was torn off
        yield row._replace(end=stamp.start + round(length))


def _summary(context: Context, part: dict[str, Any], dates: set[str], at: int) -> Iterator[Row]:
    """The totals of a day: that of the workouts in the answer, which names no other."""
    stamp = _stamp(context, next(iter(dates))) if len(dates) == 1 else None
    if stamp is None:
        return
    given = False
    for name, (metric, unit, code) in SUMMARY.items():
        if (value := number_noted(context, part, name)) is not None and (value or metric not in NO_ZERO):
            given = True
            yield _row(metric, stamp, value, unit, at, code)
    distances = part.get("distances")
    for distance in distances if isinstance(distances, list) else []:
        total = isinstance(distance, dict) and distance.get("activity") == "total"
        if total and (value := number_noted(context, distance, "distance")) is not None:
            yield _row("distance", stamp, value, "km", at)
    if given:
        context.note("the day of a summary is that of its workouts")


def _workout(context: Context, part: dict[str, Any], at: int) -> Iterator[Row]:
    """An entry of a day's log; one that was typed in without a time is of the day."""
    time = None if part.get("hasStartTime") is False else part.get("startTime")
    stamp = _stamp(context, part.get("startDate"), time)
    if stamp is None:
        return
    length = number(part.get("duration"))
    end = stamp.start + round(length) * 1000 if length and length < 1e10 and stamp.end is None else stamp.end
    code = str(part.get("activityParentName") or part.get("name") or "unknown").strip().lower()[:60]
    row = _row("workout", stamp, length, "ms", at, code)._replace(end=end)
    yield row
    if energy := number_noted(context, part, "calories"):
        yield row._replace(metric="workout_energy", value=energy, unit="kcal")
    if distance := number_noted(context, part, "distance"):
        yield row._replace(metric="workout_distance", value=distance, unit="km", quality=(*row.quality, "unit_assumed"))


def _old_night(context: Context, part: dict[str, Any], at: int) -> Iterator[Row]:
    """Minutes of nights before 2017: runs of one stage. Their times have no date."""
    start, minutes = _stamp(context, part.get("startTime")), part.get("minuteData")
    if start is None or not isinstance(minutes, list):
        return
    row = _row("sleep_stage", start, None, None, at)
    values = [number(minute.get("value")) if isinstance(minute, dict) else None for minute in minutes]
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[first]:
            stage = OLD_STAGES.get(int(values[first] or 0), "unknown")
            yield row._replace(start=start.start + first * MINUTE, end=start.start + place * MINUTE, code=stage)
            first = place


def _stamp(context: Context, date: Any, time: Any = None) -> Stamp | None:
    return context.clock.read(f"{date}T{time}" if isinstance(time, str) else date) if isinstance(date, str) else None


def _row(metric: str, stamp: Stamp, value: float | None, unit: str | None, at: int, code: str | None = None) -> Row:
    marks = (*stamp.marks, "unit_assumed") if unit == "km" else stamp.marks
    return Row(metric, stamp.start, value, unit, at, stamp.end, stamp.offset_min, code, FITBIT, marks)


READER = Reader("fitbit_web", "Fitbit: answers of its Web API", sniff, read)
