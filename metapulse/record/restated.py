"""Amounts that the same source says once more in other words: what of them is not to be counted.

    total    two or more finer ones within it add up to it: an amount by quarters of an hour beside the same by minutes
    grown    one begins as another of another file does and ends before it, with no more in it, and its file has nothing
             after it within the other: an export that was made before the hour was over

Other amounts of one source that overlap are counted each, as devices have them: a bolus while another one runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.metrics import metrics

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

OF = ("metric", "by", "chosen", "code")  # amounts of these in common may be one
CLOSE = 1e-6  # of an amount: sums of numbers that were rounded


def restated(rows: Frame) -> NDArray[np.bool_]:
    """Which rows are said once more by others of their source; (rows,).

    Args:
        rows: of ``overlap.with_source``, without repeats and doubtful values.
    """
    import polars as pl

    found = np.zeros(len(rows), bool)
    sums = [name for name, metric in metrics().items() if metric.merge == "sum"]
    amounts = rows.select(
        "metric", "by", "chosen", pl.col("code").fill_null(""), "value", "whole_day",
        pl.col("source").struct.field("file").fill_null(""),
        pl.col("start").dt.epoch("us"), pl.col("end").dt.epoch("us"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("at"),
    )  # fmt: skip
    spread = ~pl.col("whole_day") & (pl.col("end") > pl.col("start")) & pl.col("value").is_not_null()
    amounts = amounts.filter(pl.col("metric").is_in(sums) & spread)
    for _, own in amounts.group_by(*OF, maintain_order=True):
        own = own.sort("start", "end", descending=[False, True])
        crossed = _crossed(own["start"].to_numpy(), own["end"].to_numpy())
        if crossed.any():
            own = own.filter(pl.Series(crossed))
            total = pl.Series(_totals(own))
            found[own.filter(total)["at"].to_numpy()] = True
            own = own.filter(~total)
            found[own.filter(_grown())["at"].to_numpy()] = True
    return found


def _crossed(start: Any, end: Any) -> NDArray[np.bool_]:
    """Rows that overlap another; they are in order of their begin."""
    reached = np.maximum.accumulate(end)
    apart = np.append(True, start[1:] >= reached[:-1])
    crossed: NDArray[np.bool_] = ~(apart & np.append(apart[1:], True))
    return crossed


def _grown() -> pl.Expr:
    """Rows that are an earlier state of the longest one that begins with them, which stands first."""
    import polars as pl

    longest, whole, file = (pl.col(name).first().over("start") for name in ("end", "value", "file"))
    state = (pl.col("end") < longest) & (pl.col("file") != file) & (pl.col("value") <= whole)
    following = pl.col("start").shift(-1).over("file")
    return state & (following.is_null() | (following >= longest))


def _totals(rows: Frame) -> NDArray[np.bool_]:
    """Rows that are the sum of those within them, which are finer; longer ones stand before shorter ones."""
    start, end, value = (rows[name].to_numpy() for name in ("start", "end", "value"))
    inside, count = np.zeros(len(rows)), np.zeros(len(rows), int)
    outer = list[int]()
    for at in range(len(rows)):
        while outer and end[outer[-1]] <= start[at]:
            outer.pop()
        if outer and end[at] <= end[outer[-1]] and end[at] - start[at] < end[outer[-1]] - start[outer[-1]]:
            inside[outer[-1]] += value[at]
            count[outer[-1]] += 1
        outer.append(at)
    found: NDArray[np.bool_] = (count > 1) & (np.abs(inside - value) <= CLOSE * np.abs(value))
    return found
