"""Polar Flow: the JSON of an account's export: training, days of activity, heart rate, sleep, recovery, beats.

Stamps are local. A training session gives its offset in minutes; of a day there is a date and a time of day, or
seconds since its midnight. Regular series say every how many ms, and "NaN" where there is no value. The first
versions of the export wrote a stamp with every value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from metapulse.record.clock import MINUTE, US, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.polar_day import RECOVERY, day, deep, night, seconds
from metapulse.record.readers.text import json_items, noted, number, number_noted
from metapulse.record.schema import Device, Row

POLAR = Device("Polar")
#: Type of a series, in either version → metric, unit.
SERIES: dict[str, tuple[str, str]] = {
    "heartrate": ("heart_rate", "bpm"),
    "speed": ("speed", "km/h"),
    "cadence": ("cadence", "rpm"),
    "altitude": ("altitude", "m"),
    "temperature": ("ambient_temperature", "C"),
    "distance": ("distance", "m"),
    "power": ("power", "W"),
}
#: Keys of a session, old and new → metric, unit.
SESSION = (
    ("averageHeartRate hrAvg", "workout_hr_mean", "bpm"),
    ("maximumHeartRate hrMax", "workout_hr_max", "bpm"),
    ("kiloCalories calories", "workout_energy", "kcal"),
    ("distance distanceMeters", "workout_distance", "m"),
)
#: What a file has → keys of which it has one, and keys of which it has one besides.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "heart rate of days": (("deviceDays", "secondsFromDayStart"), ()),
    "beats": (("devicePpiSamplesList",), ()),
    "nights": (("sleepStateChanges", "sleepScoreResult", *RECOVERY), ()),
    "exercises": (("exercises",), ("timezoneOffset", "timezoneOffsetMinutes", "durationMillis", "exportVersion")),
    "days of activity": (("mets", "metSources", "dailyMetMinutes"), ("exportVersion", "date")),
    "totals of days": (("stepCount",), ("exportVersion",)),
}
#: Lists whose elements stand for themselves; of those of a day the date stands beside the list.
LISTS = ("samples", "ppiSamples", "devicePpiSamplesList")


def sniff(sample: Sample) -> str:
    """By keys that only Polar's export has."""
    text = sample.json
    for name, (keys, besides) in KINDS.items():
        if any(f'"{key}"' in text for key in keys) and (not besides or any(f'"{key}"' in text for key in besides)):
            return f"JSON with {name}, as Polar Flow exports it"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Every session, day and night."""
    for at, item in json_items(context, "deviceDays", series=LISTS, bare=("samples",)):
        rows = [row._replace(row=at) for row in _item(context, item)]
        yield from rows
        if not rows:
            context.skip("nothing that is known to be measured")


def _item(context: Context, item: Any) -> Iterator[Row]:
    if not isinstance(item, dict):
        return
    if "exercises" in item or "durationMillis" in item or "timezoneOffset" in item:
        yield from _session(context, item)
    elif isinstance(beats := item.get("devicePpiSamplesList"), list):
        yield from _beats(context, beats)
    elif "sleepResult" in item or "sleepScoreResult" in item or RECOVERY & item.keys():
        yield from night(context, item)
    elif isinstance(item.get("date"), str):
        yield from day(context, item)


def _stamp(context: Context, text: Any, offset: float | None) -> Stamp | None:
    """A local time, with the offset that the session gives."""
    if not isinstance(text, str):
        return None
    own = re.search(r"(Z|[+-]\d\d:?\d\d)\s*$", text[10:])
    if offset is None or abs(offset) > 14 * 60 or own:
        return context.clock.read(text)
    stamp, minutes = context.wall.read(text), round(offset)
    return stamp and Stamp(stamp.start - minutes * MINUTE, minutes)


def _session(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """A session's totals, and the series of its exercises."""
    offset = _offset(item)
    given = item.get("exercises")
    exercises = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    begin = _stamp(context, item.get("startTime"), offset)
    millis = number(item.get("durationMillis"))
    length = seconds(item.get("duration")) if millis is None else millis / 1000
    device = POLAR._replace(
        model=_text(deep(item, "product", "modelName")), unit=_text(item.get("deviceId"))
    )  # fmt: skip
    if begin is not None and length is not None and 0 <= length < 30 * 86_400:
        sport = next((s for each in (item, *exercises) if (s := _sport(each))), "unknown")
        row = Row("workout", begin.start, length, "s", 0, begin.start + round(length * US), begin.offset_min)
        row = row._replace(device=device, quality=begin.marks, code=sport)
        yield row
        for names, metric, unit in SESSION:
            value = next((v for name in names.split() if (v := number_noted(context, item, name))), None)
            if value is not None:
                yield row._replace(metric=metric, value=value, unit=unit)
    for each in exercises:
        zone = _offset(each)
        start = _stamp(context, each.get("startTime"), offset if zone is None else zone)
        samples = each.get("samples")
        if isinstance(samples, dict):
            for row in _series(context, samples, start, offset if zone is None else zone):
                yield row._replace(device=device)


def _offset(item: dict[str, Any]) -> float | None:
    return number(item.get("timezoneOffsetMinutes", item.get("timezoneOffset")))


def _sport(item: dict[str, Any]) -> str:
    sport = item.get("sport")
    if isinstance(sport, dict):
        return f"sport {sport.get('id')}"[:40]
    return sport.lower()[:40] if isinstance(sport, str) else ""


def _series(context: Context, samples: dict[str, Any], start: Stamp | None, offset: float | None) -> Iterator[Row]:
    """Values with a stamp each, by name; or every so many ms, by type."""
    for name, elements in samples.items():
        elements = elements if isinstance(elements, list) else []
        regular = [e for e in elements if isinstance(e, dict) and isinstance(e.get("values"), list)]
        for each in regular:
            every = number(each.get("intervalMillis"))
            if start is None or not every or not 0 < every < 1e8:
                context.note("a series without a time")
                continue
            times = (start._replace(start=start.start + round(at * every * 1000)) for at in range(len(each["values"])))
            yield from _values(context, str(each.get("type")), zip(times, each["values"], strict=True))
        if not regular:
            yield from _values(context, name, _stamped(context, name, elements, offset))


def _stamped(context: Context, name: str, elements: list[Any], offset: float | None) -> Iterator[tuple[Stamp, Any]]:
    for each in elements:
        stamp = _stamp(context, each.get("dateTime"), offset) if isinstance(each, dict) else None
        if stamp is None:
            context.note(f"{name[:40]}: a value without a time")
        elif "value" in each:
            yield stamp, each["value"]


def _values(context: Context, kind: str, pairs: Iterable[tuple[Stamp, Any]]) -> Iterator[Row]:
    """What was measured at each stamp; of distance, which is told as so far, what was added between two."""
    metric, unit = SERIES.get(kind.lower().replace("_", ""), ("", ""))
    read = ((stamp, noted(context, each, kind[:40]) if metric else None) for stamp, each in pairs)
    known = ((stamp, value) for stamp, value in read if value is not None)
    if metric == "distance":
        yield from _added(context, kind, known)
    else:
        for stamp, value in known:
            yield Row(metric, stamp.start, value, unit, 0, None, stamp.offset_min, quality=stamp.marks)


def _added(context: Context, kind: str, known: Iterable[tuple[Stamp, float]]) -> Iterator[Row]:
    """Metres between two stamps. A total that falls has begun anew, or is wrong if the next is as high as before."""
    by_time = {stamp.start: (stamp, value) for stamp, value in sorted(known, key=lambda pair: (pair[0].start, pair[1]))}
    totals = list(by_time.values())
    before: tuple[Stamp, float] | None = None
    for at, (stamp, value) in enumerate(totals):
        if before is not None and value < before[1]:
            context.note(f"{kind[:40]}: a total that fell")
            if at + 1 < len(totals) and totals[at + 1][1] >= before[1]:
                continue
        elif before is not None:
            first, marks = before[0], tuple({*before[0].marks, *stamp.marks})
            added = Row("distance", first.start, value - before[1], "m", 0, stamp.start, first.offset_min)
            yield added._replace(quality=marks)
        before = (stamp, value)


def _beats(context: Context, devices: list[Any]) -> Iterator[Row]:
    """Times between beats, each with its stamp."""
    for each in devices:
        samples = each.get("ppiSamples") if isinstance(each, dict) else None
        device = POLAR._replace(unit=_text(each.get("deviceId"))) if isinstance(each, dict) else POLAR
        for sample in samples if isinstance(samples, list) else []:
            sample = sample if isinstance(sample, dict) else {}
            stamp = context.clock.read(str(sample.get("sampleDateTime")))
            value = number(sample.get("pulseLength"))
            if stamp is None or not value:
                context.note("a beat without a time or a length")
            else:
                yield Row("rr_interval", stamp.start, value, "ms", 0, None, stamp.offset_min, None, device, stamp.marks)


def _text(value: Any) -> str | None:
    return str(value)[:60] if isinstance(value, (str, int)) and value != "" else None


READER = Reader("polar", "Polar Flow: JSON of training, activity, heart rate, sleep, recovery", sniff, read)
