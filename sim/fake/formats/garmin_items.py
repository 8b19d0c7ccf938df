"""Objects of Garmin Connect's JSON from rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.garmin_keys import DAY as DAYS
from metapulse.record.readers.garmin_keys import LEVELS, NIGHT, SERIES, WEIGHT
from metapulse.record.schema import Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Making, walls
from metapulse.sim.fake.formats.parts import MILLISECOND, iso, nights, together

DAY_KEYS = {(metric, code): (key, unit) for key, (metric, unit, code) in reversed(DAYS.items())}
#: Of series with pairs of [ms, value], and of one with objects.
LISTS = {metric: (key, unit) for key, (metric, unit, name, _) in SERIES.items() if not name}
NAMED = {"heartRateValues": "heartRateValueDescriptors"}
LISTS["hrv_rmssd"] = ("hrvReadings", "ms")
WEIGHINGS = {metric: (key, unit) for key, (metric, unit) in WEIGHT.items()}
LEVEL = {stage: number for number, stage in LEVELS.items()}
#: Of a night; what a sum is made of is left out, since the sum would come with it.
TOTALS = {metric: (key, unit) for key, (metric, unit) in reversed(NIGHT.items()) if not key.endswith("SleepSeconds")}
TOTALS |= {"sleep_awake": ("awakeSleepSeconds", "s"), "sleep_duration": ("sleepTimeSeconds", "s")}
TOTALS |= {"sleep_score": ("overallScore", None)}


def items_of(name: str, rows: list[Row], making: Making) -> Iterator[dict[str, Any]]:
    """The objects of one file, by its name."""
    if name == "summarizedActivities":
        yield {"summarizedActivitiesExport": [_activity(row) for row in rows]}
    elif name == "sleepLevels":
        for night in nights(rows):
            yield {"sleepLevels": [{**_gmt(row), "activityLevel": float(LEVEL[row.code or ""])} for row in night]}
    elif name == "steps":
        yield from ({**_gmt(row), "steps": _amount(row, None), "primaryActivityLevel": "active"} for row in rows)
    elif name in ("UDSFile", "sleepData", "userBioMetrics"):
        for group in together(rows, lambda row: row.metric + str(row.code)):
            yield _summary(name, list(group.values()), making)
    else:
        days: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            days[row.start // DAY].append(row)
        for found in days.values():
            samples = [_sample(name, row) for row in found] + _gap(name, making)
            yield {NAMED.get(name, "calendar"): [], name: samples}


def _summary(name: str, rows: list[Row], making: Making) -> dict[str, Any]:
    row = rows[0]
    offset = (row.offset_min or 0) * MINUTE
    item: dict[str, Any]
    if name == "UDSFile":
        item = {"calendarDate": iso(walls(row, making.zone)[0], "")[:10], "activeKilocalories": None}
        item |= {"averageStressLevel": None, "totalSteps": None} if making.traps else {}
    elif name == "sleepData":
        item = {"sleepStartTimestampGMT": iso(row.start, ""), "sleepEndTimestampGMT": iso(row.end or row.start, "")}
        item |= {"sleepStartTimestampLocal": iso(row.start + offset, "")}
    else:
        item = {
            "samplePk": row.start,
            "timestampGMT": row.start // MILLISECOND,
            "date": (row.start + offset) // MILLISECOND,
        }
        item |= {"sourceType": "MANUAL" if row.quality else "INDEX_SCALE"}
    for row in rows:
        table = TOTALS if name == "sleepData" else WEIGHINGS
        key, unit = DAY_KEYS.get((row.metric, row.code), ("", None)) if name == "UDSFile" else table[row.metric]
        if not key:
            item.setdefault("metrics", []).append({"type": "SKIN_TEMP_C", "value": row.value})
        elif key == "overallScore":
            item["sleepScores"] = {key: row.value}
        else:
            item[key] = _amount(row, unit)
    return item


def _sample(name: str, row: Row) -> Any:
    if name == "hrvReadings":
        return {"hrvValue": row.value, "readingTimeGMT": iso(row.start, "")}
    state = ["MEASURED"] if name == "bodyBatteryValuesArray" else []
    return [row.start // MILLISECOND, *state, row.value]


def _gap(name: str, making: Making) -> list[Any]:
    """What a series has where nothing could be measured."""
    if not making.traps or name == "hrvReadings":
        return []
    return [[1712124000000, None], [1712124060000, -1.0]] + ([[1712124120000, -2]] if "stress" in name else [])


def _gmt(row: Row) -> dict[str, str]:
    return {"startGMT": iso(row.start, ""), "endGMT": iso(row.end or row.start, "")}


def _activity(row: Row) -> dict[str, Any]:
    local = row.start + (row.offset_min or 0) * MINUTE
    times = {"startTimeGmt": row.start // MILLISECOND, "startTimeLocal": local // MILLISECOND}
    return {
        "activityId": row.start // MILLISECOND,
        "activityType": row.code,
        **times,
        "duration": round((row.value or 0) * 60_000),
    }


def _amount(row: Row, unit: str | None) -> float:
    return float(row.value or 0.0) / conversion(row.metric, unit).scale
