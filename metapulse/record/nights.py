"""Nights and naps of a person, from every source together and from each alone.

Intervals of sleep and bed that follow each other within three hours are one night or nap; it carries the person's date
of its end. Minutes are those of the union of intervals, so that three sources of one night give one night. Of a night
that one source has twice, in two exports between which it was scored anew, the later counts where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.frame import DOUBTFUL, REPEATS, without
from metapulse.record.lineage import bare_name, later_file
from metapulse.record.overlap import covered_time, union_minutes, united, wish, with_source

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

METRICS = ("sleep_stage", "sleep_duration", "time_in_bed")
ASLEEP = ("asleep", "deep", "light", "rem")
STAGED = ("deep", "light", "rem")  # of a source that tells stages apart
APART_MIN = 180  # minutes without sleep or bed between two nights, or a night and a nap
MINUTES = ("in_bed_min", "asleep_min", "deep_min", "light_min", "rem_min", "awake_min")


def nights(rows: Frame, prefer: Sequence[str] = ()) -> Frame:
    """Nights and naps over all sources: (night, start, end, in_bed_min, asleep_min, …, main).

    ``in_bed_min`` and ``asleep_min`` are minutes of the union over sources; where no source has intervals of sleep,
    minutes asleep are one source's own total. The stages' minutes and ``awake_min`` are those of the preferred
    source that tells stages apart in that night, null where none does. ``main``: the longest that ends on its day.

    Args:
        rows: of a record.
        prefer: parts of sources' names, the most preferred first; then come those with more minutes of stages.
    """
    return _table(_slept(rows), prefer)


def nights_by_source(rows: Frame) -> Frame:
    """The same of each source alone, with its name in the column ``by``."""
    import polars as pl

    slept = _slept(rows)
    parts = [_table(part, ()).with_columns(by=pl.lit(n)) for (n,), part in slept.group_by("by", maintain_order=True)]
    return pl.concat(parts).sort("start", "by") if parts else _table(slept, ()).with_columns(by=pl.lit(""))


def _slept(rows: Frame) -> Frame:
    """Intervals of sleep and bed, with their sources."""
    import polars as pl

    found = with_source(without(rows.filter(pl.col("metric").is_in(METRICS)), (*REPEATS, *DOUBTFUL)))
    interval = (pl.col("end") > pl.col("start")) & ~pl.col("whole_day")
    found = found.filter(interval & pl.col("code").ne_missing("out_of_bed"))
    return found.filter(~pl.Series(_scored_anew(found)))


def _scored_anew(rows: Frame) -> NDArray[np.bool_]:
    """Rows in whose time a later export of the same account and source has the same metric otherwise; (rows,).

    A stage that both have alike is there once, in the first of them, and overlaps none of the later one's.
    """
    import polars as pl

    found = np.zeros(len(rows), bool)
    table = rows.select("by", "metric", "code", pl.col("source").struct.field("file").fill_null("")).with_row_index(
        "at"
    )
    accounts = {name: bare_name(name) for name in table["file"].unique()}
    table = table.with_columns(account=pl.col("file").replace_strict(accounts, return_dtype=pl.String))
    table = table.filter(pl.col("code").ne_missing("in_bed"))
    start, end = (rows[name].dt.epoch("us").to_numpy() for name in ("start", "end"))
    for _, own in table.group_by("by", "metric", "account", maintain_order=True):
        covered = (np.empty(0, np.int64), np.empty(0, np.int64))
        for name in sorted(own["file"].unique(), key=later_file, reverse=True) if own["file"].n_unique() > 1 else ():
            at = own.filter(pl.col("file") == name)["at"].to_numpy()
            again = covered_time(start[at], end[at], covered) > 0
            found[at[again]] = True
            covered = united(np.append(covered[0], start[at[~again]]), np.append(covered[1], end[at[~again]]))
    return found


def _table(slept: Frame, prefer: Sequence[str]) -> Frame:
    import polars as pl

    slept = slept.sort("start", maintain_order=True)
    gap = pl.col("start") - pl.col("end").cum_max().shift(1)
    slept = slept.with_columns(episode=(gap > pl.duration(minutes=APART_MIN)).fill_null(True).cum_sum())
    found = [_night(part, prefer) for _, part in slept.group_by("episode", maintain_order=True)]
    schema = {"night": pl.Date(), "start": slept.schema["start"], "end": slept.schema["start"]}
    table = pl.DataFrame(found, schema=schema | dict.fromkeys(MINUTES, pl.Float64()), orient="row")
    length = pl.col("end") - pl.col("start")
    return table.with_columns(main=length == length.max().over("night"))


def _night(rows: Frame, prefer: Sequence[str]) -> tuple[Any, ...]:
    """One row of ``nights``."""
    import polars as pl

    stages = rows.filter(pl.col("metric") == "sleep_stage")
    asleep: float | None = union_minutes(stages.filter(pl.col("code").is_in(ASLEEP)))
    totals = rows.filter((pl.col("metric") == "sleep_duration") & pl.col("value").is_not_null())
    if not asleep:
        one = totals.sort(wish(prefer), "by", maintain_order=True).filter(pl.col("by") == pl.col("by").first())
        asleep = float(one["value"].sum()) if len(one) else asleep if len(stages) else None
    parts: list[float | None] = [None] * 4
    if len(staged := stages.filter(pl.col("code").is_in(STAGED))):
        length = (pl.col("end") - pl.col("start")).sum().alias("length")
        by = (
            staged.group_by("by")
            .agg(length)
            .sort(wish(prefer), "length", "by", descending=[False, True, False])["by"][0]
        )
        own = stages.filter(pl.col("by") == by)
        parts = [union_minutes(own.filter(pl.col("code") == name)) for name in (*STAGED, "awake")]
    end, offset = rows.sort("end", maintain_order=True).select("end", pl.col("offset_min").fill_null(0)).row(-1)
    return ((end + timedelta(minutes=offset)).date(), rows["start"].min(), end, union_minutes(rows), asleep, *parts)
