"""Withings: answers of its API. Seconds since 1970; values of measurements as whole numbers with a power of ten."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from metapulse.record.clock import US
from metapulse.record.readers.withings_api import ABSENT, PLACES, SPORTS, STATES
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import daily, gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, floored, iso, json_text, plain, put
from metapulse.sim.fake.formats.withings_api_keys import (
    AMOUNTS,
    DAYS,
    DIGITS,
    KINDS,
    MEASURES,
    NIGHTS,
    OTHER,
    POWERS,
    SAMPLES,
    TRACKER,
    Keys,
    intraday_pages,
)

LONGEST = 999_999 * SECOND


def says(row: Row) -> Row | None:
    """Measurements, days, nights, stages, workouts, minutes; the offset is the zone's."""
    kind, code = (row.metric, row.code), row.code
    told = floored(plain(row, "date_only"), SECOND)
    if daily(row):
        if kind not in DAYS and (row.metric, None) in DAYS and code == "daily":
            told, kind = told._replace(code=None), (row.metric, None)
        elif kind not in DAYS and code is None and (row.metric, "daily") in DAYS:
            told, kind = told._replace(code="daily"), (row.metric, "daily")
        told = told._replace(quality=("date_only",), device=_device(row.device))
        return _counted(told, DAYS[kind][1]) if kind in DAYS and row.value is not None else None
    told = told._replace(offset_min=None, device=_device(row.device))
    long = told.end is not None and told.end > told.start
    if row.metric == "sleep_stage":
        return told._replace(device=_by_place(row.device)) if long and code in STATES else None
    if row.metric == "workout":
        sport = SPORTS[KINDS[code]] if code in KINDS else "unknown"
        minutes = ((told.end or told.start) - told.start) / US / 60
        return told._replace(code=sport, value=minutes, quality=("mapped",)) if long else None
    if row.value is None:
        return None
    if row.metric in MEASURES and code is None:
        marks = ("manual",) if "manual" in row.quality else ()
        return rounded(told, POWERS.get(row.metric, 3))._replace(end=None, quality=marks)
    if kind in AMOUNTS:
        return _counted(told, 1.0) if told.end is None or told.end - told.start <= LONGEST else None
    if kind in SAMPLES:
        return _counted(told._replace(end=None), 1.0)
    return _counted(told._replace(device=_by_place(row.device)), NIGHTS[kind][1]) if long and kind in NIGHTS else None


def _counted(told: Row, scale: float) -> Row | None:
    """Rounded; less than 0, or 0 where that stands for nothing, is none."""
    told = rounded(told, DIGITS.get(told.metric), scale)
    return None if (told.value or 0) < 0 or (told.metric in ABSENT and not told.value) else told


def _device(device: Device) -> Device:
    """Model and number."""
    return Device("Withings", device.model, unit=device.unit)


def _by_place(device: Device) -> Device:
    """Of nights the kind of device is a number."""
    return Device("Withings", PLACES[TRACKER], unit=device.unit)


def write(rows: Sequence[Row], making: Making) -> None:
    """A file for each kind of answer; with traps newest first, with repeats, goals, a second page and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    answers: dict[str, list[tuple[str, Any]]] = {}
    for name, body, item in _entries(told, making):
        answers.setdefault(name, []).append((body, item))
    for name, entries in answers.items():
        pages: list[dict[str, Any]] = [{entries[0][0]: [item for _, item in entries]}]
        if name == "intraday":
            pages = [{"series": page} for page in intraday_pages([item for _, item in entries])]
        texts = [json_text({"status": 0, "body": {"timezone": making.zone, **page}}) for page in pages]
        if making.traps:
            goal = {"grpid": 1, "category": 2, "date": 1712124000, "measures": [{"value": 70, "type": 1, "unit": 0}]}
            empty = json_text({"status": 0, "body": {"measuregrps": [goal], "more": 0}})
            texts = [*texts, empty, '{"status": 0, "body": {"ser']
        put(making.folder / f"{name}.json", "\n".join(texts))


def _group(row: Row) -> tuple[object, ...]:
    """The file that a row is in, and what it shares with others of one entry."""
    if daily(row):
        return "activity", row.start, row.offset_min, row.device
    if row.metric in ("sleep_stage", "workout"):
        return "sleep" if row.metric == "sleep_stage" else "workouts", row.start, row.end, row.device, row.code
    if row.metric in MEASURES:
        return "measures", row.start, row.quality, row.device
    minute = (row.metric, row.code) in AMOUNTS or (row.metric, row.code) in SAMPLES
    return "intraday" if minute else "sleep_summary", row.start, row.end, row.device


def _entries(told: Sequence[Row], making: Making) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file, list, entry)."""
    for item in gathered(told, _group, lambda row: (row.metric, row.code)):
        row = next(iter(item.values()))
        file, kind = str(_group(row)[0]), "series"
        entry: dict[str, Any] = {"startdate": row.start // US, "enddate": (row.end or row.start) // US}
        if file == "measures":
            kind, entry = "measuregrps", {"category": 1, "attrib": 2 if row.quality else 0, "date": row.start // US}
            entry["measures"] = [_measure(each) for each in item.values()]
        elif file == "activity":
            kind, day = "activities", iso(walls(row, making.zone)[0])[:10]
            entry = {"date": day, **dict.fromkeys(("soft", "moderate", "intense")), **_named(item, DAYS)}
        elif file == "intraday":
            length = {} if row.end is None else {"duration": (row.end - row.start) // US}
            entry = {"at": row.start // US, **length, **_named(item, AMOUNTS | SAMPLES)}
        elif file == "sleep":
            entry |= {"state": STATES.index(row.code or ""), "model": TRACKER}
        elif file == "workouts":
            entry |= {"category": KINDS.get(row.code or "", OTHER), "data": {}}
        else:
            entry |= {"timezone": making.zone, "model": TRACKER, "data": _named(item, NIGHTS)}
        entry |= {"model": row.device.model} if row.device.model and "model" not in entry else {}
        yield file, kind, entry | ({"deviceid": row.device.unit} if row.device.unit else {})


def _named(item: dict[Hashable, Row], keys: Keys) -> dict[str, float | int]:
    """The values of an entry under their names."""
    found = ((keys[row.metric, row.code], row) for row in item.values())
    return {name: written_value(row, DIGITS.get(row.metric), scale) for (name, scale), row in found}


def _measure(row: Row) -> dict[str, int]:
    power = POWERS.get(row.metric, 3)
    return {"value": round((row.value or 0.0) * 10**power), "type": MEASURES[row.metric], "unit": -power}


METRICS = frozenset(
    {*MEASURES, "sleep_stage", "workout", *(m for keys in (DAYS, NIGHTS, AMOUNTS, SAMPLES) for m, _ in keys)}
)
FORMAT = Format("withings_api", "Withings: answers of its API", METRICS, says, write, in_zone, placed=True)
