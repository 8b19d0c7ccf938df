"""Garmin FIT: files of a watch, one for each device, night and session. Whole seconds; the offset in quarters of hours.

Running totals are not written: between two of them is always a row, of 0 where nothing was added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metapulse.record.clock import DAY, MINUTE, US
from metapulse.record.readers.fit_facts import EPOCH
from metapulse.record.readers.fit_walk import FAR
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.fit_bytes import ENUM, STAMP, U8, U16, U32, U32Z, Field, fit_file, message_records
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.fit_fields import (
    ACTIVITY,
    FEWEST,
    GARMIN,
    LEVELS,
    MONITORING,
    NIGHT,
    PLACES,
    PRODUCT,
    RANGES,
    SPORTS,
    WORDS,
    watch,
)
from metapulse.sim.fake.formats.items import chained, gathered
from metapulse.sim.fake.formats.parts import MILLISECOND, SECOND, again, floored, of_day, plain, put

WEST, EAST = -14 * 60, 14 * 60


def says(row: Row) -> Row | None:
    """What fits into the field's whole numbers; steps with their length, stages, sessions of the profile's sports."""
    told = floored(plain(row), MILLISECOND if row.metric in ("rr_interval", "workout") else SECOND)
    offset = min(max(15 * round((row.offset_min or 0) / 15), WEST), EAST)
    told = told._replace(offset_min=offset, device=watch(row.device))
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
    number = place.number(row)
    low, high = RANGES[place.kind]
    low = max(low, FEWEST.get(row.metric, low) * round(place.scale))
    end = told.end if row.metric == "steps" else None
    return told._replace(end=end, value=number / place.scale - place.shift) if low <= number <= high else None


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
        data = fit_file(*message_records([identity, *messages(part, making)]), crc=not making.traps)
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
            begin = row.start // MILLISECOND - place.number(row)
            fields = [(STAMP, U32, begin // 1000 - EPOCH), (0, U16, begin % 1000)]
        for each in item.values():
            spot = PLACES[each.metric, each.code]
            fields.append((spot.field, spot.kind, spot.number(each)))
        messages.append((place.message, fields))
        if making.traps and making.rng.random() < 0.1:
            messages.append((55, [(STAMP, U32, stamp), (27, U8, 255)]))
    return messages


METRICS = frozenset({metric for metric, _ in PLACES} | {"sleep_stage", "workout"})
FORMAT = Format("fit", "Garmin FIT: files of a watch", METRICS, says, write)
