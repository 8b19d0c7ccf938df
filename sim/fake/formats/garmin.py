"""Garmin Connect: JSON of the account's export. GMT beside Local; days, nights, series, weighings, activities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.readers.garmin_events import GARMIN
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.garmin_items import DAY_KEYS, LEVEL, LISTS, TOTALS, WEIGHINGS, items_of
from metapulse.sim.fake.formats.parts import MILLISECOND, again, floored, json_text, of_day, plain, put

SKIN = ("skin_temperature_deviation", "night")
NOT_ZERO = ("respiratory_rate", "spo2", "hrv_rmssd", "resting_heart_rate", "heart_rate")  # 0: could not be measured


def says(row: Row) -> Row | None:
    """Milliseconds; days; offsets of nights, weighings and activities. The device is not named."""
    told = plain(row, "date_only")._replace(device=GARMIN)
    if row.value is not None and row.value < (1 if row.metric in NOT_ZERO else 0):
        return told if row.metric == "skin_temperature_deviation" and _daily(row) else None
    if of_day(row):
        return told if _daily(row) and row.value is not None else None
    told = floored(told, MILLISECOND)
    zoned = told._replace(offset_min=round((row.offset_min or 0) / 15) * 15)
    if row.metric == "sleep_stage":
        return told._replace(offset_min=None) if row.code in LEVEL and told.end is not None else None
    if row.value is None:
        return None
    if row.metric == "workout":
        length = round(row.value * MINUTE / MILLISECOND) * MILLISECOND
        code = (row.code or "other").lower()[:40]
        return zoned._replace(value=length / MINUTE, end=told.start + length, code=code)
    if row.code is not None:
        return None
    if told.end is None and row.metric in WEIGHINGS:
        manual = tuple(mark for mark in row.quality if mark == "manual")
        return zoned._replace(quality=manual) if row.value else None
    if told.end is None and row.metric in LISTS:
        return told._replace(offset_min=None)
    if told.end is not None and row.metric == "steps":
        return told._replace(offset_min=None)
    return zoned if told.end is not None and row.metric in TOTALS else None


def _daily(row: Row) -> bool:
    return of_day(row) and (
        (row.metric, row.code) in DAY_KEYS or (row[0] == "skin_temperature_deviation" and row.code == "night")
    )


def write(rows: Sequence[Row], making: Making) -> None:
    """Files as the export has them; with traps gaps in series, codes below 0, nulls, repeats."""
    told = [row for row in map(says, rows) if row is not None]
    files: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        files[_file(row)].append(row)
    for name, found in files.items():
        items = list(items_of(name, found, making))
        put(making.folder / f"DI_CONNECT/{name}.json", json_text(items, indent=1 if making.traps else None))


def _file(row: Row) -> str:
    if row.metric in ("workout", "sleep_stage"):
        return {"workout": "summarizedActivities", "sleep_stage": "sleepLevels"}[row.metric]
    if of_day(row):
        return "UDSFile"
    if row.metric == "steps":
        return "steps"
    if row.end is not None:
        return "sleepData"
    return "userBioMetrics" if row.metric in WEIGHINGS else LISTS[row.metric][0]


METRICS = {metric for metric, _ in DAY_KEYS} | set(LISTS) | set(WEIGHINGS) | set(TOTALS)
METRICS |= {"skin_temperature_deviation", "steps", "sleep_stage", "workout"}
FORMAT = Format(
    "garmin", "Garmin Connect: JSON of the account's export", frozenset(METRICS), says, write, in_zone, placed=True
)
