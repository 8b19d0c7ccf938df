"""Several sources of one person at one time: which of them counts.

A source is a device without its firmware. Where sources overlap the preferred one counts, minute by minute: a row of
another counts with the share of its minutes that no preferred source covers. The order of sources, for each metric:

    1. those that the person prefers, in that order
    2. what the vendor itself chose, where its export has its own merged series beside the raw ones (Google Fit)
    3. what is worn before what is carried (a phone)
    4. finer rows before coarser ones, then more rows before fewer, then the name

Of one source's amounts of one day, or of one interval, in several files those of one file count, the one in which they
come to most: an export that is made before the day is over has less. Files of one name are taken for one.

A total of a whole day (``date_only``, or the code "daily") is not spread over minutes: it counts, and finer rows of the
day do not, where it is more than they add up to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.errors import ConfigError
from metapulse.record.clock import MINUTE, US
from metapulse.record.metrics import metrics

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

Ints = NDArray[np.int64]

IDENTITY = ("manufacturer", "model", "hardware", "unit", "app")  # of a source; firmware changes under it
CHOSEN = r"(^|/)derived_[^/]*$"  # files of the vendor's own merged series
PHONE = r"(?i)phone|android|pixel \d|\bsm-[agns]\d"
DAY_US = 86_400 * US
TOGETHER = ("sum", "mean")  # rules of merging by which one source counts a moment


def with_source(rows: Frame) -> Frame:
    """Rows with the columns ``by`` (the source's name), ``chosen``, ``day`` (the person's date) and ``whole_day``.

    Args:
        rows: of a record; of ``as_new_device`` the name ends with the map.
    """
    import polars as pl

    parts = [pl.col("device").struct.field(name).fill_null("") for name in IDENTITY]
    local = pl.col("start") + pl.duration(minutes=pl.col("offset_min").fill_null(0).cast(pl.Int64))
    total = pl.col("quality").list.contains("date_only") | (pl.col("code") == "daily").fill_null(False)
    for i, part in enumerate(parts[:-1]):  # "Garmin" is not said before "Garmin Connect"
        said = pl.any_horizontal((other + " ").str.starts_with(part + " ") for other in parts[i + 1 :])
        parts[i] = pl.when(said).then(pl.lit("")).otherwise(part)
    name = pl.concat_str(parts, separator=" ").str.replace_all(r" +", " ").str.strip_chars()
    name = name.fill_null("")
    if "map" in rows.columns:
        name = pl.when(pl.col("map").is_null()).then(name).otherwise(pl.format("{} map {}", name, "map"))
    chosen = pl.col("source").struct.field("file").str.contains(CHOSEN)
    return rows.with_columns(by=name, chosen=chosen, day=local.dt.date(), whole_day=total)


def counted_shares(rows: Frame, prefer: Sequence[str] = ()) -> NDArray[np.float64]:
    """How much of each row counts: 1 all, 0 nothing; (rows,).

    Args:
        rows: of ``with_source``, without repeats and doubtful values.
        prefer: parts of sources' names, the most preferred first.
    """
    import polars as pl

    found = np.ones(len(rows))
    rule = {name: metric.merge for name, metric in metrics().items()}
    table = rows.select(
        "metric", "by", "chosen", "day", "whole_day", "value", "code",
        pl.int_range(pl.len(), dtype=pl.Int64).alias("at"),
        pl.col("start").dt.epoch("us"), pl.col("end").dt.epoch("us"),
        pl.col("metric").replace_strict(rule, default="last").alias("rule"),
        pl.col("source").struct.field("file").fill_null(""),
    ).filter(pl.col("rule").is_in(TOGETHER) & pl.col("value").is_not_null())  # fmt: skip
    kind = pl.when(pl.col("rule") == "mean").then(pl.col("code"))  # an average is no rival of a sample
    for (_, rule_of, _), group in table.group_by("metric", "rule", kind.alias("kind"), maintain_order=True):
        fine, whole = group.filter(~pl.col("whole_day")), group.filter("whole_day")
        for part in (fine, whole):
            if part.select("by", "chosen").n_unique() > 1:
                found[part["at"].to_numpy()] = _of_sources(part, prefer, zeros=rule_of == "mean")
            if rule_of == "sum" and part["file"].n_unique() > 1:
                found[_less_full(part)] = 0
        if len(fine) and len(whole):
            _one_of(found, fine, whole, averaged=rule_of == "mean")
    return found


def _less_full(part: Frame) -> Ints:
    """Where amounts stand that the same source has in another file as well, and there come to more."""
    import polars as pl

    whole = pl.col("whole_day")
    span = [pl.when(~whole).then(name).alias(f"of {name}") for name in ("start", "end")]
    left = part.filter(whole | pl.col("end").is_not_null()).with_columns(*span, pl.col("code").fill_null(""))
    same = ["by", "chosen", "code", "day", "of start", "of end"]
    sums = (
        left.group_by(*same, "file").agg(amount=pl.col("value").sum()).sort("amount", "file", descending=[True, False])
    )
    fullest = sums.unique(same, keep="first", maintain_order=True)
    found: Ints = left.join(fullest, on=[*same, "file"], how="anti", nulls_equal=True)["at"].to_numpy()
    return found


def _of_sources(group: Frame, prefer: Sequence[str], zeros: bool) -> NDArray[np.float64]:
    """Shares within one metric, source by source in their order."""
    import polars as pl

    first = group["start"].to_numpy() // MINUTE
    last = -(-group["end"].fill_null(group["start"]).to_numpy() // MINUTE)
    last = np.maximum(last, first + 1)
    group = group.with_columns(length=pl.Series(last - first), row=pl.int_range(pl.len()))
    worn = group.select(pl.col("value").abs().sum().over("by", "day") > 0).to_series().to_numpy()
    covers = worn | zeros  # a day of zero steps is a device that was not worn
    found = np.ones(len(group))
    covered = (np.empty(0, np.int64), np.empty(0, np.int64))
    for by, chosen in _in_order(group, prefer):
        own = group.filter((pl.col("by") == by) & (pl.col("chosen") == chosen))["row"].to_numpy()
        found[own] = 1 - covered_time(first[own], last[own], covered) / (last[own] - first[own])
        own = own[covers[own]]
        covered = united(np.append(covered[0], first[own]), np.append(covered[1], last[own]))
    return found


def _in_order(group: Frame, prefer: Sequence[str]) -> list[tuple[str, bool]]:
    """Sources (name, whether chosen by the vendor), the preferred first."""
    import polars as pl

    table = group.group_by("by", "chosen").agg(length=pl.col("length").median(), rows=pl.len())
    table = table.with_columns(wish=wish(prefer), phone=pl.col("by").str.contains(PHONE))
    order = ["wish", "chosen", "phone", "length", "rows", "by"]
    return table.sort(order, descending=[False, True, False, False, True, False]).select("by", "chosen").rows()


def wish(prefer: Sequence[str]) -> pl.Expr:
    """Which of the preferred each source (``by``) is; their number if none."""
    import polars as pl

    folded = pl.col("by").str.to_lowercase()
    found = pl.col("by").is_null().cast(pl.Int32) + len(prefer)  # no name is null: as long as the column
    for i, part in reversed(list(enumerate(prefer))):
        found = pl.when(folded.str.contains(part.lower(), literal=True)).then(i).otherwise(found)
    return found


def one_source(rows: Frame, part: str, key: str) -> str:
    """The full name (``by``) of the one source that is meant by a part of it.

    Args:
        rows: of a record.
        part: a part of the name that no other source has, or the whole name.
        key: of the setting, for the message.

    Raises:
        ConfigError: none is called that, or more than one.
    """
    columns = rows.select("start", "offset_min", "code", "device", "source", "quality")
    names = with_source(columns).select("by").unique()
    found = names.filter(wish([part]) == 0)["by"].to_list()
    found = [part] if part in found else found
    if len(found) != 1:
        known = ", ".join(sorted(filter(None, found or names["by"].to_list()))) or "no source here has a name"
        raise ConfigError(key, part, f"a part of the name of one source alone: {known}")
    return str(found[0])


def union_minutes(rows: Frame) -> float:
    """Minutes in which at least one of the rows is."""
    first, last = united(rows["start"].dt.epoch("us").to_numpy(), rows["end"].dt.epoch("us").to_numpy())
    return float((last - first).sum()) / MINUTE


def united(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Intervals [first, last) → the same time in intervals that do not touch, ascending."""
    if not len(first):
        return first, last
    order = np.argsort(first, kind="stable")
    first, last = first[order], np.maximum.accumulate(last[order])
    begins = np.ones(len(first), bool)
    begins[1:] = first[1:] > last[:-1]
    return first[begins], last[np.append(np.flatnonzero(begins)[1:], len(first)) - 1]


def covered_time(first: Any, last: Any, covered: tuple[Ints, Ints]) -> Any:
    """How much of each interval is covered."""
    begins, ends = covered
    if not len(begins):
        return np.zeros(len(first))
    before = np.append(0, np.cumsum(ends - begins))

    def until(time: Any) -> Any:
        at = np.searchsorted(begins, time, "right")
        inside = np.where(at > 0, np.minimum(time, ends[at - 1]) - begins[at - 1], 0)
        return before[np.maximum(at - 1, 0)] + inside

    return until(last) - until(first)


def _one_of(found: NDArray[np.float64], fine: Frame, whole: Frame, averaged: bool) -> None:
    """On each day either the finer rows or the total of the whole day; of averages always the finer."""
    import polars as pl

    def counted(part: Frame, name: str) -> Frame:
        amount = part["value"] * pl.Series(found[part["at"].to_numpy()])
        return part.select("day", amount.alias(name)).group_by("day").sum()

    days = counted(fine, "fine").join(counted(whole, "whole"), on="day")
    more = (pl.col("whole") > pl.col("fine")) & (not averaged)
    total, rows = days.filter(more).select("day"), days.filter(~more).select("day")
    found[fine.join(total, on="day", how="semi")["at"].to_numpy()] = 0
    found[whole.join(rows, on="day", how="semi")["at"].to_numpy()] = 0
