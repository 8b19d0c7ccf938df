"""All that a page about a record says, counted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.sim.report.record.courses import Course, every_course
from metapulse.sim.report.record.marks import ClockSpell, Marked, clock_spells, every_mark
from metapulse.sim.report.record.nights import Nights, nights
from metapulse.sim.report.record.rows import RecordRows, extent, read_record
from metapulse.sim.report.record.wear import Silence, Wear, silences, slots, wear


@dataclass(frozen=True)
class DeviceLine:
    """What a device gave.

    Args:
        place: in colours and names.
        rows: of the record.
        metrics: names, those with most rows first.
        span: first start and last start or end, µs on the person's clock; None where no stamp can be right.
        worn: what its signs of wear say; None without any.
    """

    place: int
    rows: int
    metrics: tuple[str, ...]
    span: tuple[int, int] | None
    worn: Wear | None


class RecordView:
    """A record that is to be shown; each part is made when it is first asked for.

    Args:
        path: the record.
        record: its rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: RecordRows = read_record(path)

    @cached_property
    def courses(self) -> list[Course]:
        """The metrics' courses."""
        return every_course(self.record)

    @cached_property
    def slots(self) -> pl.DataFrame:
        """Where there are rows, by device."""
        return slots(self.record)

    @cached_property
    def wear(self) -> dict[str, Wear]:
        """Title → map, of those that have anything."""
        titles = {"body": "Heart, movement and sleep", "glucose": "Glucose sensor"}
        return {title: found for sign, title in titles.items() if (found := wear(self.slots, sign))}

    @cached_property
    def silences(self) -> list[Silence]:
        """When devices said nothing, longest first."""
        return silences(self.slots.filter(self.record.single))

    @cached_property
    def nights(self) -> Nights | None:
        """Sleep."""
        return nights(self.record)

    @cached_property
    def marks(self) -> list[Marked]:
        """What is marked."""
        return every_mark(self.record)

    @cached_property
    def clock(self) -> list[ClockSpell]:
        """Where the clock stood."""
        return clock_spells(self.record)

    @cached_property
    def devices(self) -> list[DeviceLine]:
        """What every device gave, in order of rows."""
        return list(self._devices())

    def _devices(self) -> Iterator[DeviceLine]:
        for (place,), own in (
            self.record.contents.sort("rows", descending=True)
            .sort("place", maintain_order=True)
            .group_by("place", maintain_order=True)
        ):
            here = self.slots.filter(pl.col("place") == place)
            worn = wear(here) or wear(here, "glucose")
            metrics = tuple(own["metric"].unique(maintain_order=True))
            yield DeviceLine(
                int(place),
                int(own["rows"].sum()),
                metrics,
                extent(own["first"], own["last"]),
                worn,
            )

    def name(self, place: int) -> str:
        """A device's name."""
        return self.record.devices[place]

    @property
    def days(self) -> int:
        """From the first day to the last."""
        if self.record.span is None:
            return 0
        first, last = self.record.span
        return max(last - 1, first) // DAY - first // DAY + 1


def length_words(length: int) -> str:
    """A length in µs in words: 5 days 3 h, 2 h 10 min, 35 min."""
    minutes = round(length / MINUTE)
    days, rest = divmod(minutes, DAY // MINUTE)
    hours, left = divmod(rest, HOUR // MINUTE)
    if days >= 30:
        return f"{days:,} days"
    if days:
        return f"{days} day{'s' * (days > 1)}" + (f" {hours} h" if hours else "")
    return (f"{hours} h" + (f" {left} min" if left else "")) if hours else f"{left} min"
