"""Garmin Connect: the JSON of an account's export and of its web service.

Keys that end in GMT are UTC, whether text or ms since 1970; their twins that end in Local tell where the person's
clock stood. Negative levels of stress are codes. Of an activity the export writes ms and cm, the web service s and m;
whether energy is in kcal or kJ is seen from all of the file's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import US, Stamp
from metapulse.record.readers import garmin_events
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.garmin_events import GARMIN, Export, instant, is_exported, offset_of, row_at
from metapulse.record.readers.garmin_keys import CODE, CODES, DAY, LEVELS, LISTED, NIGHT, NO_ZERO, SERIES, SIGNED
from metapulse.record.readers.garmin_nights import asleep_of, doubts_of
from metapulse.record.readers.text import is_empty, json_items, noted, number, number_noted
from metapulse.record.schema import Row

ACTIVITIES = "summarizedActivitiesExport"  # the export's one list of all of them, which may be very long
LISTS = (ACTIVITIES, "dateWeightList")  # whose elements are rows of the file
WEIGHED = {"date", "timestampGMT"}
WITHIN = ("weight", "dailySleepDTO", "hrvSummary", "userDailySummary", *LISTS)
_KEYS = re.compile(
    r'"(sleepStartTimestampGMT|deepSleepSeconds|wellnessStartTimeGmt|heartRateValueDescriptors|stressValuesArray|'
    r"bodyBatteryValuesArray|respirationValuesArray|summarizedActivitiesExport|hrvReadings|dailySleepDTO|"
    r"primaryActivityLevel|dateWeightList|startTimeGMT|startTimeGmt|samplePk|activeKilocalories|vo2MaxValue|"
    r'spO2SingleValues|sleepLevels)"\s*:|'
    r'"(SKIN_TEMP_C|INDEX_SCALE)"'
)
_LISTS = {outer or inner for outer, inner, *_ in LISTED} - {"metrics"}  # which other vendors have too
_OF_DAYS = re.compile(rf'"({"|".join((*DAY, *_LISTS))})"\s*:')


def sniff(sample: Sample) -> str:
    """By keys that only Garmin Connect has, or by its word for a date beside a value of a day."""
    found = _KEYS.search(sample.json)
    if not found and '"calendarDate"' in sample.json:
        found = _OF_DAYS.search(sample.json)
    return f"JSON with {next(filter(None, found.groups()))}, as Garmin Connect writes it" if found else ""


def read(context: Context) -> Iterator[Row]:
    """Days, nights, series and activities, whatever the file has."""
    export = Export(context, lambda: _energies(context))
    for at, item in _items(context, count=True):
        export.lost.clear()
        rows = [row._replace(row=at) for row in _item(export, item)]
        yield from rows
        if not rows:
            context.skip(export.lost[0] if export.lost else "nothing that is known to be measured")
        for reason in export.lost[0 if rows else 1 :]:
            context.note(reason)


def _items(context: Context, count: bool) -> Iterator[tuple[int, Any]]:
    """The file's items and their numbers. Of an object with lists of rows these are items, as the export's activities.

    What such an object has besides is one more item, if it measures something.
    """
    more = 0  # rows than items, so far
    for number_of_item, item in json_items(context, ACTIVITIES, count=count, series={*SERIES, *LISTS}, bare=SERIES):
        lists = [item[key] for key in LISTS if isinstance(item.get(key), list)] if isinstance(item, dict) else []
        rows = [row for rows in lists for row in rows]
        rest = {key: value for key, value in item.items() if key not in LISTS} if rows else item
        rows += [rest] if not rows or _measures(rest) else []
        if count:
            context.seen(len(rows) - 1)
        yield from enumerate(rows, number_of_item + more)
        more += len(rows) - 1


def _measures(item: dict[str, Any]) -> bool:
    """Whether an object has something of a kind that is read here, besides lists of rows."""
    dated = "calendarDate" in item or "sleepStartTimestampGMT" in item or "sleepLevels" in item
    return dated or bool(item.keys() & {*SERIES, *WITHIN})


def _energies(context: Context) -> Iterator[float]:
    for _, item in _items(context, count=False):
        if isinstance(item, dict) and is_exported(item) and (energy := number(item.get("calories"))):
            yield energy


def _item(export: Export, item: Any, depth: int = 0) -> Iterator[Row]:
    """An object of any of the files, and the objects within it."""
    if not isinstance(item, dict) or depth > 3:
        return
    context = export.context
    for key in WITHIN:
        inner = item.get(key)
        for each in inner if isinstance(inner, list) else [inner]:
            yield from _item(export, each, depth + 1)
    for key in SERIES:
        if isinstance(item.get(key), list):
            yield from _series(context, key, item[key])
    if isinstance(item.get("sleepLevels"), list):
        yield from _levels(context, item["sleepLevels"])
    if "sleepStartTimestampGMT" in item:
        yield from _night(export, item)
    elif "activityType" in item or "activityTypeName" in item:
        yield from garmin_events.activity(export, item)
    elif "primaryActivityLevel" in item or ("steps" in item and "startGMT" in item):
        yield from _steps(export, item)
    elif "samplePk" in item or (isinstance(item.get("weight"), (int, float, str)) and item.keys() & WEIGHED):
        yield from garmin_events.weighing(export, item)
    elif "calendarDate" in item:
        yield from _day(export, item)


def _series(context: Context, key: str, elements: list[Any]) -> Iterator[Row]:
    metric, unit, value_key, time_key = SERIES[key]
    for each in elements:
        if isinstance(each, dict):
            start, value = instant(each.get(time_key)), number(each.get(value_key))
        elif isinstance(each, list) and len(each) > 1:
            start = instant(each[0])
            value = number(each[2] if isinstance(each[1], str) and len(each) > 2 else each[1])
        else:
            start = value = None
        if start is None or value is None:
            context.note(f"{key}: no value")
        elif value < (1 if metric in ("respiratory_rate", "spo2", "hrv_rmssd") else 0):
            context.note(f"{key}: {CODE}")
        else:
            yield row_at(context, metric, start, value, unit)


def _levels(context: Context, elements: list[Any]) -> Iterator[Row]:
    for each in elements:
        each = each if isinstance(each, dict) else {}
        start, end, level = (
            instant(each.get("startGMT")),
            instant(each.get("endGMT")),
            number(each.get("activityLevel")),
        )
        if start is None or end is None or level is None:
            context.note("a stage without a time")
        else:
            yield row_at(context, "sleep_stage", start, None, None)._replace(
                end=end, code=LEVELS.get(int(level), "unknown")
            )


def _night(export: Export, item: dict[str, Any]) -> Iterator[Row]:
    context = export.context
    start, end = instant(item.get("sleepStartTimestampGMT")), instant(item.get("sleepEndTimestampGMT"))
    if start is None or end is None:
        export.lost.append("a night without a time")
        return
    offset = offset_of(context, item, "sleepStartTimestampGMT", "sleepStartTimestampLocal")
    night = row_at(context, "", start, None, None)._replace(end=end, offset_min=offset, quality=doubts_of(item))
    spo2 = item.get("spo2SleepSummary")
    told = {**spo2, **item} if isinstance(spo2, dict) else item
    for key, (metric, unit) in NIGHT.items():
        if (value := _measured(context, told, key)) is not None:
            yield night._replace(metric=metric, value=value, unit=unit)
    asleep, parts, doubts = _measured(context, item, "sleepTimeSeconds"), None, tuple[str, ...]()
    if is_empty(item.get("sleepTimeSeconds")):
        asleep, parts, doubts = asleep_of(item, (end - start) / US)
    if asleep is not None:
        whole = night._replace(metric="sleep_duration", value=asleep, unit="s", raw=parts)
        yield whole._replace(quality=(*whole.quality, *doubts))
    scores: Any = item.get("sleepScores")
    scores = scores if isinstance(scores, dict) else {}
    overall = scores.get("overallScore", scores.get("overall"))
    score = noted(context, overall.get("value", overall) if isinstance(overall, dict) else overall, "overallScore")
    if score is not None:
        yield night._replace(metric="sleep_score", value=score)


def _measured(context: Context, item: dict[str, Any], key: str) -> float | None:
    """A number of a night; codes are noted, and are none."""
    value = number_noted(context, item, key)
    if value in CODES:
        context.note(f"{key}: {CODE}")
        return None
    return value


def _day(export: Export, item: dict[str, Any]) -> Iterator[Row]:
    context = export.context
    text = item["calendarDate"]
    text = text.get("date") if isinstance(text, dict) else text
    stamp = context.clock.read(text) if isinstance(text, str) else None
    if stamp is None or stamp.end is None:
        export.lost.append("a day without a date")
        return
    start, end = instant(item.get("wellnessStartTimeGmt")), instant(item.get("wellnessEndTimeGmt"))
    if start is not None and end is not None and start < end:
        stamp = Stamp(start, offset_of(context, item, "wellnessStartTimeGmt", "wellnessStartTimeLocal"), (), end)
    breath = item.get("respiration")
    told = {**breath, **item} if isinstance(breath, dict) else item
    found = [(key, *what, number_noted(context, told, key)) for key, what in DAY.items() if key != "restingHeartRate"]
    own, mean_of_days = (number_noted(context, item, key) for key in ("currentDayRestingHeartRate", "restingHeartRate"))
    resting = own if own and own not in CODES else mean_of_days
    found.append(("restingHeartRate", "resting_heart_rate", "bpm", None, resting))
    for key, metric, unit, code, value in (*found, *_listed(context, item)):
        if value is not None and value < 0 and (value in CODES or metric == "stress") and metric not in SIGNED:
            context.note(f"{key}: {CODE}")
        elif value is not None and (value or metric not in NO_ZERO):
            yield Row(
                metric, stamp.start, value, unit, 0, stamp.end, stamp.offset_min, code, GARMIN, stamp.marks
            )  # fmt: skip


def _listed(context: Context, item: dict[str, Any]) -> Iterator[tuple[str, str, str | None, str | None, float | None]]:
    """(key, metric, unit, code, value) of what a day has within lists."""
    for outer, inner, name, key, wanted in LISTED:
        holder = item.get(outer) if outer else item
        elements = holder.get(inner) if isinstance(holder, dict) else None
        for each in elements if isinstance(elements, list) else []:
            if isinstance(each, dict) and str(each.get(name)) in wanted:
                yield (key, *wanted[str(each.get(name))], number_noted(context, each, key))


def _steps(export: Export, item: dict[str, Any]) -> Iterator[Row]:
    start, end, value = instant(item.get("startGMT")), instant(item.get("endGMT")), number(item.get("steps"))
    if start is None or end is None or value is None:
        export.lost.append("steps without a time or a value")
    else:
        yield row_at(export.context, "steps", start, value, None)._replace(end=end)


READER = Reader("garmin", "Garmin Connect: JSON of the export and the web service", sniff, read)
