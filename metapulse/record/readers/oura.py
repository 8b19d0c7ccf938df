"""Oura: the JSON of its web service (v2), collection by collection, and the CSV of its trends.

A series gives the time of its first item and an interval: an item's time is its index, across nulls. Stages are a
digit for every 5 minutes from the beginning of bedtime. Durations are in seconds. What has only a day is of the day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from string import digits
from typing import Any

from metapulse.record.clock import US, Stamp
from metapulse.record.identity import identified, is_id
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.oura_keys import COLLECTIONS, DAY, NIGHT, TRENDS
from metapulse.record.readers.text import csv_column, csv_table, is_empty, json_items, noted, number, number_noted
from metapulse.record.schema import Device, Row

OURA = Device("Oura")
STAGES = {"1": "deep", "2": "light", "3": "rem", "4": "awake"}
PHASE = 300 * US
PHASES = ("sleep_phase_5_min", "hypnogram_5min")
POSITIVE = {"heart_rate", "resting_heart_rate_lowest", "hrv_rmssd", "respiratory_rate", "vo2max"}
_KEYS = re.compile(
    r'"(bedtime_start|sleep_phase_5_min|temperature_deviation|equivalent_walking_distance|spo2_percentage|'
    r'average_met_minutes|resilience|stress_high|total_sleep_duration)"\s*:'
)
_PULSE = re.compile(r'"bpm"\s*:[^{}]{0,400}"source"\s*:|"source"\s*:[^{}]{0,400}"bpm"\s*:')
_SCORED = re.compile(r'"contributors"\s*:\s*\{')


def sniff(sample: Sample) -> str:
    """By keys of its collections, or by the header of its trends."""
    if text := sample.json:
        found = _KEYS.search(text) or _PULSE.search(text) or _SCORED.search(text)
        dated = '"day"' in text and any(f'"{key}"' in text for key in ("start_datetime", "vo2_max"))
        return "JSON with keys of Oura's web service" if found or dated else ""
    header = {_column(cell) for cell in (sample.lines or [""])[0].split(",")}
    return "its header is that of Oura's trends" if "date" in header and len(header & TRENDS.keys()) > 3 else ""


def _column(cell: str) -> str:
    return re.sub(r"\s{0,4}\([^()]{0,40}\)", "", cell.strip().strip('"').lower()).strip()


def read(context: Context) -> Iterator[Row]:
    """Every document of every collection, or every day of the trends."""
    if not context.is_json():
        yield from _trends(context)
        return
    for at, item in json_items(context, *COLLECTIONS):
        rows = [row._replace(row=at) for row in _item(context, item)]
        yield from rows
        if not rows:
            context.skip("nothing that is known to be measured")


def _item(context: Context, item: Any) -> Iterator[Row]:
    if not isinstance(item, dict):
        return
    if "bedtime_start" in item:
        yield from (_as_told(item, row) for row in _night(context, item))
    elif "bpm" in item:
        stamp, value = _stamp(context, item.get("timestamp")), number(item["bpm"])
        if stamp is not None and value is not None:
            yield _row("heart_rate", stamp, value, "bpm")
    elif "start_datetime" in item:
        yield from _workout(context, item)
    elif "day" in item:
        yield from _day(context, item)


def _stamp(context: Context, text: Any) -> Stamp | None:
    return context.clock.read(text) if isinstance(text, str) else None


def _row(metric: str, stamp: Stamp, value: float | None, unit: str | None, end: int | None = None) -> Row:
    return Row(metric, stamp.start, value, unit, 0, end, stamp.offset_min, None, OURA, stamp.marks)


def _as_told(item: dict[str, Any], row: Row) -> Row:
    """A row of a night with its id; that of a deleted one counts no more, nor does what an earlier export has of it."""
    row = row._replace(raw=identified(_id(item), 0, row.raw))
    return row._replace(quality=(*row.quality, "superseded")) if item.get("type") == "deleted" else row


def _id(item: dict[str, Any]) -> str:
    id = item.get("id")
    return id if isinstance(id, str) and is_id(id) else ""


def _night(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """Totals, stages, series. Of a deleted night without an id nothing tells what it ends: it is none."""
    start, end = _stamp(context, item["bedtime_start"]), _stamp(context, item.get("bedtime_end"))
    kind = str(item.get("type"))
    if start is None or (kind == "deleted" and not _id(item)):
        return
    until = None if end is None else end.start
    given = False
    nap = "nap" if kind in ("late_nap", "rest", "nap") else None
    for key, (metric, unit, code) in NIGHT.items():
        value = number_noted(context, item, key)
        if value is not None and (value or metric not in POSITIVE):
            given = True
            yield _row(metric, start, value, unit, until)._replace(code=nap or code)
    if kind == "deleted" and not given:  # that the id counts no more, whatever it had
        yield _row("sleep_duration", start, None, "s", until)
    yield from _stages(context, start, item)
    for key, first, metric, unit in (
        ("heart_rate", "hr_5min", "heart_rate", "bpm"),
        ("hrv", "rmssd_5min", "hrv_rmssd", "ms"),
    ):
        series = item.get(key)
        if isinstance(item.get(first), list):  # from the beginning of bedtime, 0 where there is none
            series = {"timestamp": item["bedtime_start"], "interval": 300, "items": [v or None for v in item[first]]}
        yield from _series(context, key, series, metric, unit)


def _stages(context: Context, start: Stamp, item: dict[str, Any]) -> Iterator[Row]:
    """Runs of one stage. A character that is no digit takes its time, and is none."""
    key = next((key for key in PHASES if not is_empty(item.get(key))), "")
    phases = item[key] if key else ""
    if not isinstance(phases, str) or not phases.isprintable() or "\ufffd" in phases:  # whose places may be others
        context.note(f"{key}: no stages")
        return
    at = start.start
    for digit, run in groupby(phases):
        times = sum(1 for _ in run)
        begin, at = at, at + PHASE * times
        if digit in digits:
            stage = _row("sleep_stage", start, None, None, at)
            yield stage._replace(start=begin, code=STAGES.get(digit, "unknown"))
        else:
            context.tally.note(f"{key}: no stage", times)


def _series(context: Context, key: str, series: Any, metric: str, unit: str) -> Iterator[Row]:
    if series is None:
        return
    series = series if isinstance(series, dict) else {}
    start, every, items = _stamp(context, series.get("timestamp")), number(series.get("interval")), series.get("items")
    if start is None or not every or not 0 < every < 1e6 or not isinstance(items, list):
        context.note(f"{key}: a series without a time")
        return
    for at, each in enumerate(items):
        if (value := noted(context, each, key)) is not None:
            yield _row(metric, start, value, unit)._replace(start=start.start + round(at * every * US))


def _day(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """What has a day; whose score it is, its contributors tell."""
    stamp = _stamp(context, item["day"])
    if stamp is None or stamp.end is None:
        return
    for key, (metric, unit, code) in DAY.items():
        if (value := number_noted(context, item, key)) is not None and (value or metric not in POSITIVE):
            yield _row(metric, stamp, value, unit, stamp.end)._replace(code=code)
    spo2 = item.get("spo2_percentage")
    if isinstance(spo2, dict) and (value := number_noted(context, spo2, "average")):
        yield _row("spo2", stamp, value, "%", stamp.end)._replace(code="mean of the night")
    parts, score = item.get("contributors"), number_noted(context, item, "score")
    parts = set(parts) if isinstance(parts, dict) else set()
    metric = (
        "sleep_score"
        if "rem_sleep" in parts or "deep_sleep" in parts
        else "readiness_score"
        if "previous_night" in parts or "temperature_deviation" in item
        else "activity_score"
        if "steps" in item or "meet_daily_targets" in parts
        else ""
    )
    if score is not None and metric:
        yield _row(metric, stamp, score, None, stamp.end)


def _workout(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    start, end = _stamp(context, item["start_datetime"]), _stamp(context, item.get("end_datetime"))
    if start is None or end is None or not 0 <= end.start - start.start < 30 * 86_400 * US:
        return
    row = _row("workout", start, (end.start - start.start) / US, "s", end.start)
    if item.get("source") == "manual":
        row = row._replace(quality=(*row.quality, "manual"))
    row = row._replace(code=str(item.get("activity", item.get("type", "unknown"))).lower()[:40])
    yield row
    for key, metric, unit in (("calories", "workout_energy", "kcal"), ("distance", "workout_distance", "m")):
        if value := number_noted(context, item, key):
            yield row._replace(metric=metric, value=value, unit=unit)


def _trends(context: Context) -> Iterator[Row]:
    """A day a line; what is of the night stands between bedtime's beginning and end, where these are told."""
    context.date_order(csv_column(context, "date", fold=_column), "ymd")
    for line, cells in csv_table(context, "date", fold=_column):
        day = context.clock.read(cells["date"])
        if day is None:
            context.skip("a stamp that is no time")
            continue
        start, end = _stamp(context, cells.get("bedtime start")), _stamp(context, cells.get("bedtime end"))
        abed = start is not None and end is not None and start.end is None
        given = False
        for name, (metric, unit, code, nightly) in TRENDS.items():
            value = number_noted(context, cells, name)
            if value is None or (value <= 0 and metric in POSITIVE):
                continue
            given = True
            if nightly and abed and start is not None and end is not None:
                row = _row(metric, start, value, unit, end.start)
            else:
                row = _row(metric, day, value, unit, day.end)
            yield row._replace(row=line, code=code)
        if not given:
            context.skip("no value")


READER = Reader("oura", "Oura: JSON of its web service, CSV of its trends", sniff, read)
