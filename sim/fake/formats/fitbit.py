"""Fitbit in Google Takeout: JSON of *Global Export Data* and CSV beside it.

Series are in UTC with a year of two digits, nights and workouts in local time; weight is in the account's unit, which
is not written. What comes as CSV names the device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.fitbit import SERIES
from metapulse.record.readers.fitbit_items import FITBIT
from metapulse.record.schema import Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.fitbit_nights import LOGGED, log_reading, logged, night_logs, workout_log
from metapulse.sim.fake.formats.fitbit_twins import CSV, column_of, twin_table
from metapulse.sim.fake.formats.parts import (
    SECOND,
    again,
    floored,
    json_text,
    moment,
    of_day,
    plain,
    put,
)

#: (metric, code) → beginning of the file's name, minutes that a value covers (−1: a day), unit.
JSON = {(metric, code): (name, minutes, unit) for name, (metric, unit, minutes, code) in SERIES.items()}
MANUAL = "manual"


def says(row: Row) -> Row | None:
    """Whole seconds of series; a minute, or a day, for amounts; milliseconds of nights and workouts, in local time."""
    told = plain(row, "date_only")
    if row.metric in LOGGED:
        return logged(row)
    if row.value is None:
        return None
    if row.metric == "weight" and row.code is None and row.end is None:
        marks = ("manual", "unit_assumed") if MANUAL in row.quality else ("unit_assumed",)
        return floored(told._replace(device=FITBIT, quality=marks), SECOND)
    if (row.metric, row.code) in JSON:
        _, minutes, _ = JSON[row.metric, row.code]
        unsure = ("low_confidence",) if row.metric == "heart_rate" and "low_confidence" in row.quality else ()
        value = float(round(row.value)) if row.metric in ("heart_rate", "steps") else row.value
        told = told._replace(device=FITBIT, quality=(*told.quality, *unsure), value=value)
        return _covering(told, minutes)
    if row.metric not in CSV or row.code is not None:
        return None
    device = Device("Fitbit", row.device.model) if row.device.model else FITBIT
    minutes = -1 if of_day(row) and row.metric in ("spo2", "hrv_rmssd") else CSV[row.metric][2]
    return _covering(told._replace(device=device), minutes)


def _covering(row: Row, minutes: int) -> Row | None:
    """A value of a day, of one minute, or of an instant: whole seconds, and no offset but the zone's."""
    if (minutes < 0) != of_day(row):
        return None
    if minutes < 0:
        return row
    row = floored(row, SECOND)._replace(offset_min=None)
    return row if row.end == (row.start + minutes * MINUTE if minutes else None) else None


def local(row: Row) -> bool:
    """Days, nights, workouts and weights."""
    return of_day(row) or row.metric in LOGGED or row.metric == "weight"


def write(rows: Sequence[Row], making: Making) -> None:
    """Files by kind and month; with traps repeats, zeros for a resting heart rate that is not known, a twin as CSV."""
    told = [row for row in map(says, rows) if row is not None]
    files: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        files[_file(row, making.zone)].append(row)
    for name, found in files.items():
        kind = found[0].metric
        if name.endswith(".csv"):
            put(making.folder / f"Takeout/Fitbit/{name}", twin_table(found, making.zone))
            continue
        slept = name.startswith("sleep-")
        items = night_logs(found, making.zone) if slept else [_item(row, making.zone) for row in found]
        if making.traps and kind == "resting_heart_rate":
            items.append({"dateTime": "03/02/24 00:00:00", "value": {"date": None, "value": 0.0, "error": 0.0}})
        put(making.folder / f"Takeout/Fitbit/Global Export Data/{name}", json_text(items, indent=2))


def _file(row: Row, zone: str) -> str:
    day = f"{moment(walls(row, zone)[0] if local(row) else row.start):%Y-%m-%d}"
    if row.metric in ("workout", "weight"):
        return {"workout": "exercise-0.json", "weight": f"weight-{day[:7]}.json"}[row.metric]
    if row.metric in LOGGED:
        return f"sleep-{day[:7]}.json"
    if (row.metric, row.code) in JSON:
        name = JSON[row.metric, row.code][0]
        return f"{name}-{day if name == 'heart_rate' else day[:7]}.json"
    _, name, *_ = column_of(row)
    return f"{name}/{name} - {day[:7]}.csv"


def _month_first(at: int) -> str:
    return f"{moment(at):%m/%d/%y %H:%M:%S}"


def _amount(row: Row, unit: str | None) -> float:
    return float(row.value or 0.0) / conversion(row.metric, unit).scale


def _item(row: Row, zone: str) -> dict[str, Any]:
    """An element of a series, a workout or a weight."""
    wall = walls(row, zone)[0]
    if row.metric == "workout":
        return workout_log(row, _month_first(wall))
    if row.metric == "weight":
        facts = {
            "logId": row.start // SECOND,
            "weight": row.value,
            "bmi": None,
            "date": f"{moment(wall):%m/%d/%y}",
        }
        return {**facts, "time": f"{moment(wall):%H:%M:%S}", "source": "API" if MANUAL in row.quality else "Aria"}
    name, minutes, unit = JSON[row.metric, row.code]
    value: Any = repr(_amount(row, unit))
    if name == "heart_rate":
        value = {"bpm": round(row.value or 0), "confidence": 0 if "low_confidence" in row.quality else 2}
    elif name in ("resting_heart_rate", "demographic_vo2_max"):
        value = {"value" if name[0] == "r" else "demographicVO2Max": row.value, "error": 6.8}
    return {"dateTime": _month_first(wall // DAY * DAY if minutes < 0 else row.start), "value": value}


METRICS = {metric for metric, _ in JSON} | set(CSV) | LOGGED | {"weight"}
TITLE = "Fitbit: Google Takeout, JSON and CSV"
FORMAT = Format("fitbit", TITLE, frozenset(METRICS), says, write, in_zone, local, True, log_reading)
