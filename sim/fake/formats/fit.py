"""Garmin FIT: files of a watch, one for each device, night and session. Whole seconds; the offset in quarters of hours.

Running totals are not written: between two of them is always a row, of 0 where nothing was added.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metapulse.record.clock import DAY, MINUTE, US
from metapulse.record.readers.fit_facts import EPOCH
from metapulse.record.readers.fit_tables import LEAST
from metapulse.record.readers.fit_walk import FAR
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.fit_bytes import ENUM, S8, S16, STAMP, U8, U16, U32, U32Z, Field, fit_file, records
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.items import chained, gathered
from metapulse.sim.fake.formats.parts import MILLISECOND, SECOND, again, floored, of_day, plain, put


class Place(NamedTuple):
    """Where a value is: message, field, its type; what is written of a canonical unit, and of 0; when."""

    message: int
    field: int
    kind: int
    scale: float = 1.0
    shift: float = 0.0
    stamp: int = STAMP


PLACES: dict[tuple[str, str | None], Place] = {
    ("heart_rate", None): Place(55, 27, U8),
    ("skin_temperature", None): Place(55, 12, S16, 100),
    ("cadence", None): Place(20, 4, U8),
    ("power", None): Place(20, 7, U16),
    ("speed", None): Place(20, 73, U32, 1000),
    ("altitude", None): Place(20, 78, U32, 5, 500),
    ("ambient_temperature", None): Place(20, 13, S8),
    ("body_temperature", None): Place(20, 139, U16, 100),
    ("resting_heart_rate", None): Place(211, 1, U8),
    ("spo2", None): Place(269, 0, U8),
    ("respiratory_rate", None): Place(297, 0, S16, 100),
    ("hrv_rmssd", None): Place(371, 0, U16, 128),
    ("hrv_rmssd", "mean of the night"): Place(370, 1, U16, 128),
    ("stress", None): Place(227, 0, S16, stamp=1),
    ("vo2max", None): Place(229, 2, U16, 10, stamp=0),
    ("weight", None): Place(30, 0, U16, 100),
    ("body_fat", None): Place(30, 1, U16, 100),
    ("body_water", None): Place(30, 2, U16, 100),
    ("bone_mass", None): Place(30, 4, U16, 100),
    ("muscle_mass", None): Place(30, 5, U16, 100),
    ("bmi", None): Place(30, 13, U16, 10),
    ("bp_systolic", None): Place(51, 0, U16),
    ("bp_diastolic", None): Place(51, 1, U16),
    ("body_battery", None): Place(314, 1, S8),
    ("steps", None): Place(304, 1, U32),
    ("rr_interval", None): Place(290, 1, U16),
}
#: Base type → numbers that are values: 0 is none of some, and the greatest says that there is none.
RANGES = {U8: (0, 254), S8: (-128, 126), U16: (0, 65_534), S16: (-(2**15), 2**15 - 2), U32: (0, 2**32 - 2)}
FEWEST = LEAST | {"rr_interval": 1}
LEVELS = {"unknown": 0, "awake": 1, "light": 2, "deep": 3, "rem": 4}
SPORTS = {"generic": 0, "running": 1, "cycling": 2, "swimming": 5, "training": 10, "walking": 11, "hiking": 17}
WORDS = {"biking": "cycling", "strength": "training"}
GARMIN, PRODUCT, MODEL = 1, 3290, "fenix6"
ACTIVITY, MONITORING, NIGHT = 4, 32, 49  # types of files
WEST, EAST = -14 * 60, 14 * 60


def says(row: Row) -> Row | None:
    """What fits into the field's whole numbers; steps with their length, stages, sessions of the profile's sports."""
    told = floored(plain(row), MILLISECOND if row.metric in ("rr_interval", "workout") else SECOND)
    offset = min(max(15 * round((row.offset_min or 0) / 15), WEST), EAST)
    told = told._replace(offset_min=offset, device=_device(row.device))
    length = 0 if told.end is None else told.end - told.start
    if of_day(row):
        return None
    if row.metric == "sleep_stage":
        return told if row.code in LEVELS and 0 < length < DAY else None
    if row.metric == "workout":
        start = told.start // SECOND * SECOND
        sport = WORDS.get(row.code or "", row.code)
        told = told._replace(start=start, end=start + length, code=sport if sport in SPORTS else "generic")
        return told._replace(value=length / MINUTE) if 0 < length < 30 * DAY else None
    place = PLACES.get((row.metric, row.code))
    if place is None or row.value is None or (row.metric == "steps" and not 0 < length // US < 65_535):
        return None
    number = _number(row, place)
    low, high = RANGES[place.kind]
    low = max(low, FEWEST.get(row.metric, low) * round(place.scale))
    end = told.end if row.metric == "steps" else None
    return told._replace(end=end, value=number / place.scale - place.shift) if low <= number <= high else None


def _number(row: Row, place: Place) -> int:
    return round(((row.value or 0.0) + place.shift) * place.scale)


def _device(device: Device) -> Device:
    """A watch, by its serial number; one that is no number becomes one."""
    unit = device.unit
    known = unit is None or (unit.isdecimal() and unit == str(int(unit)) and 0 < int(unit) < 2**32)
    serial = unit if known else str(zlib.crc32((unit or "").encode()) or 1)
    return Device("garmin", MODEL, f"garmin {PRODUCT}", unit=serial)


def write(rows: Sequence[Row], making: Making) -> None:
    """Files by device; with traps wrong CRCs, lengths of 0, bytes behind the end, values that say there is none."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    nights = chained([row for row in told if row.metric == "sleep_stage"], _begins, _ends)
    files: list[tuple[int, list[Row], Callable[[list[Row], Making], list[tuple[int, list[Field]]]]]] = []
    files += [(NIGHT, night, _night) for night in nights]
    files += [(ACTIVITY, [row], _session) for row in told if row.metric == "workout"]
    files += [(MONITORING, part, _monitoring) for part in _parts(told)]
    for at, (kind, part, messages) in enumerate(files):
        stamp, serial = part[0].start // US - EPOCH, int(part[0].device.unit or 0)
        identity = (0, [(0, ENUM, kind), (1, U16, GARMIN), (2, U16, PRODUCT), (3, U32Z, serial), (4, U32, stamp)])
        data = fit_file(*records([identity, *messages(part, making)]), crc=not making.traps)
        if making.traps:
            dead = making.rng.random() < 0.5  # it lost power before the length was written
            data = data[:4] + b"\0\0\0\0" + data[8:] if dead else data + b"\0" * 7
        put(making.folder / f"{stamp + EPOCH}-{at}.fit", data)


def _begins(row: Row) -> tuple[object, ...]:
    return row.start, row.offset_min, row.device


def _ends(row: Row) -> tuple[object, ...]:
    return row.end, row.offset_min, row.device


def _parts(told: Sequence[Row]) -> list[list[Row]]:
    """Rows by device, and anew where none was for a long time."""
    parts: list[list[Row]] = []
    last: dict[Device, list[Row]] = {}
    for row in told:
        if row.metric in ("sleep_stage", "workout"):
            continue
        part = last.get(row.device)
        if part is None or row.start - part[-1].start > FAR * US // 2:
            part = last[row.device] = []
            parts.append(part)
        part.append(row)
    return parts


def _clock(stamp: int, offset: int | None, message: int, field: int) -> tuple[int, list[Field]]:
    """The message that tells where the person's clock stands."""
    return message, [(STAMP, U32, stamp), (field, U32, stamp + 60 * (offset or 0))]


def _night(night: list[Row], making: Making) -> list[tuple[int, list[Field]]]:
    """Levels, each until the next; the event that ends them."""
    begin, end = night[0].start // US - EPOCH, (night[-1].end or 0) // US - EPOCH
    levels = [(275, [(STAMP, U32, row.start // US - EPOCH), (0, ENUM, LEVELS[row.code or ""])]) for row in night]
    stop: tuple[int, list[Field]] = (21, [(STAMP, U32, end), (0, ENUM, 74), (1, ENUM, 1)])
    return [_clock(begin, night[0].offset_min, 103, 0), *levels, stop]


def _session(rows: list[Row], making: Making) -> list[tuple[int, list[Field]]]:
    (row,) = rows
    begin, length = row.start // US - EPOCH, ((row.end or row.start) - row.start) // MILLISECOND
    end = begin + length // 1000
    session = [(STAMP, U32, end), (2, U32, begin), (7, U32, length), (5, ENUM, SPORTS[row.code or ""])]
    return [(18, session), _clock(end, row.offset_min, 34, 5)]


def _monitoring(part: list[Row], making: Making) -> list[tuple[int, list[Field]]]:
    """All else in order of time; where the person's clock moves, that is told before."""
    messages: list[tuple[int, list[Field]]] = []
    offset: int | None = None
    for item in gathered(part, lambda row: (row.start, row.end, row.offset_min, PLACES[row.metric, row.code].message)):
        row = next(iter(item.values()))
        place, stamp = PLACES[row.metric, row.code], row.start // US - EPOCH
        if row.offset_min != offset:
            offset = row.offset_min
            messages.append(_clock(stamp, offset, 103, 0))
        fields: list[Field] = [(place.stamp, U32, stamp)]
        if row.metric == "steps":
            fields.append((0, U16, ((row.end or row.start) - row.start) // US))
        elif row.metric == "body_battery":
            fields.append((0, U16, 60))
        elif row.metric == "rr_interval":  # it is told when a beat begins, and where it ends
            begin = row.start // MILLISECOND - _number(row, place)
            fields = [(STAMP, U32, begin // 1000 - EPOCH), (0, U16, begin % 1000)]
        for each in item.values():
            spot = PLACES[each.metric, each.code]
            fields.append((spot.field, spot.kind, _number(each, spot)))
        messages.append((place.message, fields))
        if making.traps and making.rng.random() < 0.1:
            messages.append((55, [(STAMP, U32, stamp), (27, U8, 255)]))
    return messages


METRICS = frozenset({metric for metric, _ in PLACES} | {"sleep_stage", "workout"})
FORMAT = Format("fit", "Garmin FIT: files of a watch", METRICS, says, write)
