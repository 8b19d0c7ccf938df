"""Google Fit: JSON of *All Data* and *All Sessions* in Takeout, and answers of the REST interface.

Both hold points of a data type from a data source, "raw:com.google.step_count.delta:app:maker:model:…". Times are
nanoseconds since 1970, as numbers in Takeout and as texts in REST. What a raw source measured is there once more in
the derived one that merged it; its points name their origin, so that the store finds the repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from metapulse.record.clock import MINUTE, epoch, offset_minutes
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import vocabulary
from metapulse.record.readers.text import json_items, number
from metapulse.record.schema import NO_DEVICE, Device, Row

#: Data type without "com.google." → of its values: place, metric, unit, code.
TYPES = {
    kind: [(int(r["place"]), r["metric"], r["unit"] or None, r["code"] or None) for r in rows]
    for kind, rows in groupby(vocabulary("googlefit.csv"), key=itemgetter("type"))
}
NUTRIENTS = {
    "calories": ("energy_eaten", "kcal"),
    "carbs.total": ("carbohydrates", "g"),
    "protein": ("protein", "g"),
    "fat.total": ("fat", "g"),
    "dietary_fiber": ("fibre", "g"),
}
STAGES = {1: "awake", 2: "asleep", 3: "out_of_bed", 4: "light", 5: "deep", 6: "rem"}
#: Numbers of activities that are sleep → stage.
ASLEEP = {72: "asleep", 109: "light", 110: "deep", 111: "rem", 112: "awake"}
RESTING = {0: "in a vehicle", 3: "still", 4: "unknown", 5: "tilting"}
ACTIVITIES = {
    **{1: "biking", 2: "on foot", 7: "walking", 8: "running", 9: "aerobics", 10: "badminton", 12: "basketball"},
    **{14: "handbiking", 15: "mountain biking", 16: "road biking", 17: "spinning", 18: "stationary biking"},
    **{20: "boxing", 24: "dancing", 25: "elliptical", 32: "golf", 35: "hiking", 41: "circuit training"},
    **{44: "martial arts", 45: "meditation", 49: "pilates", 52: "rock climbing", 53: "rowing", 54: "rowing machine"},
    **{56: "jogging", 57: "running on sand", 58: "running on a treadmill", 62: "skating", 65: "skiing"},
    **{77: "stair climbing", 79: "strength training", 82: "swimming", 83: "swimming in a pool"},
    **{84: "swimming in open water", 87: "tennis", 88: "treadmill", 89: "volleyball", 93: "walking for fitness"},
    **{94: "nordic walking", 95: "walking on a treadmill", 97: "weightlifting", 100: "yoga", 101: "zumba"},
    **{108: "other", 113: "crossfit", 114: "high intensity interval training", 116: "walking with a stroller"},
}
AGGREGATES = {
    "calories.expended": ("workout_energy", "kcal"),
    "distance.delta": ("workout_distance", "m"),
    "heart_rate.summary": ("workout_hr_mean", "bpm"),
}
ARRAYS = ("Data Points", "point", "bucket", "session")
_NAMED_OFFSET = re.compile(r"\d\d_\d\d_\d\d(?:\.\d+)?([+-]\d\d_\d\d)[_.]")


def sniff(sample: Sample) -> str:
    """By the words of its points, sources and sessions."""
    head = sample.json[:16384]
    if re.search(r'"(Data Source|dataSourceId|originDataSourceId)"\s*:\s*"[a-z]*:?com\.google\.', head):
        return "points of a data source of com.google, as Google Fit keeps them"
    if '"fitnessActivity"' in head and '"startTime"' in head:
        return "a session with a fitnessActivity, as Google Fit keeps it"
    if '"startTimeMillis"' in head and ('"dataset"' in head or '"activityType"' in head):
        return "sessions or buckets of Google Fit, with times in milliseconds"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Points, buckets of points, and sessions; a file holds one of these."""
    above: dict[str, Any] = {}
    for at, item in json_items(context, *ARRAYS, above=above, series=("dataset",)):
        reasons: list[str] = []
        given = False
        for row in _item(context, item, _text(above.get("Data Source") or above.get("dataSourceId")), reasons):
            given = True
            yield row._replace(row=at)
        if not given:
            context.skip(min(reasons, default="no object of Google Fit"))
        for reason in reasons if given else ():  # of a bucket, whose other points are there
            context.note(reason)


def _item(context: Context, item: Any, source: str, reasons: list[str], depth: int = 0) -> Iterator[Row]:
    """A point, a session, or an object that holds points."""
    if not isinstance(item, dict):
        return
    parts = [part for name in ("dataset", *ARRAYS) if isinstance(item.get(name), list) for part in item[name]]
    if any(name in item for name in ("startTimeNanos", "endTimeNanos", "fitValue")):
        yield from _point(context, item, source, reasons)
    elif "fitnessActivity" in item or "activityType" in item:
        yield from _session(context, item, reasons)
    elif parts and depth < 4:  # a bucket, its data sets, their points
        source = _text(item.get("Data Source") or item.get("dataSourceId")) or source
        for part in parts:
            yield from _item(context, part, source, reasons, depth + 1)
    else:
        reasons.append("no points")


def _point(context: Context, point: dict[str, Any], source: str, reasons: list[str]) -> Iterator[Row]:
    start, end = (_epoch(point.get(name)) for name in ("startTimeNanos", "endTimeNanos"))
    start = end if start is None else start
    if start is None:
        reasons.append("a stamp that is no time")
        return
    origin = _text(point.get("originDataSourceId")) or source
    kind = (_text(point.get("dataTypeName")) or source.split(":")[min(1, source.count(":"))]).removeprefix(
        "com.google."
    )
    marks = ("manual",) if origin.endswith(":user_input") else ()
    whole = Row("", start, end=None if end == start else end, offset_min=context.clock.offset(start), quality=marks)
    whole = whole._replace(device=device(origin))
    listed = _list(point.get("fitValue")) or _list(point.get("value"))
    if None in listed:  # a broken one: which number is which, its place tells
        reasons.append("a value that could not be read")
        return
    values, given = [_value(value) for value in listed], False
    for row in _rows(whole, kind, values):
        given = True
        yield row
    if not given:
        reasons.append(_why_not(kind, values))


def _rows(whole: Row, kind: str, values: list[dict[str, Any]]) -> Iterator[Row]:
    """What the values of one point say."""
    amounts = [_number(value) for value in values]
    first = amounts[0] if amounts else None
    if kind in TYPES:
        for place, metric, unit, code in TYPES[kind]:
            amount = amounts[place] if place < len(amounts) else None
            if amount is not None and (amount or metric != "heart_rate"):  # a heart rate of 0 was not measured
                yield whole._replace(metric=metric, value=amount, unit=unit, code=code)
    elif kind == "blood_glucose" and first is not None:
        specimen = amounts[4] if len(amounts) > 4 else None  # 1: between cells; 2 and more: of blood
        metric = "glucose_blood" if specimen is not None and specimen >= 2 else "glucose"
        yield whole._replace(metric=metric, value=first, unit="mmol/L")
    elif kind == "nutrition" and values:
        eaten = _list(values[0].get("mapVal"))
        for part in eaten:
            known = NUTRIENTS.get(_text(part.get("key"))) if isinstance(part, dict) else None
            amount = _number(_value(part)) if known else None
            if known and amount is not None:
                yield whole._replace(metric=known[0], value=amount, unit=known[1])
    elif kind == "sleep.segment" and first is not None:
        yield whole._replace(metric="sleep_stage", code=STAGES.get(int(first), "unknown"))
    elif kind == "activity.segment" and first is not None and first not in RESTING:
        if first in ASLEEP:
            yield whole._replace(metric="sleep_stage", code=ASLEEP[int(first)])
        else:
            yield _workout(whole, ACTIVITIES.get(int(first), f"activity {first:g}"))


def _why_not(kind: str, values: list[dict[str, Any]]) -> str:
    first = _number(values[0]) if values else None
    if kind == "activity.segment" and first in RESTING:
        return f"no activity: {RESTING[int(first or 0)]}"
    known = kind in TYPES or kind in ("blood_glucose", "nutrition", "sleep.segment", "activity.segment")
    return "no value" if known else f"no metric of ours: {kind[:60]}"


def _session(context: Context, item: dict[str, Any], reasons: list[str]) -> Iterator[Row]:
    """A workout or a night: its totals and segments. The file's name may tell where the person's clock stood."""
    stamps = [_text(item.get(name)) for name in ("startTime", "endTime")]
    read = [stamp.start if (stamp := context.clock.read(text)) else None for text in stamps]
    start, end = (
        _epoch(item.get(f"{name}TimeMillis")) if at is None else at
        for name, at in zip(("start", "end"), read, strict=True)
    )
    if start is None or end is None:
        reasons.append("a stamp that is no time")
        return
    named = _NAMED_OFFSET.search(context.file.name)
    offset = offset_minutes(named[1].replace("_", ":")) if named else context.clock.offset(start)
    application = item.get("application")
    app = _text(application.get("packageName")) if isinstance(application, dict) else ""
    whole = Row("", start, end=end, offset_min=offset, device=Device(app=app[:100]) if app else NO_DEVICE)
    said = item.get("fitnessActivity")
    given = _text(said) if said is not None else number(item.get("activityType"))
    stage = ASLEEP.get(int(given)) if isinstance(given, float) else _stage(_text(given))
    if stage:
        segments = [part for part in _list(item.get("segment")) if isinstance(part, dict)] or [item]
        for part in segments:
            first, last = (context.clock.read(_text(part.get(name))) for name in ("startTime", "endTime"))
            code = _stage(_text(part.get("fitnessActivity"))) or stage
            yield whole._replace(
                metric="sleep_stage",
                start=first.start if first else start,
                end=last.start if last else end,
                code=code,
            )
        return
    name = ACTIVITIES.get(int(given), f"activity {given:g}") if isinstance(given, float) else _text(given)
    workout = _workout(whole, name.replace("_", " ").lower()[:60] or "unknown")
    active = number(_text(item.get("duration")).removesuffix("s"))
    yield workout if active is None else workout._replace(value=active / 60)
    for part in _list(item.get("aggregate")):
        name = _text(part.get("metricName")) if isinstance(part, dict) else ""
        known = AGGREGATES.get(name.removeprefix("com.google."))
        if known and (amount := number(part.get("floatValue", part.get("intValue")))):
            yield workout._replace(metric=known[0], value=amount, unit=known[1])


def _workout(whole: Row, name: str) -> Row:
    return whole._replace(metric="workout", value=((whole.end or whole.start) - whole.start) / MINUTE, code=name)


def _stage(name: str) -> str:
    """Of an activity's name; "" if it is no sleep."""
    folded = name.lower()
    if "sleep" not in folded:
        return ""
    return next((stage for stage in ("awake", "light", "deep", "rem") if stage in folded), "asleep")


def device(source: str) -> Device:
    """App, and maker, model and number of the device, of "raw:com.google.speed:app:LGE:Nexus 5:1:stream"."""
    parts = source.split(":")[2:]
    if not parts or not parts[0]:
        return NO_DEVICE
    if len(parts) >= 4 and re.match(r"[A-Za-z]", parts[1]):  # else the stream's name has colons, as times have
        return Device(parts[1] or None, parts[2] or None, unit=parts[3][:60] or None, app=parts[0][:100])
    return Device(app=parts[0][:100])


def _value(given: Any) -> dict[str, Any]:
    inner = given.get("value", given) if isinstance(given, dict) else None
    return inner if isinstance(inner, dict) else {}


def _number(value: dict[str, Any]) -> float | None:
    return next((amount for key in ("fpVal", "intVal") if (amount := number(value.get(key))) is not None), None)


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _epoch(given: Any) -> int | None:
    return epoch(given) if isinstance(given, (int, float, str)) else None


READER = Reader("googlefit", "Google Fit: JSON of Takeout and REST", sniff, read, by_name=True)
