"""Rows put together as vendors do: items of several values, lists of one after another; and values as written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from metapulse.record.clock import MINUTE
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import clock_in
from metapulse.sim.fake.formats.parts import of_day


def wall_at_home(us: int, zone: str) -> int:
    """What a clock in the zone shows at an instant, in µs as if it were UTC."""
    return us + (clock_in(zone).offset(us) or 0) * MINUTE


def gathered(
    rows: Iterable[Row], key: Callable[[Row], Hashable], name: Callable[[Row], Hashable] = lambda row: row.metric
) -> list[dict[Hashable, Row]]:
    """Rows with one key as one item, each under its name; where a name comes again, another item begins."""
    items: list[dict[Hashable, Row]] = []
    begun: dict[Hashable, list[dict[Hashable, Row]]] = {}
    for row in rows:
        same, called = begun.setdefault(key(row), []), name(row)
        item = next((item for item in same if called not in item), None)
        if item is None:
            item = {}
            same.append(item)
            items.append(item)
        item[called] = row
    return items


def chained(
    rows: Iterable[Row], before: Callable[[Row], Hashable], after: Callable[[Row], Hashable]
) -> list[list[Row]]:
    """Rows in lists of one after another: each one's ``before`` is what the one ahead of it has ``after``."""
    chains: list[list[Row]] = []
    ends: dict[Hashable, list[Row]] = {}
    for row in rows:
        chain = ends.pop(before(row), None)
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(row)
        ends[after(row)] = chain
    return chains


def rounded(row: Row, digits: int | None, scale: float = 1.0) -> Row:
    """A row with its value as a file holds it: in a unit of ``scale`` canonical ones, to so many digits.

    Args:
        row: any. digits: after the point; None: a whole number of them is written, as of steps.
        scale: canonical units of one of the file's.
    """
    if row.value is None:
        return row
    written = written_value(row, digits, scale)
    return row._replace(value=written * scale)


def written_value(row: Row, digits: int | None, scale: float = 1.0) -> float | int:
    """The number that the file holds of a row; whole where there are no digits."""
    value = (row.value or 0.0) / scale
    return round(value, digits) if digits else round(value)


def limited(row: Row, marks: tuple[str, ...], span: tuple[float, float], limits: tuple[float, float]) -> Row:
    """A sensor's value, or the limit that stands for it.

    Args:
        row: as it is said otherwise. marks: of the row as it was.
        span: the least and the greatest value that is written as it is.
        limits: what stands for all below, and for all above.
    """
    value = row.value or 0.0
    if "censored_low" in marks or value < span[0]:
        return row._replace(value=float(limits[0]), quality=("censored_low",))
    if "censored_high" in marks or value > span[1]:
        return row._replace(value=float(limits[1]), quality=("censored_high",))
    return row


def limit_of(row: Row) -> str:
    """Which limit the value is: "low" or "high"; "" where it is a value."""
    return next((mark.removeprefix("censored_") for mark in row.quality if mark.startswith("censored_")), "")


def newest_first(rows: Iterable[Row]) -> list[Row]:
    """Rows by falling start; those of one start in the order that they had."""
    return sorted(rows, key=lambda row: -row.start)


def daily(row: Row) -> bool:
    """Whether it is a total or mean of a day, by its marks or by its metric."""
    return of_day(row) or row.metric == "steps_daily"
