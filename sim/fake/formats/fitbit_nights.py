"""Nights and workouts with a logId, which Fitbit's Takeout and Web API have alike; in local time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.fitbit_items import FITBIT, STAGES, SUMMARY
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import clock_in, localised, walls
from metapulse.sim.fake.formats.parts import MILLISECOND, SECOND, floored, iso, nights, of_day, plain, together

TOTALS = {metric: name for name, metric in SUMMARY}
LEVEL = {stage: name for name, stage in STAGES.items() if name != "awake"}
LOGGED = frozenset({*TOTALS, "sleep_stage", "workout"})


def logged(row: Row) -> Row | None:
    """What a log says of a row of a metric in ``LOGGED``."""
    told = floored(plain(row)._replace(device=FITBIT), SECOND if row.metric == "workout" else MILLISECOND)
    if told.end is None or of_day(row):
        return None
    if row.metric == "workout":
        if row.value is None or not 0 <= row.value < 40_000:
            return None
        length = round(row.value * MINUTE / MILLISECOND) * MILLISECOND
        code = (row.code or "unknown").strip().lower()[:60]
        return told._replace(value=length / MINUTE, end=told.start + length, code=code)
    if row.metric == "sleep_stage":
        return told if row.code in LEVEL and told.end - told.start < 2 * DAY else None
    return told if row.code in (None, "nap") and row.value is not None else None


def log_reading(row: Row, zone: str) -> Row:
    """Stages and workouts have a length instead of an end; of two hours of one name, stages are in the first."""
    if of_day(row) or row.metric not in ("sleep_stage", "workout"):
        return localised(row, zone)
    after = row.start - DAY if row.metric == "sleep_stage" else None
    first = clock_in(zone).local(walls(row, zone)[0], after)
    end = None if row.end is None else first.start + row.end - row.start
    return row._replace(start=first.start, end=end, offset_min=first.offset_min, quality=first.marks)


def night_logs(rows: Sequence[Row], zone: str) -> list[dict[str, Any]]:
    """Nights of stages, and nights of totals alone."""
    found = []
    for stages in nights(row for row in rows if row.metric == "sleep_stage"):
        night = _night(stages[0]._replace(end=stages[-1].end), zone)
        night["levels"]["data"] = [_stage(row, zone) for row in stages]
        found.append(night)
    for nap in (False, True):
        totals = [row for row in rows if row.metric in TOTALS and (row.code == "nap") == nap]
        for group in together(totals, lambda row: TOTALS[row.metric]):
            values = {name: row.value for name, row in group.items()}
            found.append({**_night(next(iter(group.values())), zone), **values, "mainSleep": not nap})
    return found


def _night(row: Row, zone: str) -> dict[str, Any]:
    start, end = walls(row, zone)
    facts = {"logId": row.start // SECOND, "dateOfSleep": iso(end or start, "")[:10], "startTime": iso(start, "")}
    return {**facts, "endTime": iso(end or start, ""), "type": "stages", "levels": {"summary": {}, "data": []}}


def _stage(row: Row, zone: str) -> dict[str, Any]:
    seconds = ((row.end or row.start) - row.start) / SECOND
    return {"dateTime": iso(walls(row, zone)[0], ""), "level": LEVEL[row.code or ""], "seconds": seconds}


def workout_log(row: Row, start: str) -> dict[str, Any]:
    """A workout; ``start`` is its stamp as the file writes it."""
    facts = {"logId": row.start // SECOND, "activityName": row.code, "startTime": start}
    return {**facts, "duration": round((row.value or 0) * 60_000)}
