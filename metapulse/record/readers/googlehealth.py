"""Google Health API (the successor of Fitbit's Web API and of Google Fit's): pages of ``dataPoints``, as JSON.

A point has its data source, and one member named after its type, with the value and its time: a sample, an interval, or
a date. Whole numbers of 64 bits are texts ("beatsPerMinute": "62"), lengths are texts of seconds ("7200s"), and members
that are 0 are left out: a civil time of midnight has no hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from metapulse.record.clock import DAY, EPOCH, HOUR, MINUTE, US, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import vocabulary
from metapulse.record.readers.text import json_items, number
from metapulse.record.schema import NO_DEVICE, Device, Row

#: Type → of its values: members, metric, unit, code.
TYPES = {
    kind: [(r["members"].split(), r["metric"], r["unit"] or None, r["code"] or None) for r in rows]
    for kind, rows in groupby(vocabulary("googlehealth.csv"), key=itemgetter("type"))
}
STAGES = {
    **{"AWAKE": "awake", "WAKE": "awake", "LIGHT": "light", "DEEP": "deep", "REM": "rem"},
    **{"ASLEEP": "asleep", "RESTLESS": "restless", "OUT_OF_BED": "out_of_bed"},
}
NIGHT = {
    "minutesAsleep": "sleep_duration",
    "minutesAwake": "sleep_awake",
    "minutesToFallAsleep": "sleep_latency",
    "minutesInSleepPeriod": "time_in_bed",
}
WORKOUT = (
    ("caloriesKcal", "workout_energy", "kcal"),
    ("distanceMillimeters", "workout_distance", "mm"),
    ("distanceMillimiters", "workout_distance", "mm"),  # as the interface spelt it first
    ("averageHeartRateBeatsPerMinute", "workout_hr_mean", "bpm"),
)
NUTRIENTS = {"PROTEIN": "protein", "DIETARY_FIBER": "fibre", "FIBER": "fibre", "CAFFEINE": "caffeine"}
ARRAYS = ("dataPoints", "rollupDataPoints")


def sniff(sample: Sample) -> str:
    """By the pages' list of points, and words that only its times and sources have."""
    head = sample.json[:16384]
    if re.search(r'"(physicalTime|civilTime|startUtcOffset|civilStartTime)"\s*:', head):
        return "points with physical and civil times, as the Google Health API has them"
    listed = re.search(r'"(rollupDataPoints|dataPoints)"\s*:\s*\[', head)
    daily = re.search(r'"daily[A-Z]\w+"\s*:\s*\{', head) and re.search(r'"year"\s*:', head)
    return "pages of dataPoints, as the Google Health API answers" if listed and (daily or "dataTypes/" in head) else ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every point."""
    for at, item in json_items(context, *ARRAYS):
        given, lost = False, list[str]()
        for point in _points(item):
            kind, body = _body(point)
            empty = True
            for row in _rows(context, kind, body, point) if body else ():
                given, empty = True, False
                yield row._replace(row=at)
            if empty and kind in (*TYPES, "sleep", "exercise"):
                lost.append("no value, or no time")
            elif empty:
                lost.append(f"no metric of ours: {kind[:60] or 'a point without a type'}")
        if not given:
            context.skip(lost[-1] if lost else "no point")
        for why in lost if given else ():  # of a page within a list of pages
            context.note(why)


def _points(item: Any) -> Iterator[dict[str, Any]]:
    """A point, or those of a page within a list of pages."""
    if not isinstance(item, dict):
        return
    pages = [item[name] for name in ARRAYS if isinstance(item.get(name), list)]
    yield from (point for page in pages for point in page if isinstance(point, dict)) if pages else iter((item,))


def _body(point: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The point's type and what stands under it."""
    inner = point.get("value")
    point = inner if isinstance(inner, dict) and "dataSource" not in inner else point
    others = ("dataSource", "sampleTime", "interval", "date", "civilStartTime", "civilEndTime")
    found = [(name, body) for name, body in point.items() if isinstance(body, dict) and name not in others]
    return next((pair for pair in found if pair[0] in TYPES), found[0] if found else ("", {}))


def _rows(context: Context, kind: str, body: dict[str, Any], point: dict[str, Any]) -> Iterator[Row]:
    span = _span(context, body) or _span(context, point)
    if span is None:
        return
    (start, offset, marks, end), source = span, point.get("dataSource")
    source = source if isinstance(source, dict) else {}
    manual = ("manual",) if source.get("recordingMethod") in ("MANUAL", "MANUALLY_ENTERED") else ()
    whole = Row(
        "", start, None, None, 0, None if end == start else end, offset, None, _device(source), (*marks, *manual)
    )
    if kind == "sleep":
        yield from _night(context, body, whole)
    elif kind == "exercise":
        yield from _workout(body, whole)
    for members, metric, unit, code in TYPES.get(kind, []):
        value = next((v for member in members if (v := _at(body, member)) is not None), None)
        if value is not None:
            whole_day = metric == "steps" and end is not None and end - start >= 23 * HOUR  # of a roll-up
            yield whole._replace(metric="steps_daily" if whole_day else metric, value=value, unit=unit, code=code)
    nutrients = body.get("nutrients")
    for part in nutrients if isinstance(nutrients, list) else []:
        known = NUTRIENTS.get(str(part.get("nutrient"))) if isinstance(part, dict) else None
        if known and (value := _at(part, "quantity.grams")) is not None:
            yield whole._replace(metric=known, value=value, unit="g")


def _at(body: dict[str, Any], path: str) -> float | None:
    """A number in a member, or in a member of a member ("amount.milliliters")."""
    given: Any = body
    for name in path.split("."):
        given = given.get(name) if isinstance(given, dict) else None
    return number(given)


def _span(context: Context, body: dict[str, Any]) -> Stamp | None:
    """When a value was: of a sample, an interval, or a day."""
    sample, interval = body.get("sampleTime"), body.get("interval")
    if isinstance(sample, dict):
        return _instant(context, sample, "physicalTime", "utcOffset", "civilTime")
    if isinstance(interval, dict):
        start = _instant(context, interval, "startTime", "startUtcOffset", "civilStartTime")
        end = _instant(context, interval, "endTime", "endUtcOffset", "civilEndTime")
        return start._replace(end=end.start if end else None) if start else None
    if isinstance(body.get("civilStartTime"), dict):  # of a roll-up
        start, end = (_civil(context, body.get(name)) for name in ("civilStartTime", "civilEndTime"))
        return start._replace(end=end.start if end else start.end) if start else None
    return _civil(context, {"date": body.get("date")})


def _instant(context: Context, times: dict[str, Any], name: str, offset: str, civil: str) -> Stamp | None:
    """An instant, with the clock's offset beside it; or else the civil time."""
    given = times.get(name)
    stamp = context.clock.read(given) if isinstance(given, str) else None
    if stamp is None:
        stamp = _civil(context, times.get(civil))
        return stamp._replace(marks=(*stamp.marks, "zone_assumed")) if stamp and stamp.end is None else stamp
    seconds = number(str(times.get(offset, "")).removesuffix("s"))
    if seconds is None or abs(seconds) > 64_800:
        return stamp._replace(offset_min=stamp.offset_min or context.clock.offset(stamp.start))
    return stamp._replace(offset_min=round(seconds / 60))


def _civil(context: Context, given: Any) -> Stamp | None:
    """A day, or a local time: {"date": {"year": 2026, "month": 6, "day": 1}, "time": {"hours": 8}}, or texts."""
    day, time = (given.get("date"), given.get("time")) if isinstance(given, dict) else (None, None)
    if isinstance(day, dict):
        parts = [number(day.get(name)) for name in ("year", "month", "day")]
        day = "-".join(f"{part:02.0f}" for part in parts if part is not None and abs(part) < 1e4)
    if not isinstance(day, str):
        return None
    if not isinstance(time, dict):
        return context.clock.read(f"{day}T{time}" if isinstance(time, str) else day)
    stamp = context.clock.read(day)
    if stamp is None or stamp.end is None:
        return None
    sizes = {"hours": HOUR, "minutes": MINUTE, "seconds": US, "nanos": 1e-3}
    since = sum((number(time.get(name)) or 0) * size for name, size in sizes.items())
    days = (stamp.start + (stamp.offset_min or 0) * MINUTE) // DAY
    return context.clock.local(days * DAY + round(since)) if 0 <= since < 2 * DAY and abs(days) < EPOCH * 2 else None


def _device(source: dict[str, Any]) -> Device:
    device, application = source.get("device"), source.get("application")
    facts = device if isinstance(device, dict) else {}
    app = application.get("packageName") if isinstance(application, dict) else None
    names = (facts.get("manufacturer"), facts.get("model", facts.get("displayName")), app or source.get("platform"))
    maker, model, name = (text[:100] if isinstance(text, str) and text else None for text in names)
    return Device(maker, model, app=name) if maker or model or name else NO_DEVICE


def _night(context: Context, body: dict[str, Any], whole: Row) -> Iterator[Row]:
    """Stages, and the totals of a night or a nap."""
    metadata, summary = body.get("metadata"), body.get("summary")
    code = "nap" if isinstance(metadata, dict) and metadata.get("nap") is True else None
    for name, metric in NIGHT.items() if isinstance(summary, dict) else ():
        if (value := number(summary.get(name) if isinstance(summary, dict) else None)) is not None:
            yield whole._replace(metric=metric, value=value, unit="min", code=code)
    stages = body.get("stages")
    for part in stages if isinstance(stages, list) else []:
        span = _span(context, {"interval": part})
        if span is None or span.end is None:
            context.note("a stage without a time")
            continue
        stage = STAGES.get(str(part.get("type")).upper().removeprefix("SLEEP_STAGE_TYPE_"), "unknown")
        offset = span.offset_min if span.offset_min is not None else whole.offset_min
        yield whole._replace(metric="sleep_stage", start=span.start, end=span.end, offset_min=offset, code=stage)
    if not stages and whole.end is not None:
        yield whole._replace(metric="sleep_stage", code="asleep")


def _workout(body: dict[str, Any], whole: Row) -> Iterator[Row]:
    code = str(body.get("exerciseType") or "unknown").replace("_", " ").lower()[:60]
    active = number(str(body.get("activeDuration", "")).removesuffix("s"))
    length = active if active is not None else ((whole.end or whole.start) - whole.start) / US
    workout = whole._replace(metric="workout", value=length, unit="s", code=code)
    yield workout
    totals = body.get("metricsSummary")
    for name, metric, unit in WORKOUT if isinstance(totals, dict) else ():
        if value := number(totals.get(name) if isinstance(totals, dict) else None):
            yield workout._replace(metric=metric, value=value, unit=unit)


READER = Reader("googlehealth", "Google Health API: pages of data points", sniff, read)
