"""Garmin Connect: the JSON of an account's export and of its web service.

Keys that end in GMT are UTC, whether text or ms since 1970; their twins that end in Local tell where the person's
clock stood. Negative levels of stress are codes. Of an activity the export writes ms and cm, the web service s and m;
whether energy is in kcal or kJ is seen from the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import MINUTE, US, Clock, Stamp, epoch
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.garmin_keys import ASLEEP, DAY, LEVELS, LISTED, NIGHT, SERIES, WEIGHT
from metapulse.record.readers.text import json_items, number
from metapulse.record.schema import Device, Row
from metapulse.record.units import KCAL

GARMIN = Device("Garmin", app="Garmin Connect")
GMT = Clock()
WITHIN = ("weight", "dailySleepDTO", "hrvSummary", "summarizedActivitiesExport", "dateWeightList", "userDailySummary")
_KEYS = re.compile(
    r'"(sleepStartTimestampGMT|deepSleepSeconds|wellnessStartTimeGmt|heartRateValueDescriptors|stressValuesArray|'
    r"bodyBatteryValuesArray|respirationValuesArray|summarizedActivitiesExport|hrvReadings|dailySleepDTO|"
    r"primaryActivityLevel|dateWeightList|startTimeGMT|startTimeGmt|samplePk|activeKilocalories|vo2MaxValue|"
    r'spO2SingleValues|sleepLevels)"\s*:|'
    r'"(SKIN_TEMP_C|INDEX_SCALE)"'
)


def sniff(sample: Sample) -> str:
    """By keys that only Garmin Connect has."""
    found = _KEYS.search(sample.json)
    return f"JSON with {found[1] or found[2]}, as Garmin Connect writes it" if found else ""


def read(context: Context) -> Iterator[Row]:
    """Days, nights, series and activities, whatever the file has."""
    for at, item in json_items(context):
        rows = [row._replace(row=at) for row in _item(context, item)]
        yield from rows
        if not rows:
            context.skip("nothing that is known to be measured")


def _item(context: Context, item: Any, depth: int = 0) -> Iterator[Row]:
    """An object of any of the files, and the objects within it."""
    if not isinstance(item, dict) or depth > 3:
        return
    for key in WITHIN:
        inner = item.get(key)
        for each in inner if isinstance(inner, list) else [inner]:
            yield from _item(context, each, depth + 1)
    for key in SERIES:
        if isinstance(item.get(key), list):
            yield from _series(context, key, item[key])
    if isinstance(item.get("sleepLevels"), list):
        yield from _levels(context, item["sleepLevels"])
    if "sleepStartTimestampGMT" in item:
        yield from _night(context, item)
    elif "activityType" in item or "activityTypeName" in item:
        yield from _activity(context, item)
    elif "primaryActivityLevel" in item or ("steps" in item and "startGMT" in item):
        yield from _steps(context, item)
    elif "samplePk" in item or (number(item.get("weight")) is not None and item.keys() & {"date", "timestampGMT"}):
        yield from _weighing(context, item)
    elif "calendarDate" in item:
        yield from _day(context, item)


def _instant(value: Any) -> int | None:
    """UTC: ms since 1970, or text without an offset."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return epoch(value)
    stamp = GMT.read(value) if isinstance(value, str) else None
    return stamp.start if stamp else None


def _offset(context: Context, item: dict[str, Any], gmt: str, local: str) -> int | None:
    """Local less GMT, where it is what a zone may be; otherwise that of the zone that was told."""
    instant, wall = _instant(item.get(gmt)), _instant(item.get(local))
    if instant is None:
        return None
    if wall is not None and abs(wall - instant) <= 14 * 60 * MINUTE and (wall - instant) % (15 * MINUTE) == 0:
        return (wall - instant) // MINUTE
    return context.clock.offset(instant)


def _at(context: Context, metric: str, start: int, value: float | None, unit: str | None) -> Row:
    return Row(metric, start, value, unit, 0, None, context.clock.offset(start), None, GARMIN)


def _series(context: Context, key: str, elements: list[Any]) -> Iterator[Row]:
    metric, unit, value_key, time_key = SERIES[key]
    for each in elements:
        if isinstance(each, dict):
            start, value = _instant(each.get(time_key)), number(each.get(value_key))
        elif isinstance(each, list) and len(each) > 1:
            start = _instant(each[0])
            value = number(each[2] if isinstance(each[1], str) and len(each) > 2 else each[1])
        else:
            start = value = None
        if start is None or value is None:
            context.note(f"{key}: no value")
        elif value < (1 if metric in ("respiratory_rate", "spo2", "hrv_rmssd") else 0):
            context.note(f"{key}: a code for a value that could not be measured")
        else:
            yield _at(context, metric, start, value, unit)


def _levels(context: Context, elements: list[Any]) -> Iterator[Row]:
    for each in elements:
        each = each if isinstance(each, dict) else {}
        start, end, level = (
            _instant(each.get("startGMT")),
            _instant(each.get("endGMT")),
            number(each.get("activityLevel")),
        )
        if start is None or end is None or level is None:
            context.note("a stage without a time")
        else:
            yield _at(context, "sleep_stage", start, None, None)._replace(
                end=end, code=LEVELS.get(int(level), "unknown")
            )


def _night(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    start, end = _instant(item.get("sleepStartTimestampGMT")), _instant(item.get("sleepEndTimestampGMT"))
    if start is None or end is None:
        return
    offset = _offset(context, item, "sleepStartTimestampGMT", "sleepStartTimestampLocal")
    night = _at(context, "", start, None, None)._replace(end=end, offset_min=offset)
    spo2 = item.get("spo2SleepSummary")
    told = {**spo2, **item} if isinstance(spo2, dict) else item
    for key, (metric, unit) in NIGHT.items():
        if (value := number(told.get(key))) is not None:
            yield night._replace(metric=metric, value=value, unit=unit)
    parts = [value for key in ASLEEP if (value := number(item.get(key))) is not None]
    asleep = number(item.get("sleepTimeSeconds"))
    if asleep is not None or parts:
        yield night._replace(metric="sleep_duration", value=sum(parts) if asleep is None else asleep, unit="s")
    scores: Any = item.get("sleepScores")
    scores = scores if isinstance(scores, dict) else {}
    overall = scores.get("overallScore", scores.get("overall"))
    score = number(overall.get("value") if isinstance(overall, dict) else overall)
    if score is not None:
        yield night._replace(metric="sleep_score", value=score)


def _day(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    text = item["calendarDate"]
    text = text.get("date") if isinstance(text, dict) else text
    stamp = context.clock.read(text) if isinstance(text, str) else None
    if stamp is None or stamp.end is None:
        return
    start, end = _instant(item.get("wellnessStartTimeGmt")), _instant(item.get("wellnessEndTimeGmt"))
    if start is not None and end is not None and start < end:
        stamp = Stamp(start, _offset(context, item, "wellnessStartTimeGmt", "wellnessStartTimeLocal"), (), end)
    breath = item.get("respiration")
    told = {**breath, **item} if isinstance(breath, dict) else item
    found = [(*what, number(told.get(key))) for key, what in DAY.items() if key != "restingHeartRate"]
    resting = number(item.get("currentDayRestingHeartRate")) or number(item.get("restingHeartRate"))  # the mean of days
    found.append(("resting_heart_rate", "bpm", None, resting))
    for metric, unit, code, value in (*found, *_listed(item)):
        signed = metric == "skin_temperature_deviation"
        if value is not None and (signed or value >= (metric in ("resting_heart_rate", "heart_rate", "spo2"))):
            yield Row(
                metric, stamp.start, value, unit, 0, stamp.end, stamp.offset_min, code, GARMIN, stamp.marks
            )  # fmt: skip


def _listed(item: dict[str, Any]) -> Iterator[tuple[str, str | None, str | None, float | None]]:
    """(metric, unit, code, value) of what a day has within lists."""
    for outer, inner, name, key, wanted in LISTED:
        holder = item.get(outer) if outer else item
        elements = holder.get(inner) if isinstance(holder, dict) else None
        for each in elements if isinstance(elements, list) else []:
            if isinstance(each, dict) and str(each.get(name)) in wanted:
                yield (*wanted[str(each.get(name))], number(each.get(key)))


def _activity(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """The export has its times in ms since 1970 and its numbers in ms, cm and kJ; the web service has texts."""
    exported = "startTimeGmt" in item or "beginTimestamp" in item
    begin = "startTimeGmt" if "startTimeGmt" in item else "beginTimestamp" if exported else "startTimeGMT"
    start = _instant(item.get(begin))
    length = number(item.get("elapsedDuration")) or number(item.get("duration"))
    if start is None or length is None or not 0 <= length < 1e10:
        return
    kind = item.get("activityType")
    code = str(kind.get("typeKey") if isinstance(kind, dict) else kind).lower()[:40]
    offset = _offset(context, item, begin, "startTimeLocal")
    row = _at(context, "workout", start, length, "ms" if exported else "s")
    row = row._replace(end=start + round(length * (1000 if exported else US)), offset_min=offset)
    row = row._replace(code=code)
    yield row
    for names, metric, here, there in (
        ("avgHr averageHR", "workout_hr_mean", "bpm", "bpm"),
        ("maxHr maxHR", "workout_hr_max", "bpm", "bpm"),
        ("calories", "workout_energy", _energy_unit(item.get("calories")), "kcal"),
        ("distance", "workout_distance", "cm", "m"),
    ):
        if value := next((v for name in names.split() if (v := number(item.get(name)))), None):
            marks = ("unit_assumed",) if exported and metric == "workout_energy" else ()
            yield row._replace(metric=metric, value=value, unit=here if exported else there, quality=marks)


def _energy_unit(value: Any) -> str:
    """Of the export, which names none: kcal are whole numbers; what is one when divided by 4.184 is in kJ."""
    energy = number(value) or 0.0
    kcal = energy / KCAL
    return "kJ" if energy % 1 and abs(kcal - round(kcal)) < 0.01 else "kcal"


def _steps(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    start, end, value = _instant(item.get("startGMT")), _instant(item.get("endGMT")), number(item.get("steps"))
    if start is not None and end is not None and value is not None:
        yield _at(context, "steps", start, value, None)._replace(end=end)


def _weighing(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """``date`` is the person's clock; ``timestampGMT`` the instant."""
    start = _instant(item.get("timestampGMT"))
    offset = _offset(context, item, "timestampGMT", "date")
    wall, marks = _instant(item.get("date")), tuple[str, ...]()
    if start is None and wall is not None:
        stamp = context.clock.local(wall)
        start, offset, marks = stamp.start, stamp.offset_min, stamp.marks
    marks = (*marks, "manual") if item.get("sourceType") in ("MANUAL", "MFP") else marks
    for key, (metric, unit) in WEIGHT.items():
        if start is not None and (value := number(item.get(key))):
            yield _at(context, metric, start, value, unit)._replace(offset_min=offset, quality=(*marks,))


READER = Reader("garmin", "Garmin Connect: JSON of the export and the web service", sniff, read)
