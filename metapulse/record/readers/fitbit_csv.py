"""The CSV of fitbit.com itself: tables with a title (Activities, Sleep, Body, Foods), a line a day or a night.

Thousands have separators, the date is in the account's order, and units of distance and weight are the account's and
not written: they are inferred from the length of a step, and from the height that weight and BMI imply, and marked
``unit_assumed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import note_unread
from metapulse.record.readers.decimals import POINTED
from metapulse.record.readers.fitbit_items import FITBIT, usual_unit, weight_unit
from metapulse.record.readers.text import csv_rows, noted, number, row_of
from metapulse.record.schema import Row

TITLES = ("activities", "sleep", "body", "foods", "food log")
DAY, BEGAN, ENDED = "date", "start time", "end time"
#: Column in lower case → metric, unit, code.
COLUMNS: dict[str, tuple[str, str | None, str | None]] = {
    "steps": ("steps_daily", None, None),
    "calories burned": ("total_energy", "kcal", None),
    "activity calories": ("active_energy", "kcal", None),
    "distance": ("distance", "", None),
    "floors": ("floors", None, None),
    "minutes sedentary": ("sedentary_minutes", "min", None),
    "minutes lightly active": ("active_minutes", "min", "lightly"),
    "minutes fairly active": ("active_minutes", "min", "fairly"),
    "minutes very active": ("active_minutes", "min", "very"),
    "minutes asleep": ("sleep_duration", "min", None),
    "minutes awake": ("sleep_awake", "min", None),
    "number of awakenings": ("sleep_disturbances", None, None),
    "time in bed": ("time_in_bed", "min", None),
    "minutes rem sleep": ("sleep_rem", "min", None),
    "minutes light sleep": ("sleep_light", "min", None),
    "minutes deep sleep": ("sleep_deep", "min", None),
    "weight": ("weight", "", None),
    "bmi": ("bmi", None, None),
    "fat": ("body_fat", "%", None),
    "calories in": ("energy_eaten", "kcal", None),
}
KNOWN = {DAY, BEGAN, ENDED, *COLUMNS}
WHOLE = [name for name, (_, unit, _) in COLUMNS.items() if unit in (None, "min") and name != "bmi"]  # no fractions
STEP = {"km": 1000.0, "mi": 1609.344}  # metres
USUAL_STEP = 0.72  # m


def sniff(sample: Sample) -> str:
    """A title line and a header of fitbit.com below it."""
    texts = [line.strip().strip(",").lower() for line in sample.lines[:40]]
    for title, header in pairwise(texts):
        if title in TITLES and _is_header(header.replace('"', "").split(",")):
            return f"it has a table of fitbit.com's: {title}"
    return ""


def _is_header(cells: list[str]) -> bool:
    names = {cell.strip().lower() for cell in cells}
    return bool(names & {DAY, BEGAN} and names & COLUMNS.keys())


@dataclass
class _Look:
    """What the whole file tells.

    Args:
        stamps: of its rows.
        walked: steps and distance, as written.
        pointed: whether points part thousands.
        weighed: weights and their BMI.
    """

    stamps: list[str] = field(default_factory=list)
    walked: list[tuple[str | None, str | None]] = field(default_factory=list)
    pointed: bool = False
    weighed: list[tuple[float | None, float | None]] = field(default_factory=list)

    def plain(self, cell: str | None) -> str | None:
        """A cell without the points of thousands: "2.467" kcal are 2467 where "13.666" are steps."""
        return cell.replace(".", "") if self.pointed and cell and POINTED.fullmatch(cell) else cell

    def number(self, cell: str | None) -> float | None:
        """A cell's number; the comma is the decimal sign where points part thousands."""
        return number(self.plain(cell), decimal_comma=self.pointed)

    def weighs(self, weight: float, bmi: str | None) -> str:
        """Unit of a weight."""
        return weight_unit(weight, self.number(bmi)) or self.usual

    @cached_property
    def usual(self) -> str:
        """Unit of most weights."""
        return usual_unit(self.weighed)

    @cached_property
    def unit(self) -> str:
        """Of distance: the one that makes the steps of a person's length."""
        both = [(self.number(steps), self.number(distance)) for steps, distance in self.walked]
        sums = [sum(column) for column in zip(*((s, d) for s, d in both if s and d), strict=True)]
        each = sums[1] / sums[0] if sums else 0
        return min(STEP, key=lambda unit: abs(each * STEP[unit] - USUAL_STEP)) if each else "km"


def read(context: Context) -> Iterator[Row]:
    """Every cell that is a number."""
    look = _look(context)
    context.date_order(look.stamps, "mdy")
    for line, cells in _tables(context):
        start, end = (
            context.clock.read(cells.get(DAY) or cells.get(BEGAN, "")),
            context.clock.read(cells.get(ENDED, "")),
        )
        if start is None:
            context.skip("a stamp that is no time")
            continue
        until = start.end if end is None else end.start
        idle = look.number(cells.get("steps")) == 0 and look.number(cells.get("minutes sedentary")) == 1440
        marks = (*start.marks, *(("not_worn_suspected",) if idle else ()))
        given = False
        for name, (metric, unit, code) in COLUMNS.items():
            value = noted(context, look.plain(cells.get(name)), name, look.pointed)
            if value is None:
                continue
            given = True
            assumed: tuple[str, ...] = ()
            if unit == "":
                unit = look.unit if metric == "distance" else look.weighs(value, cells.get("bmi"))
                assumed = ("unit_assumed",)
            yield Row(metric, start.start, value, unit, line, until, start.offset_min, code, FITBIT, (*marks, *assumed))
        if not given:
            context.skip("no value")


def _look(context: Context) -> _Look:
    """Go through the file once beforehand."""
    look = _Look()
    for _, cells in _tables(context, count=False):
        look.pointed = look.pointed or any(POINTED.fullmatch(cells.get(name, "")) for name in WHOLE)
        look.walked.append((cells.get("steps"), cells.get("distance")))
        if cells.get("weight") and cells.get("bmi"):
            look.weighed.append((look.number(cells["weight"]), look.number(cells["bmi"])))
        look.stamps.append(cells.get(DAY) or cells.get(BEGAN, ""))
    return look


def _tables(context: Context, count: bool = True) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cell by column in lower case) of every table's rows."""
    header: list[str] = []
    for line, cells in csv_rows(context, ",", count):
        filled = [cell for cell in cells if cell]
        if len(filled) < 2 or _is_header(cells):
            header = [cell.lower() for cell in cells] if len(filled) > 1 else []
            if count:
                context.skip("a title or a header")
                note_unread(context, cells if header else (), {at for at, name in enumerate(header) if name in KNOWN})
        elif header:
            yield line, row_of(context, header, cells, count)
        elif count:
            context.skip("below no header that is known")


READER = Reader("fitbit_csv", "Fitbit: CSV of fitbit.com", sniff, read)
