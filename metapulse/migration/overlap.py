"""What two devices of one person told of the same moments: pairs to learn a map from, found in the record itself.

Samples (metrics that merge by ``mean``) are of one moment where they are the nearest of each other and within the
metric's tolerance; amounts and single numbers are of one day of the person; total sleep is of one night, also where a
device tells stages alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from metapulse.errors import ConfigError
from metapulse.record.daily import daily_totals_by_source
from metapulse.record.frame import DOUBTFUL, REPEATS, without
from metapulse.record.mapped import NIGHTLY, nearest_index, told_with, within_us
from metapulse.record.metrics import metrics
from metapulse.record.nights import nights_by_source
from metapulse.record.overlap import one_source, with_source

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

#: Marks of readings that no map is learned from: made from others, or only a limit.
UNPAIRED = ("interpolated", "censored_high", "censored_low")


def pairs_of(rows: Frame, metric: str, old: str, new: str, person: str = "me") -> Frame:
    """Readings of both devices at the same moments: (person, time, old, new), in order of time.

    Args:
        rows: of a record.
        metric: what both measured.
        old: a part of the name of the old device, which no other source of the metric has.
        new: of the new device.
        person: whose record it is.

    Returns:
        Values in the metric's canonical unit; ``time`` is the old reading's, in UTC.

    Raises:
        ConfigError: no such metric or source.
    """
    import polars as pl

    sources = named_sources(rows, metric, {"from": old, "to": new})
    a, b = (without(readings(rows, metric, by), UNPAIRED) for by in (sources["from"], sources["to"]))
    if metrics()[metric].merge == "mean":
        pairs = _nearest(a, b, within_us(metric))
    else:
        pairs = a.join(b.select("day", "code", new="value"), on=["day", "code"], nulls_equal=True)
    table = pairs.select(pl.lit(person).alias("person"), time="start", old="value", new="new")
    return table.sort("time", maintain_order=True)


def named_sources(rows: Frame, metric: str, parts: dict[str, str]) -> dict[str, str]:
    """The full names of sources of a metric, by part.

    Raises:
        ConfigError: no such metric, or a part that does not name one source; two that name the same.
    """
    import polars as pl

    if metric not in metrics():
        raise ConfigError("metric", metric, "a metric of the record: glucose, resting_heart_rate, sleep_duration, …")
    own = without(rows.filter(pl.col("metric").is_in(told_with(metric))), (*REPEATS, *DOUBTFUL))
    found = {key: one_source(own, part, key) for key, part in parts.items()}
    if len(set(found.values())) < len(found):
        raise ConfigError("to", parts["to"], f"another source than {found['to']}")
    return found


def readings(rows: Frame, metric: str, by: str) -> Frame:
    """What one source tells of a metric, as a map takes it: (start, end, offset_min, code, value, unit, quality, day).

    Samples and single numbers as they are; of several numbers of a day the last; amounts as totals of days; total
    sleep as one value a night.

    Args:
        rows: of a record.
        by: the source's full name.
    """
    import polars as pl

    columns = ["start", "end", "offset_min", "code", "value", "unit", "quality", "day"]
    unit = metrics()[metric].unit
    used = with_source(without(rows, (*REPEATS, *DOUBTFUL))).filter(pl.col("by") == by)
    none = pl.lit([], pl.List(pl.String)).alias("quality")
    if metric == NIGHTLY:
        own = used.filter(pl.col("metric").is_in(told_with(metric)))
        nights = nights_by_source(own).filter(pl.col("main") & pl.col("asleep_min").is_not_null())
        offset = own.group_by("start").agg(pl.col("offset_min").first())
        made = nights.join(offset, on="start", how="left", maintain_order="left")
        made = made.with_columns(none, code=pl.lit(None, pl.String), unit=pl.lit(unit), day="night", value="asleep_min")
        return made.select(columns)
    own = used.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
    if metrics()[metric].merge == "sum":
        days = daily_totals_by_source(own)
        start = pl.col("day").cast(pl.Datetime("us", "UTC"))
        marks = pl.lit(["date_only"], pl.List(pl.String)).alias("quality")
        made = days.with_columns(
            marks, start=start, end=start + pl.duration(days=1), offset_min=pl.lit(None, pl.Int16),
            code=pl.lit("daily"), unit=pl.lit(unit),
        )  # fmt: skip
        return made.select(columns)
    if metrics()[metric].merge == "last":
        own = own.sort("start", maintain_order=True).unique(["day", "code"], keep="last", maintain_order=True)
    return own.select(columns)


def _nearest(a: Frame, b: Frame, within: int) -> Frame:
    """Readings that are the nearest of each other, at most ``within`` µs apart, by code."""
    import polars as pl

    found = []
    groups = {code: part for (code,), part in b.group_by("code")}
    for (code,), part in a.group_by("code", maintain_order=True):
        if (other := groups.get(code)) is None:
            continue
        times, others = (f["start"].dt.epoch("us").to_numpy() for f in (part, other))
        to, back = nearest_index(times, others), nearest_index(others, times)
        mutual = (back[to] == np.arange(len(times))) & (np.abs(others[to] - times) <= within)
        values = other["value"].to_numpy()[to]
        found.append(part.with_columns(new=pl.Series(values)).filter(pl.Series(mutual)))
    return pl.concat(found) if found else a.clear().with_columns(new=pl.lit(None, pl.Float64))
