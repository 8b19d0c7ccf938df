"""Samsung Health: a CSV for each data type, with its title line, and the file of devices beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.samsung import EXERCISES, MERGED, STAGES, TYPES
from metapulse.record.schema import Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    again,
    csv_text,
    floored,
    iso,
    of_day,
    offset_text,
    plain,
    put,
    together,
)

DAYS: tuple[str, ...] = ("pedometer_day_summary", "step_daily_trend", "activity.day_summary", "calories_burned.details")
DAYS += ("vitality_score",)
SHEALTH = (*DAYS, "pedometer_step_count", "oxygen_saturation", "heart_rate", "sleep", "exercise", "stress")
STAMP = "20240601120000"  # of the download, in every file's name
LEFT_OUT = ("step_count", "sleep", "exercise", "pedometer_day_summary")
#: (metric, code, whether of a day) → type, column, unit.
PLACES = {
    (metric, code, kind in DAYS): (kind, column, unit)
    for kind, columns in reversed(TYPES.items())
    for column, metric, unit, code in columns
    if kind not in LEFT_OUT and (metric, column) not in (("heart_rate", "pulse"), ("spo2", "heart_rate"))
}
PLACES[("heart_rate", None, False)] = ("heart_rate", "heart_rate", "bpm")
STAGE = {stage: number for number, stage in STAGES.items()}
SPORT = {name: number for number, name in EXERCISES.items()}
NONE = "exercise 0"  # what has no number


def says(row: Row) -> Row | None:
    """Milliseconds and the person's offset, or a day; the device by its id, its name and model in a file beside."""
    told = plain(row, "date_only")._replace(device=_device(row.device))
    if not of_day(row):
        told = floored(told, MILLISECOND)._replace(offset_min=row.offset_min or 0)
        if row.metric == "sleep_stage" and told.end is not None:
            marks = ("mapped",) if row.code == "in_bed" else ()
            return told._replace(quality=marks) if row.code in (*STAGE, "in_bed") else None
        if row.metric == "workout" and row.value is not None:
            length = round(row.value * MINUTE / MILLISECOND) * MILLISECOND / MINUTE
            return told._replace(value=length, code=row.code if row.code in SPORT else NONE)
    place = (row.metric, row.code, of_day(row))
    return told if place in PLACES and row.value is not None else None


def _device(device: Device) -> Device:
    app = device.app and device.app[:100]
    if not (device.model or device.hardware or device.unit):
        return Device("Samsung", app=app)
    model = device.model or device.hardware
    facts = blake2b(repr((device.manufacturer, model, device.hardware)).encode(), digest_size=8).hexdigest()
    unit = device.unit or ""
    unit = unit if unit.endswith(facts) else (unit[:40] + facts)  # one id, one line in the file of devices
    return Device(device.manufacturer, model, device.hardware, unit=unit, app=app)


def write(rows: Sequence[Row], making: Making) -> None:
    """A file a type; with traps a byte order mark, columns with a prefix, ms since 1970, lines of zeros, repeats."""
    told = [row for row in map(says, rows) if row is not None]
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        kinds[_kind(row)].append(row)
    for kind, found in kinds.items():
        _put(making, kind, [_line(kind, group, making) for group in together(found, _column)])
    devices = {row.device.unit: row.device for row in told if row.device.unit}
    names = ("manufacturer", "name", "model", "firmware", "deviceuuid")
    lines = [dict(zip(names, (part or "" for part in device), strict=False)) for device in devices.values()]
    if lines:
        _put(making, "device_profile", lines)


def _kind(row: Row) -> str:
    if row.metric == "sleep_stage":
        return "sleep" if row.code == "in_bed" else "sleep_stage"
    return "exercise" if row.metric == "workout" else PLACES[row.metric, row.code, of_day(row)][0]


def _column(row: Row) -> str:
    if row.metric in ("sleep_stage", "workout"):
        return "stage" if row.metric == "sleep_stage" else "exercise_type"
    return PLACES[row.metric, row.code, of_day(row)][1]


def _line(kind: str, group: dict[str, Row], making: Making) -> dict[str, str]:
    """One line, by column."""
    row = next(iter(group.values()))
    line = {"deviceuuid": row.device.unit or "", "pkg_name": row.device.app or ""}
    if of_day(row):
        line["day_time"] = _stamp(walls(row, making.zone)[0] // DAY * DAY)
    else:
        end = row.start if row.end is None else row.end
        stamp = _epoch if making.traps and kind == "weight" else _stamp
        line |= {"start_time": stamp(row.start), "time_offset": "UTC" + offset_text(row.offset_min, "")}
        line |= {"end_time": "" if row.end is None else stamp(end)}
    if kind == "step_daily_trend":
        line["source_type"] = MERGED
    for column, row in group.items():
        if row.metric == "workout":
            line |= {column: str(SPORT.get(row.code or "", 0)), "duration": str(round((row.value or 0) * 60_000))}
        elif row.metric == "sleep_stage":
            line |= {column: str(STAGE[row.code or ""])} if row.code in STAGE else {}
        else:
            scale = conversion(row.metric, PLACES[row.metric, row.code, of_day(row)][2]).scale
            line[column] = repr(float(row.value or 0.0) / scale)
    return line


def _stamp(at: int) -> str:
    return iso(at, "").replace("T", " ")


def _epoch(at: int) -> str:
    return str(at // MILLISECOND)


def _put(making: Making, kind: str, lines: list[dict[str, str]]) -> None:
    header = list(dict.fromkeys(name for line in lines for name in line))
    whole = f"com.samsung.{'s' if kind in SHEALTH else ''}health.{kind}"
    cells = [[line.get(name, "") for name in header] for line in lines]
    if making.traps and kind in ("heart_rate", "oxygen_saturation"):
        zero = {"start_time": "2024-03-02 08:00:00.000", "time_offset": "UTC+0100", kind: "0.0", "spo2": "0.0"}
        cells.append([zero.get(name, "") for name in header])
    if making.traps:
        header = [f"{whole}.{name}" for name in header]
    text = csv_text([[whole, "6310010", "10"], header]) + csv_text([[*line, ""] for line in cells])
    put(making.folder / f"samsunghealth/{whole}.{STAMP}.csv", ("\ufeff" if making.traps else "") + text)


METRICS = frozenset(metric for metric, _, _ in PLACES) | {"sleep_stage", "workout"}
FORMAT = Format("samsung", "Samsung Health: CSV of the download of personal data", METRICS, says, write, in_zone)
