"""Days of a person, from every source together and from each alone.

A day is the person's: the date of ``start`` + ``offset_min``, so that it follows travel and has 23 or 25 hours when
clocks change. An amount across midnight is divided in proportion to time. Everything here takes the rows of a record
(``load_record``) and computes; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from metapulse.record.frame import DOUBTFUL, REPEATS, without
from metapulse.record.metrics import metrics
from metapulse.record.overlap import counted_shares, union_minutes, wish, with_source
from metapulse.record.restated import restated

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame


LONGEST_DAYS = 366  # an amount over more is not divided: it stays on its first day


def daily_totals(rows: Frame, prefer: Sequence[str] = ()) -> Frame:
    """Sums of each day over all sources, each moment counted once: (day, metric, value).

    For metrics that merge by ``sum``; and minutes of the union for those that merge by ``union``, but for sleep.

    Args:
        rows: of a record.
        prefer: parts of sources' names, the most preferred first; overlap.py has the rest of the order.
    """
    return _totals(rows, prefer, by=())


def daily_totals_by_source(rows: Frame) -> Frame:
    """The same of each source alone: (day, metric, by, value); ``by`` is the source's name."""
    return _totals(rows, (), by=("by",))


def _totals(rows: Frame, prefer: Sequence[str], by: tuple[str, ...]) -> Frame:
    import polars as pl

    amounts = _usable(rows, "sum")
    pieces = _by_midnight(amounts.filter(~pl.Series(restated(amounts))))
    if by:
        shares = np.ones(len(pieces))
        for (_,), part in pieces.with_row_index("at").group_by("by", maintain_order=True):
            shares[part["at"].to_numpy()] = counted_shares(part)
    else:
        shares = counted_shares(pieces, prefer)
    amount = pieces.with_columns(pl.col("value") * pl.Series(shares)).group_by("day", "metric", *by)
    covered = _by_midnight(_usable(rows, "union").filter(pl.col("metric") != "sleep_stage"))
    groups = covered.group_by("day", "metric", *by, maintain_order=True)
    total = amount.agg(pl.col("value").sum())
    minutes = pl.DataFrame([(*key, union_minutes(part)) for key, part in groups], schema=total.schema, orient="row")
    return pl.concat([total, minutes]).sort("day", "metric", *by)


def daily_last(rows: Frame, prefer: Sequence[str] = ()) -> Frame:
    """The newest value of each day of metrics that merge by ``last``: (day, metric, code, value, by).

    Of values of one moment the preferred source's counts, and of several of one source the largest: an export that is
    made before the day is over has less.
    """
    import polars as pl

    left = _usable(rows, "last")
    left = left.with_columns(when=pl.coalesce("end", "start"), wish=wish(prefer))
    order = ["when", "start", "wish", "by", "value"]
    newest = left.sort(order, descending=[True, True, False, False, True], maintain_order=True)
    first = newest.unique(["day", "metric", "code"], keep="first", maintain_order=True)
    return first.select("day", "metric", "code", "value", "by").sort("day", "metric", "code")


def by_minute(rows: Frame, metric: str, prefer: Sequence[str] = ()) -> Frame:
    """Samples of one metric, in each minute those of one source: (minute, value, by), value the minute's mean.

    Args:
        rows: of a record.
        metric: one that merges by ``mean``: "heart_rate", "glucose".
        prefer: as in ``daily_totals``.
    """
    import polars as pl

    left = _usable(rows, "mean").filter((pl.col("metric") == metric) & pl.col("code").is_null() & ~pl.col("whole_day"))
    left = left.filter(pl.Series(counted_shares(left, prefer)) > 0)
    minute = pl.col("start").dt.truncate("1m").alias("minute")
    mean = left.group_by(minute, "by").agg(pl.col("value").mean(), pl.col("start").min())
    one = mean.sort("minute", "start", "by").unique("minute", keep="first", maintain_order=True)
    return one.select("minute", "value", "by")


def _usable(rows: Frame, rule: str) -> Frame:
    """Rows to compute with, of metrics that merge by one rule, with their sources."""
    import polars as pl

    names = [name for name, metric in metrics().items() if metric.merge == rule]
    left = with_source(without(rows.filter(pl.col("metric").is_in(names)), (*REPEATS, *DOUBTFUL)))
    return left.filter(pl.col("end") > pl.col("start") if rule == "union" else pl.col("value").is_not_null())


def _by_midnight(rows: Frame) -> Frame:
    """Rows that cross the person's midnight, divided there in proportion to time."""
    import polars as pl

    offset = pl.duration(minutes=pl.col("offset_min").fill_null(0).cast(pl.Int64))
    last = (pl.col("end") + offset - pl.duration(microseconds=1)).dt.date()
    length = pl.col("end") - pl.col("start")
    short = (length > pl.duration()) & (length < pl.duration(days=LONGEST_DAYS))
    crosses = ((last > pl.col("day")) & short).fill_null(False) & ~pl.col("whole_day")
    kept, cut = rows.filter(~crosses), rows.filter(crosses)
    if not len(cut):
        return rows
    cut = cut.with_columns(whole=pl.col("end") - pl.col("start"), day=pl.date_ranges("day", last))
    cut = cut.explode("day")
    midnight = pl.col("day").cast(pl.Datetime("us", "UTC")) - offset
    cut = cut.with_columns(
        start=pl.max_horizontal("start", midnight), end=pl.min_horizontal("end", midnight + pl.duration(days=1))
    )
    part = (pl.col("end") - pl.col("start")) / pl.col("whole")
    cut = cut.with_columns(value=pl.col("value") * part).drop("whole")
    return pl.concat([kept, cut.select(kept.columns)])
