"""A record's rows as a lazy table on the person's own clock, and what is in it by metric and device.

Nothing here holds a row for each of the record's: every table is counted or thinned while the file is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.frame import DOUBTFUL, REPEATS
from metapulse.record.schema import MAPPED, check_version
from metapulse.record.store import metadata
from metapulse.record.tally import Tally

DEVICES = 12  # told apart on a page; the rest is one
NAME = 48  # characters of a device's name
#: Stamps are taken for those of a clock that began anew if they are so many days from all others, and on so few days so
#: small a share of rows.
APART, FEW_DAYS, FEW_ROWS = 365, 3, 0.001
#: Codes that make a course of their own, beside the metric's.
PARTS = ("daily", "nap", "x", "y", "z")


@dataclass(frozen=True)
class RecordRows:
    """A record that is to be shown.

    Args:
        table: at (row), local and until (µs on the person's clock), metric, part, value, code, place (of the device),
            quality, repeat, doubtful, late (a stamp that cannot be right, or one apart), offset_min, source, raw.
        devices: names by place, the one with most rows first.
        different: how many devices there are; the last name stands for several where these are more than names.
        contents: metric, part, place → rows, repeats, doubtful, late, unknown (offsets), first, last.
        tally: the account of its files.
        timeless: whether no stamp at all is plausible; all are shown then.
        mapped: rows besides, that were mapped from another device's; they are in none of these.
    """

    table: pl.LazyFrame
    devices: tuple[str, ...]
    different: int
    contents: pl.DataFrame
    tally: Tally
    timeless: bool
    mapped: int = 0

    @property
    def single(self) -> pl.Expr:
        """Rows of places that are one device."""
        return pl.col("place") < (len(self.devices) if self.different == len(self.devices) else DEVICES - 1)

    @property
    def used(self) -> pl.LazyFrame:
        """Rows that count once and have a place in time."""
        return self.timed.filter(~pl.col("repeat"))

    @property
    def timed(self) -> pl.LazyFrame:
        """Rows whose stamp can be right; all of them where none can."""
        return self.table if self.timeless else self.table.filter(~pl.col("late"))

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.contents["rows"].sum())

    def total(self, name: str) -> int:
        """Sum of a column of the contents."""
        return int(self.contents[name].sum())

    @property
    def span(self) -> tuple[int, int] | None:
        """First start and last end or start; None without rows."""
        return extent(self.contents["first"], self.contents["last"])


def collected(table: pl.LazyFrame) -> pl.DataFrame:
    """The table, made a piece of the file at a time."""
    return table.collect(engine="streaming")


def extent(*columns: pl.Series) -> tuple[int, int] | None:
    """The least of the first column and the greatest of the last, whole numbers; None where there is none."""
    least: Any = columns[0].min()
    most: Any = columns[-1].max()
    return None if least is None or most is None else (int(least), int(most))


def having(*marks: str) -> pl.Expr:
    """Rows with one of these marks."""
    return (pl.col("quality").list.len() > 0) & (pl.col("quality").list.set_intersection(list(marks)).list.len() > 0)


def read_record(path: Path) -> RecordRows:
    """A record, counted.

    Raises:
        DataError: no record, or one of another schema version.
    """
    facts = metadata(path)
    check_version(facts.get("version"), str(path))
    whole = pl.scan_parquet(path).with_row_index("at")
    mapped = int(collected(whole.filter(having(MAPPED)).select(pl.len())).item())
    scan = whole.filter(~having(MAPPED)) if mapped else whole
    key = pl.col("device").hash()
    found = collected(scan.group_by(key=key).agg(pl.col("device").first(), rows=pl.len()))
    devices, different, places = _places(found)
    clock = pl.col("offset_min").fill_null(0).cast(pl.Int64) * MINUTE
    split = pl.col("code").is_in(PARTS)
    table = (
        scan.with_columns(key=key)
        .join(places.lazy(), on="key")
        .with_columns(
            local=pl.col("start").dt.epoch("us") + clock,
            until=pl.col("end").dt.epoch("us") + clock,
            part=pl.when(split).then("code").otherwise(pl.lit("")),
            repeat=having(*REPEATS),
            doubtful=having(*(mark for mark in DOUBTFUL if mark != "time_implausible")),
            late=having("time_implausible"),
        )
    )
    days = collected(table.filter(~pl.col("late")).group_by(day=pl.col("local") // DAY).agg(rows=pl.len())).sort("day")
    if (kept := mainland(days)) is not None:
        here = (pl.col("local") // DAY).is_between(*kept)
        table = table.with_columns(late=pl.col("late") | ~here)
    contents = collected(
        table.group_by("metric", "part", "place", "late").agg(
            pl.col("repeat", "doubtful").sum(),
            rows=pl.len(),
            unknown=pl.col("offset_min").is_null().sum(),
            values=(pl.col("value").is_not_null() & ~pl.col("repeat") & ~pl.col("doubtful")).sum(),
            first=pl.col("local").min(),
            last=pl.max_horizontal("local", "until").max(),
        )
    )
    timeless = len(contents) > 0 and bool(contents["late"].all())
    timed = pl.lit(True) if timeless else ~pl.col("late")
    contents = contents.group_by("metric", "part", "place").agg(
        pl.col("rows", "repeat", "doubtful", "unknown").sum(),
        late=(pl.col("rows") * pl.col("late")).sum(),
        values=pl.col("values").filter(timed).sum(),
        first=pl.col("first").filter(timed).min(),
        last=pl.col("last").filter(timed).max(),
    )
    contents = contents.sort("metric", "part", "place")
    return RecordRows(table, devices, different, contents, Tally.of(facts["tally"]), timeless, mapped)


def mainland(days: pl.DataFrame) -> tuple[int, int] | None:
    """First and last day of a record; None where there is none.

    Left out are few rows of few days that are far from all others: a device's clock that began anew makes such.

    Args:
        days: day, rows; in order.
    """
    islands = days.with_columns(island=(pl.col("day").diff() > APART).fill_null(False).cum_sum()).group_by("island")
    found = islands.agg(pl.col("rows").sum(), first=pl.col("day").min(), last=pl.col("day").max(), days=pl.len())
    kept = found.filter((pl.col("rows") >= FEW_ROWS * pl.col("rows").sum()) | (pl.col("days") > FEW_DAYS))
    return extent(kept["first"], kept["last"])


def _places(found: pl.DataFrame) -> tuple[tuple[str, ...], int, pl.DataFrame]:
    """Names by place, how many devices there are, and of each key its place; equal names are one device."""
    names = device_names(found["device"].to_list())
    rows: Counter[str] = Counter()
    for name, count in zip(names, found["rows"], strict=True):
        rows[name] += count
    order = sorted(rows, key=lambda name: (-rows[name], name))
    if len(order) > DEVICES:
        shown = order[: DEVICES - 1]
        devices = (*shown, f"{len(order) - len(shown)} other devices")
    else:
        devices = tuple(shown := order)
    place = {name: min(i, len(shown)) for i, name in enumerate(order)}
    return devices, len(order), found.select("key", place=pl.Series([place[name] for name in names], dtype=pl.UInt16))


def device_names(devices: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Devices in words: maker, model, app, and of several of one kind the last of its serial number.

    Firmware is left out: a watch is the same watch after an update.
    """
    plain = [_plain_name(device or {}) for device in devices]
    units: dict[str, set[str | None]] = {}
    for name, device in zip(plain, devices, strict=True):
        units.setdefault(name, set()).add((device or {}).get("unit"))
    return [
        f"{name} …{_shown(unit)[-6:]}" if len(units[name]) > 1 and (unit := (device or {}).get("unit")) else name
        for name, device in zip(plain, devices, strict=True)
    ]


def _plain_name(device: Mapping[str, Any]) -> str:
    maker, app = device.get("manufacturer") or "", device.get("app") or ""
    model = device.get("model") or device.get("hardware") or ""
    kind = model if maker.lower() in model.lower() else f"{maker} {model}"
    app = app if app.lower() not in kind.lower() else ""
    parts = ["" if f"{app} ".lower().startswith(f"{kind.strip()} ".lower()) else kind.strip(), app]
    name = _shown(" · ".join(part for part in parts if part))
    return name if len(name) <= NAME else f"{name[: NAME - 9]}…{name[-8:]}"


def _shown(text: str) -> str:
    """Without what cannot be seen or turns the line round."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "a device without a name"
