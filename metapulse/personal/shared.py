"""What two devices of one person told of the same moments or days, and from when on that was known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metapulse.migration.pairs import HOUR_US, read_pairs
from metapulse.personal.walk import ALWAYS
from metapulse.record.clock import DAY
from metapulse.record.mapped import nearest_index, within_us
from metapulse.record.recipes.base import MetricRows


@dataclass(frozen=True)
class Shared:
    """An overlap.

    Args:
        table: of ``time``, ``old`` and ``new``, polars, pandas or Arrow; None: there is none.
        until: moment in µs since 1970 from which on all of it is known; ``ALWAYS`` where there is none.
    """

    table: Any = None
    until: int = ALWAYS


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
    return Shared(table, int(max(old.end[a].max(), new.end[b].max())))


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
    people = read_pairs(table, "the overlap", metric).people.values()
    last = max((round(float(one.hours[-1]) * HOUR_US) for one in people if len(one)), default=ALWAYS)
    if last == ALWAYS or not len(series):
        return Shared(table, last)
    until = last + int((series.end - series.start).max())
    if series.date_only.all():
        offset = int(series.offset[-1])
        until = -(-(until + offset) // DAY) * DAY - offset
    return Shared(table, until)
