"""Fitbit's Web API: answers as JSON, a file each. Local times; the date of minutes is in the list beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import MINUTE, US
from metapulse.record.readers.fitbit_items import FITBIT
from metapulse.record.readers.fitbit_web import DAILY, MINUTES, NO_ZERO, SERIES
from metapulse.record.schema import Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.fitbit_nights import LOGGED, log_reading, logged, night_logs, workout_log
from metapulse.sim.fake.formats.parts import MILLISECOND, SECOND, again, floored, iso, json_text, of_day, plain, put

#: (metric, code) → list, unit; of days and of minutes.
OF_DAYS = {(day, code): (name, unit) for name, (day, _, unit, code) in SERIES.items()}
OF_MINUTES = {(minute, code): (name, unit) for name, (_, minute, unit, code) in SERIES.items()}
#: (metric, code) → list, member; of days.
MEMBERS = {(metric, code): (name, member) for name, found in DAILY.items() for member, metric, _, code in found}
LISTS = {metric: name for name, (metric, _) in MINUTES.items()}  # of instants
LENGTHS = (MINUTE, 5 * MINUTE, 15 * MINUTE)
TYPED_IN = "API"


def says(row: Row) -> Row | None:
    """Days; local times of whole seconds, of minutes' series by 1, 5 or 15 minutes; km are marked as assumed."""
    if row.metric in LOGGED:
        return logged(row)
    if row.value is None or (not row.value and row.metric in NO_ZERO):
        return None
    told = plain(row, "date_only")._replace(device=FITBIT)
    marks = (*told.quality, "unit_assumed") if row.metric == "distance" else told.quality
    key = row.metric, row.code
    if of_day(row):
        return told._replace(quality=marks) if key in OF_DAYS or key in MEMBERS else None
    if row.metric in ("weight", "body_fat"):
        quality = (
            () if row.metric == "body_fat" else ("unit_assumed", *(("manual",) if "manual" in row.quality else ()))
        )
        fits = row.code is None and row.end is None and (row.value > 0)
        return floored(told._replace(quality=quality), SECOND) if fits else None
    if row.metric in LISTS and row.code is None:
        return floored(told, MILLISECOND) if row.end is None else None
    if key not in OF_MINUTES:
        return None
    told = floored(told._replace(quality=marks), SECOND)
    if row.metric == "heart_rate":
        return told if row.end is None else None
    return told if row.end is not None and row.end - row.start in LENGTHS else None


def local(row: Row) -> bool:
    """All of it."""
    return True


def reading(row: Row, zone: str) -> Row:
    """Values of minutes have a length instead of an end."""
    if row.metric in LOGGED or of_day(row) or row.end is None:
        return log_reading(row, zone)
    first = log_reading(row._replace(end=None), zone)
    return first._replace(end=first.start + row.end - row.start)


def write(rows: Sequence[Row], making: Making) -> None:
    """An answer for each list and day; with traps repeats, and zeros where there was no pulse."""
    told = [row for row in map(says, rows) if row is not None]
    answers: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        length = 0 if of_day(row) or row.end is None or row.metric in LOGGED else row.end - row.start
        answers[_list(row), iso(walls(row, making.zone)[0], "")[:10], length].append(row)
    for (name, date, length), found in answers.items():
        text = json_text(_answer(name, date, length, found, making), indent=1)
        put(making.folder / f"{name}_{date}_{length // MINUTE}.json", text)


def _list(row: Row) -> str:
    """Name of the list that a row is in; of its own for each kind of number."""
    key = row.metric, row.code
    if row.metric in LOGGED:
        return "activities" if row.metric == "workout" else "sleep"
    if row.metric in ("weight", "body_fat"):
        return "weight" if row.metric == "weight" else "fat"
    if of_day(row):
        return f"activities-{OF_DAYS[key][0]}" if key in OF_DAYS else MEMBERS[key][0]
    return LISTS[row.metric] + "-minutes" if row.metric in LISTS else f"activities-{OF_MINUTES[key][0]}-intraday"


def _answer(name: str, date: str, length: int, rows: list[Row], making: Making) -> Any:
    zone = making.zone
    if name == "sleep":
        return {"sleep": night_logs(rows, zone)}
    if name == "activities":
        return {"activities": [workout_log(row, iso(walls(row, zone)[0], "")) for row in rows]}
    if name in ("weight", "fat"):
        return {name: [_weighing(row, zone) for row in rows]}
    if name.endswith("-intraday"):
        minutes = [_minute(row, zone) for row in rows]
        minutes += [{"time": "00:00:00", "value": 0}] if making.traps and "heart" in name else []
        series = {"dataset": minutes, "datasetInterval": max(length // MINUTE, 1), "datasetType": "minute"}
        return {name.removesuffix("-intraday"): [{"dateTime": date, "value": {}}], name: series}
    if name.endswith("-minutes"):
        minutes = [_instant(row, zone) for row in rows]
        item = {"dateTime": date, "minutes": minutes}
        return item if name == "spo2-minutes" else {name.removesuffix("-minutes"): [item]}
    days = [{"dateTime": date, "value": _day(row)} for row in rows]
    return {name: days} if name != "spo2" else days


def _day(row: Row) -> Any:
    key = row.metric, row.code
    if key in MEMBERS:
        return {MEMBERS[key][1]: row.value}
    return (
        {"restingHeartRate": row.value} if row.metric == "resting_heart_rate" else repr(_amount(row, OF_DAYS[key][1]))
    )


def _minute(row: Row, zone: str) -> dict[str, Any]:
    unit = OF_MINUTES[row.metric, row.code][1]
    return {"time": iso(walls(row, zone)[0], "", 0)[11:], "value": _amount(row, unit)}


def _instant(row: Row, zone: str) -> dict[str, Any]:
    value = {"rmssd": row.value} if row.metric == "hrv_rmssd" else row.value
    return {"minute": iso(walls(row, zone)[0], ""), "value": value}


def _weighing(row: Row, zone: str) -> dict[str, Any]:
    day, time = iso(walls(row, zone)[0], "", 0).split("T")
    source = TYPED_IN if "manual" in row.quality else "Aria"
    facts = {"logId": row.start // US, "date": day, "time": time, "source": source}
    return {**facts, ("weight" if row.metric == "weight" else "fat"): row.value}


def _amount(row: Row, unit: str | None) -> float:
    return float(row.value or 0.0) / conversion(row.metric, unit).scale


METRICS = {metric for metric, _ in (*OF_DAYS, *OF_MINUTES, *MEMBERS)} | LOGGED | {"weight", "body_fat"}
TITLE = "Fitbit: answers of its Web API"
FORMAT = Format("fitbit_web", TITLE, frozenset(METRICS), says, write, in_zone, local, reading=reading)
