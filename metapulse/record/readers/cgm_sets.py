"""Published sets of glucose with meals, as people keep them: CGMacros, D1NAMO, and the food logs of BIG IDEAs.

CGMacros is one line a minute: two sensors interpolated to it, a Fitbit, and meals with the share that was eaten.
D1NAMO has glucose, insulin and food in files of their own, without units: of glucose all values together tell. The
sensor's files of BIG IDEAs are Clarity's, and read as such. Stamps are local.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from metapulse.record.clock import MINUTE
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_column, csv_table, delimiter_of, number, number_noted
from metapulse.record.schema import NO_DEVICE, Device, Row

MMOL_BELOW = 35.0  # a person's glucose is never all below it in mg/dL, and never above it in mmol/L


class Column(NamedTuple):
    """What a column holds: its metric, unit, minutes that a value covers, device, and marks."""

    metric: str
    unit: str | None
    minutes: int = 0
    device: Device = NO_DEVICE
    marks: tuple[str, ...] = ()


MANUAL = ("manual",)
FITBIT = Device("Fitbit")
MINUTES = {
    "libre gl": Column("glucose", "mg/dL", 0, Device("Abbott", "FreeStyle Libre"), ("interpolated",)),
    "dexcom gl": Column("glucose", "mg/dL", 0, Device("Dexcom"), ("interpolated",)),
    "hr": Column("heart_rate", "bpm", 0, FITBIT),
    "steps": Column("steps", None, 1, FITBIT),
    "calories (activity)": Column("total_energy", "kcal", 1, FITBIT),
}
MEAL = {
    "calories": Column("energy_eaten", "kcal", marks=MANUAL),
    "carbs": Column("carbohydrates", "g", marks=MANUAL),
    "protein": Column("protein", "g", marks=MANUAL),
    "fat": Column("fat", "g", marks=MANUAL),
    "fiber": Column("fibre", "g", marks=MANUAL),
}
LOG = {
    "calorie": Column("energy_eaten", "kcal", marks=MANUAL),
    "total_carb": Column("carbohydrates", "g", marks=MANUAL),
    "protein": Column("protein", "g", marks=MANUAL),
    "total_fat": Column("fat", "g", marks=MANUAL),
    "dietary_fiber": Column("fibre", "g", marks=MANUAL),
}
FOOD = {"calories": Column("energy_eaten", "kcal", marks=MANUAL)}
INSULIN = {
    "fast_insulin": Column("insulin_rapid", "U", marks=MANUAL),
    "slow_insulin": Column("insulin_long", "U", marks=MANUAL),
}
#: Columns that tell a kind of file → why, in words.
KINDS = (
    ({"timestamp", "libre gl", "dexcom gl"}, "two sensors of glucose a minute, as in CGMacros"),
    ({"date", "logged_food", "total_carb"}, "food with what is in it, as in the logs of BIG IDEAs"),
    ({"date", "time", "glucose", "type", "comments"}, "glucose with type and comments, as in D1NAMO"),
    ({"date", "time", "fast_insulin", "slow_insulin"}, "fast and slow insulin, as in D1NAMO"),
    ({"picture", "description", "calories", "balance"}, "food with pictures and balance, as in D1NAMO"),
)


def _fold(cell: str) -> str:
    return cell.strip().strip('"').lower()


def _kind(header: str) -> int | None:
    cells = {_fold(cell) for cell in header.split(delimiter_of(header))}
    return next((at for at, (needed, _) in enumerate(KINDS) if needed <= cells), None)


def sniff(sample: Sample) -> str:
    """By the header."""
    kind = _kind(sample.lines[0]) if sample.lines else None
    return "" if kind is None else f"its header has {KINDS[kind][1]}"


def read(context: Context) -> Iterator[Row]:
    """Each file by its columns."""
    kind = _kind(context.file.head(4096).decode("utf-8", "replace").lstrip("\ufeff").split("\n", 1)[0].strip())
    needed = KINDS[0 if kind is None else kind][0]
    dated = "timestamp" if "timestamp" in needed else "date"
    context.date_order(csv_column(context, dated, fold=_fold), "mdy")
    glucose = _glucose_unit(context) if "glucose" in needed else ""
    for at, cells in csv_table(context, *needed, fold=_fold):
        stamp = context.clock.read(_when(cells))
        if stamp is None:
            context.skip("a stamp that is no time")
            continue
        end = stamp.end
        whole = Row("", stamp.start, None, None, at, end, stamp.offset_min, quality=stamp.marks)
        rows = list(_values(context, cells, needed, glucose))
        for row, minutes in rows:
            yield whole._replace(
                metric=row.metric, value=row.value, unit=row.unit, device=row.device, raw=row.raw, code=row.code,
                quality=(*stamp.marks, *row.quality), end=stamp.start + minutes * MINUTE if minutes else end,
            )  # fmt: skip
        if not rows:
            context.skip("no value")


def _when(cells: Mapping[str, str]) -> str:
    """Date and time from one or two columns; pictures of food have dates as 2014:10:01."""
    whole = cells.get("timestamp") or cells.get("time_begin") or cells.get("datetime") or ""
    if whole:
        return whole.replace(":", "-", 2) if whole[4:5] == ":" else whole
    return f"{cells.get('date', '')} {cells.get('time') or cells.get('time_of_day') or ''}".strip()


def _glucose_unit(context: Context) -> str:
    """Of the whole column: mmol/L if no value is over what a person can have in that unit."""
    values = (number(text) for text in csv_column(context, "glucose", fold=_fold))
    return "mg/dL" if any(value is not None and value > MMOL_BELOW for value in values) else "mmol/L"


def _values(context: Context, cells: Mapping[str, str], needed: set[str], glucose: str) -> Iterator[tuple[Row, int]]:
    """(value without its time, minutes that it covers)."""
    if glucose:
        value, sensor = number(cells["glucose"]), cells["type"].lower() == "cgm"
        if value is not None:
            metric = "glucose" if sensor else "glucose_blood"
            yield Row(metric, 0, value, glucose, quality=("unit_assumed",)), 0
        return
    if "timestamp" in needed:
        yield from _columns(context, cells, MINUTES, None)
        if cells.get("meal type"):
            yield from _columns(context, cells, MEAL, number_noted(context, cells, "amount consumed"))
    elif "logged_food" in needed:
        yield from _columns(context, cells, LOG, None)
    else:
        yield from _columns(context, cells, INSULIN if "fast_insulin" in needed else FOOD, None)


def _columns(
    context: Context, cells: Mapping[str, str], known: Mapping[str, Column], share: float | None
) -> Iterator[tuple[Row, int]]:
    """The numbers of some columns; of a meal the share in % that was eaten."""
    for name, (metric, unit, minutes, device, marks) in known.items():
        value, raw = number_noted(context, cells, name), None
        if value is None:
            continue
        if share is not None and 0 <= share <= 100 and share != 100:
            value, raw = value * share / 100, f"{value:g} {unit}, of which {share:g} %"
        yield Row(metric, 0, value, unit, device=device, quality=marks, raw=raw), minutes


READER = Reader("cgm_sets", "CGMacros, D1NAMO, food logs of BIG IDEAs: CSV", sniff, read)
