"""Garmin Connect: activities and weighings, and how its instants, offsets and energies are to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from metapulse.record.clock import MINUTE, US, Clock, epoch
from metapulse.record.readers.base import Context
from metapulse.record.readers.garmin_keys import WEIGHT
from metapulse.record.readers.text import number, number_noted
from metapulse.record.schema import Device, Row
from metapulse.record.units import KCAL

GARMIN = Device("Garmin", app="Garmin Connect")
GMT = Clock()
FACTORS = (KCAL, 4.19)  # kJ of a kcal; by the latter Garmin multiplies
WHOLE = 0.005  # kcal: so near a whole number is one, of which the file has two decimals of kJ


@dataclass
class Export:
    """A file while it is read.

    Args:
        context: of the file.
        energies: the energies of all of its activities, from the start.
        lost: of the item that is being read: why parts of it gave nothing.
    """

    context: Context
    energies: Callable[[], Iterable[float]]
    lost: list[str] = field(default_factory=list)

    @cached_property
    def factor(self) -> float:
        """By which the export's energies were multiplied, which names no unit: 1 where they are kcal.

        Of one number it cannot be seen, since 250 kcal are 1046 kJ, a whole number too. kcal are whole: where most of
        the file's energies are so when divided by a factor, it is that one.
        """
        whole, many = Counter[float](), 0
        for energy in self.energies():
            many += 1
            whole.update(factor for factor in FACTORS if _is_whole(energy / factor))
        factor, times = max(whole.items(), key=lambda found: found[1], default=(1.0, 0))
        return factor if 2 * times > many else 1.0


def _is_whole(energy: float) -> bool:
    return abs(energy - round(energy)) < WHOLE


def instant(value: Any) -> int | None:
    """UTC: ms since 1970, or text without an offset."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return epoch(value)
    stamp = GMT.read(value) if isinstance(value, str) else None
    return stamp.start if stamp else None


def offset_of(context: Context, item: dict[str, Any], gmt: str, local: str) -> int | None:
    """Local less GMT, where it is what a zone may be; otherwise that of the zone that was told."""
    at, wall = instant(item.get(gmt)), instant(item.get(local))
    if at is None:
        return None
    if wall is not None and abs(wall - at) <= 14 * 60 * MINUTE and (wall - at) % (15 * MINUTE) == 0:
        return (wall - at) // MINUTE
    return context.clock.offset(at)


def row_at(context: Context, metric: str, start: int, value: float | None, unit: str | None) -> Row:
    """A row of an instant, where the clock of the zone that was told stood."""
    return Row(metric, start, value, unit, 0, None, context.clock.offset(start), None, GARMIN)


def is_exported(item: dict[str, Any]) -> bool:
    """Whether an activity is one of the export, not of the web service."""
    return "startTimeGmt" in item or "beginTimestamp" in item


def activity(export: Export, item: dict[str, Any]) -> Iterator[Row]:
    """The export has its times in ms since 1970 and its numbers in ms, cm and kJ; the web service has texts."""
    exported, context = is_exported(item), export.context
    begin = "startTimeGmt" if "startTimeGmt" in item else "beginTimestamp" if exported else "startTimeGMT"
    start = instant(item.get(begin))
    length = number(item.get("elapsedDuration")) or number(item.get("duration"))
    if start is None or length is None or not 0 <= length < 1e10:
        export.lost.append("an activity without a time or a length")
        return
    kind = item.get("activityType")
    code = str(kind.get("typeKey") if isinstance(kind, dict) else kind).lower()[:40]
    row = row_at(context, "workout", start, length, "ms" if exported else "s")
    row = row._replace(end=start + round(length * (1000 if exported else US)), code=code)
    row = row._replace(offset_min=offset_of(context, item, begin, "startTimeLocal"))
    yield row
    for names, metric, here, there in (
        ("avgHr averageHR", "workout_hr_mean", "bpm", "bpm"),
        ("maxHr maxHR", "workout_hr_max", "bpm", "bpm"),
        ("distance", "workout_distance", "cm", "m"),
    ):
        if value := next((v for name in names.split() if (v := number_noted(context, item, name))), None):
            yield row._replace(metric=metric, value=value, unit=here if exported else there)
    if energy := number_noted(context, item, "calories"):
        yield (
            _energy(export, energy, row)
            if exported
            else row._replace(metric="workout_energy", value=energy, unit="kcal")
        )


def _energy(export: Export, energy: float, row: Row) -> Row:
    """Of an activity of the export: whole kcal again, where they were multiplied."""
    kcal = energy / export.factor
    row = row._replace(metric="workout_energy", unit="kcal", quality=("unit_assumed",))
    if export.factor == 1:
        return row._replace(value=energy)
    return row._replace(value=round(kcal) if _is_whole(kcal) else kcal, raw=f"{energy:.15g} kJ")


def weighing(export: Export, item: dict[str, Any]) -> Iterator[Row]:
    """``date`` is the person's clock; ``timestampGMT`` the instant."""
    context = export.context
    start = instant(item.get("timestampGMT"))
    offset = offset_of(context, item, "timestampGMT", "date")
    wall, marks = instant(item.get("date")), tuple[str, ...]()
    if start is None and wall is not None:
        stamp = context.clock.local(wall)
        start, offset, marks = stamp.start, stamp.offset_min, stamp.marks
    if start is None:
        export.lost.append("a weighing without a time")
        return
    marks = (*marks, "manual") if item.get("sourceType") in ("MANUAL", "MFP") else marks
    given = False
    for key, (metric, unit) in WEIGHT.items():
        if value := number_noted(context, item, key):
            given = True
            yield row_at(context, metric, start, value, unit)._replace(offset_min=offset, quality=marks)
    if not given:
        export.lost.append("a weighing without a value")
