"""What two devices of one person told of the same moments or days, and from when on that was known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from metapulse.migration.pairs import HOUR_US, read_pairs
from metapulse.record.clock import DAY
from metapulse.record.mapped import nearest_index, within_us
from metapulse.record.recipes.base import MetricRows

if TYPE_CHECKING:
    import polars as pl


FIRST_PAIRS, TIMES = 3, 4  # a map is learned anew with 3 pairs, 12, 48, …


@dataclass(frozen=True)
class Shared:
    """An overlap.

    Args:
        table: of ``time``, ``old`` and ``new``; None: there is none.
        known: moment in µs since 1970 from which on each row is known.
    """

    table: pl.DataFrame | None = None
    known: Int64[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0, np.int64))

    def by(self, moment: int) -> Shared:
        """What was known at a moment."""
        rows = self.known <= moment
        if self.table is None or not rows.any():
            return Shared()
        return self if rows.all() else Shared(self.table.filter(rows), self.known[rows])

    def turns(self, after: int, last: int) -> list[int]:
        """Moments from after one to another at which there were ``FIRST_PAIRS`` rows, and ever ``TIMES`` as many."""
        known, count, moments = np.sort(self.known), FIRST_PAIRS, set()
        while count <= len(known):
            moments.add(int(known[count - 1]))
            count *= TIMES
        return sorted(moment for moment in moments if after < moment <= last)


def shared(old: MetricRows, new: MetricRows, metric: str) -> Shared:
    """Days of the person that both told of; of readings those that are the nearest of each other.

    A pair is known at the end of the later of its two rows, so that of a day is known when it is over.

    Args:
        old, new: rows as ``Recipe.series`` gives them, in order of time.
        metric: says how near readings must be.
    """
    import polars as pl

    old, new = (one.where(~np.isnan(one.value) & ~one.censored & (one.code == "")) for one in (old, new))
    if not len(old) or not len(new):
        return Shared()
    if old.date_only.all() and new.date_only.all():
        _, a, b = np.intersect1d(old.begin, new.begin, return_indices=True)
    else:
        to, back = nearest_index(old.start, new.start), nearest_index(new.start, old.start)
        near = (back[to] == np.arange(len(old))) & (np.abs(new.start[to] - old.start) <= within_us(metric))
        a, b = np.flatnonzero(near), to[near]
    if not len(a):
        return Shared()
    time = pl.Series(old.start[a]).cast(pl.Datetime("us", "UTC"))
    table = pl.DataFrame({"time": time, "old": old.value[a], "new": new.value[b]})
    return Shared(table, np.maximum(old.end[a], new.end[b]))


def given_overlap(table: Any, metric: str, series: MetricRows) -> Shared:
    """An overlap that is given as a table.

    Its moments say when a value began: a value of a day is known at the end of the day in which it is 24 hours old.

    Args:
        table: of ``time``, ``old`` and ``new``.
        metric: of the values.
        series: the old device's rows of it.

    Raises:
        DataError: the table lacks a column, or is in another unit.
    """
    import polars as pl

    people = read_pairs(table, "the overlap", metric).people
    time = np.concatenate([[], *((one.hours * HOUR_US).round() for one in people.values())]).astype(np.int64)
    if not len(time):
        return Shared()
    columns = {name: np.concatenate([getattr(one, name) for one in people.values()]) for name in ("old", "new")}
    columns |= {"person": np.repeat(list(people), list(map(len, people.values())))} if len(people) > 1 else {}
    times = pl.Series(time).cast(pl.Datetime("us", "UTC"))
    known = time + (int((series.end - series.start).max()) if len(series) else 0)
    if len(series) and series.date_only.all():
        offset = int(series.offset[-1])
        known = -(-(known + offset) // DAY) * DAY - offset
    return Shared(pl.DataFrame({"time": times, **columns}), known)
