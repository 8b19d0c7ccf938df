"""How to write a format: one file in this folder with ``FORMAT`` in it. Nothing else names it.

A format is the inverse of a reader of metapulse/record/readers. ``write`` makes the files of an export from canonical
rows; ``says`` is what the format can say of a row, so that

    import(write(rows))  =  {says(row) for row in rows if says(row)}     as a multiset, repeats aside

holds for any rows (tests/sim/fake/test_formats.py), with the format's traps as well as without. Where the files have
local times or days, reading puts them on the clock of the zone that is told: ``Format.said`` is that, and the law is
of it. It is ``says`` where ``local`` is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from metapulse.record.clock import DAY, MINUTE, Clock
from metapulse.record.clock import zone as zone_of
from metapulse.record.readers.base import Options
from metapulse.record.schema import Row


@dataclass(frozen=True)
class Making:
    """How an export is to be made.

    Args:
        folder: where its files go; it is there and empty.
        zone: name of the person's time zone, for formats with local times: "Europe/Berlin".
        traps: whether the export has the oddities that real ones of this vendor have: rows uploaded twice, headers in
            another language, placeholders, a torn tail. None of them costs a row.
        rng: what the traps are drawn with.
    """

    folder: Path
    zone: str = "UTC"
    traps: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))


Says: TypeAlias = Callable[[Row], Row | None]
Write: TypeAlias = Callable[[Sequence[Row], Making], None]


@dataclass(frozen=True)
class Format:
    """One vendor's export.

    Args:
        name: as the reader's that reads it: "apple", "fitbit".
        title: for people: "Apple Health: export.xml".
        metrics: of metrics.csv that it holds.
        says: what it can say of a row: times as exact, values as rounded and devices as named as in its files, in
            canonical units and with the marks that reading gives; None where it holds no such row.
        write: the files, from rows in order of time.
        options: from the name of the zone: what a reader has to be told to read the files right.
        local: of a row that was said: whether the files hold its local times or its day only.
        reading: what local times are read as in a zone, where not as ``localised`` says.
        placed: whether the files have instants and the reader asks the told zone where the clock stood then; rows
            are said without an offset.
    """

    name: str
    title: str
    metrics: frozenset[str]
    says: Says
    write: Write
    options: Callable[[str], Options] = field(default=lambda zone: Options())
    local: Callable[[Row], bool] = field(default=lambda row: "date_only" in row.quality)

    placed: bool = False
    reading: Callable[[Row, str], Row] = field(default=lambda row, zone: localised(row, zone))

    def said(self, row: Row, zone: str) -> Row | None:
        """What reading gives of a row, where the reader is told the zone; None where the format holds no such row."""
        told = self.says(row)
        if told is not None and self.local(told):
            return self.reading(told, zone)
        if told is not None and self.placed and told.offset_min is None:
            return told._replace(offset_min=clock_in(zone).offset(told.start))
        return told


@lru_cache(64)
def clock_in(zone: str) -> Clock:
    """The clock of a zone by its name."""
    return Clock(zone_of(zone))


def in_zone(zone: str) -> Options:
    """What a reader is told where files have local times or days."""
    return Options(zone_of(zone))


def walls(row: Row, zone: str) -> tuple[int, int | None]:
    """What the person's clock showed at start and end, in µs as if it were UTC.

    Args:
        row: with its offset; without one the person is in the zone.
        zone: the person's. A person who is elsewhere at the start is there at the end too.
    """
    clock = clock_in(zone)
    home = clock.offset(row.start) or 0
    offset = home if row.offset_min is None else row.offset_min
    if row.end is None:
        return row.start + offset * MINUTE, None
    last = (clock.offset(row.end) or 0) if offset == home else offset
    return row.start + offset * MINUTE, row.end + last * MINUTE


def localised(row: Row, zone: str) -> Row:
    """A row whose local times, or whose day, have been read by the clock of a zone."""
    clock, (start, end) = clock_in(zone), walls(row, zone)
    if "date_only" in row.quality:
        day = clock.day(start // DAY)
        return row._replace(start=day.start, end=day.end, offset_min=day.offset_min)
    first = clock.local(start)
    last = None if end is None else clock.local(end).start
    marks = (*row.quality, *first.marks)
    return row._replace(start=first.start, end=last, offset_min=first.offset_min, quality=marks)
