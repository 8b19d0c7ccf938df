"""Data points of Open mHealth and IEEE 1752.1, however they are wrapped; their time frames and quantities."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import partial
from typing import Any

from metapulse.record.clock import DAY, HOUR, MINUTE, US, Stamp
from metapulse.record.readers.base import Context
from metapulse.record.readers.instants import instant
from metapulse.record.readers.text import number

DEEP = 6  # lists within lists
FRAMES = ("effective_time_frame", "sleep_stage_time_frame")
#: Unit of a duration → µs.
DURATIONS = {
    **{"ps": 1e-6, "ns": 1e-3, "us": 1, "ms": 1e3, "sec": US, "s": US, "min": MINUTE},
    **{"h": HOUR, "d": DAY, "wk": 7 * DAY, "Mo": 365.25 / 12 * DAY, "yr": 365.25 * DAY},
}


def points_of(
    item: object, measures: Set[str], header: dict[str, Any] | None = None, depth: int = 0
) -> Iterator[tuple[dict[str, Any], object]]:
    """(header, body) of every data point within, however it is wrapped.

    Args:
        item: an item of the file.
        measures: properties that make a body.
        header: of what it lies in.
        depth: of what it lies in.
    """
    header = header or {}
    if depth > DEEP:
        yield header, None
    elif isinstance(item, list):
        for one in item:
            yield from points_of(one, measures, header, depth + 1)
    elif not isinstance(item, dict):
        yield header, item
    elif "body" in item:
        own = item.get("header")
        yield from points_of(item["body"], measures, own if isinstance(own, dict) else header, depth + 1)
    else:
        lists = [v for v in item.values() if isinstance(v, list) and v and all(isinstance(one, dict) for one in v)]
        rest = {key: v for key, v in item.items() if not isinstance(v, list)}
        if not lists or frame_of(item) or not measures.isdisjoint(rest):
            yield header, rest
        for inner in lists:
            yield from points_of(inner, measures, header, depth + 1)


def frame_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The time frame of a body; None if it has none."""
    return next((body[name] for name in FRAMES if isinstance(body.get(name), dict)), None)


def quantity(given: object, bare: str) -> tuple[float | None, str]:
    """(number, unit) of {"value": 1, "unit": "h"}, or of a number alone where a version of the schema has it so."""
    if isinstance(given, dict):
        unit = given.get("unit")
        return number(given.get("value")), unit if isinstance(unit, str) else bare
    return (None if isinstance(given, str) else number(given)), bare


def when(context: Context, frame: dict[str, Any]) -> Stamp | None:
    """An instant; or an interval, as a stamp with an end."""
    stamp = partial(instant, context)
    if "time_interval" not in frame:
        return stamp(frame.get("date_time"))
    interval = frame["time_interval"]
    if not isinstance(interval, dict):
        return None
    if "date" in interval:
        return stamp(interval["date"])
    start, end = stamp(interval.get("start_date_time")), stamp(interval.get("end_date_time"))
    if start and end:
        return Stamp(start.start, start.offset_min, tuple(sorted({*start.marks, *end.marks})), end.end or end.start)
    length, unit = quantity(interval.get("duration"), "")
    if length is None or unit not in DURATIONS or not 0 <= length * DURATIONS[unit] < 1e16:
        return None
    span = round(length * DURATIONS[unit])
    if start:
        return start._replace(end=start.start + span)
    if end is None:
        return None
    offset = context.clock.offset(end.start - span) if "zone_assumed" in end.marks else end.offset_min
    return Stamp(end.start - span, offset, end.marks, end.start)
