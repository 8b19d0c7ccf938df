"""Rows that a map made of another device's rows: what they carry, and how they are counted where that is asked.

A mapped row has the mark ``device_mapped``. Its ``device`` is the one in whose space the value is, ``source`` names the
map in the place of a file, and ``raw`` says map, band, old value and old source: "map 3f2a98c1d04e 98.1 121.4 of 104.0
by Libre 2". The old row stays where it is. The mark is among ``REPEATS``, so that nothing takes a mapped row for a
measurement unless it is asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import US
from metapulse.record.metrics import metrics
from metapulse.record.overlap import with_source
from metapulse.record.schema import MAPPED

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

FORMAT = "map"  # of a map's account, among those of the record's files
NIGHTLY = "sleep_duration"  # one mapped value a night, which stands for all of ``SLEEP``
SLEEP = (NIGHTLY, "sleep_stage", "time_in_bed")
#: How near readings of one moment are, seconds, for metrics that merge by ``mean``; others are of one day.
TOGETHER_S = {"glucose": 450.0, "heart_rate": 30.0}
OTHERWISE_S = 150.0
_WORDS = r"^map (\S+) (\S+) (\S+) of (\S+) by (.*)$"


def map_words(map_id: str, lower: float, upper: float, old: float, by: str) -> str:
    """What ``raw`` of a mapped row says."""
    return f"map {map_id} {lower!r} {upper!r} of {old!r} by {by}"


def mapped_rows(rows: Frame, map_id: str = "") -> Frame:
    """The mapped rows of a record, with the columns ``map``, ``lower``, ``upper``, ``old`` and ``old_by`` (its source).

    Args:
        rows: of a record.
        map_id: of one map; "": all.
    """
    import polars as pl

    found = rows.filter(pl.col("quality").list.contains(MAPPED))
    map_, lower, upper, old, by = (pl.col("raw").str.extract(_WORDS, i) for i in range(1, 6))
    limits = {"lower": lower.cast(pl.Float64), "upper": upper.cast(pl.Float64), "old": old.cast(pl.Float64)}
    found = found.with_columns(map=map_, **limits, old_by=by)
    return found.filter(pl.col("map") == map_id) if map_id else found


def as_new_device(rows: Frame) -> Frame:
    """The record as the new device would have it: mapped rows in the place of those that they were made of.

    For whoever asks for history: what reads the result counts mapped rows as measurements. The column ``map`` tells
    the map (null: measured), and tables by source name it too. Left out are the old rows that were mapped, and mapped
    rows of moments at which the new device itself measured, or that a later map has already.

    Args:
        rows: of a record.
    """
    import polars as pl

    mapped = mapped_rows(rows)
    kept = [rows.filter(~pl.col("quality").list.contains(MAPPED)).with_columns(map=pl.lit(None, pl.String))]
    latest = mapped.group_by("map", "metric").agg(pl.col("start").max()).sort("start", "map", descending=True)
    for name, metric, _ in latest.rows():
        part = mapped.filter((pl.col("map") == name) & (pl.col("metric") == metric))
        kept[0] = kept[0].filter(~_stood_for(kept[0], part, metric))
        taken = _same_moment(
            part, pl.concat([one.filter(pl.col("metric").is_in(told_with(metric))) for one in kept]), metric
        )
        plain = pl.col("quality").list.set_difference([MAPPED])
        kept.append(part.filter(~pl.Series(taken)).with_columns(plain).select(kept[0].columns))
    return pl.concat(kept).sort("start", maintain_order=True)


def _stood_for(rows: Frame, part: Frame, metric: str) -> pl.Series:
    """Which measured rows a map's rows are made of."""
    import polars as pl

    sources = part["old_by"].unique().to_list()
    named = (
        with_source(rows.select(pl.exclude("map")))
        .with_row_index("at")
        .filter(pl.col("by").is_in(sources) & pl.col("metric").is_in(told_with(metric)))
    )
    if metric == NIGHTLY:  # of the same night: the night's total stands for all of it
        nights = part.select(night_end="end", night="start").sort("night")
        near = named.sort("start").join_asof(nights, left_on="start", right_on="night", strategy="backward")
        at = near.filter(pl.col("start") < pl.col("night_end"))["at"]
    elif metrics()[metric].merge == "sum":
        days = with_source(part).select("day").unique()
        at = named.join(days, on="day", how="semi")["at"]
    else:
        key = part.select("start", "code", value="old", by="old_by").unique()
        at = named.join(key, on=["start", "code", "value", "by"], how="semi", nulls_equal=True)["at"]
    found = np.zeros(len(rows), bool)
    found[at.to_numpy()] = True
    return pl.Series(found)


def _same_moment(part: Frame, rows: Frame, metric: str) -> NDArray[np.bool_]:
    """Which mapped rows are of a moment, day or night that others of the same device tell of; (mapped rows,)."""
    import polars as pl

    kept = with_source(rows.select(pl.exclude("map")))
    named = with_source(part.select(pl.exclude("map"))).with_row_index("at")
    found = np.zeros(len(part), bool)
    if metrics()[metric].merge == "mean":
        for (by, code), own in named.group_by("by", "code"):
            others = kept.filter((pl.col("by") == by) & pl.col("code").eq_missing(pl.lit(code, pl.String)))
            if len(others):
                there, own_times = (frame["start"].dt.epoch("us").to_numpy() for frame in (others.sort("start"), own))
                away = np.abs(there[nearest_index(own_times, there)] - own_times)
                found[own["at"].to_numpy()] = away <= within_us(metric)
        return found
    last = pl.coalesce("end", "start").dt.offset_by("-1us") if metric == NIGHTLY else pl.col("start")
    date = (last + pl.duration(minutes=pl.col("offset_min").fill_null(0).cast(pl.Int64))).dt.date()
    keys = ["by", "date", *["code"] * (metrics()[metric].merge == "last" and metric != NIGHTLY)]
    same = named.with_columns(date=date).join(kept.with_columns(date=date), on=keys, how="semi", nulls_equal=True)
    found[same["at"].to_numpy()] = True
    return found


def told_with(metric: str) -> tuple[str, ...]:
    """Metrics whose rows one mapped value of a metric stands for."""
    return SLEEP if metric == NIGHTLY else (metric,)


def within_us(metric: str) -> int:
    """How near readings of one moment are, µs; of metrics that merge by ``mean``."""
    return int(TOGETHER_S.get(metric, OTHERWISE_S) * US)


def nearest_index(times: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the nearest of the others for each time; the earlier of two that are as near.

    Args:
        times: µs.
        others: µs, ascending, at least one.
    """
    right = np.searchsorted(others, times).clip(0, len(others) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(others[left] - times) <= np.abs(others[right] - times), left, right)
