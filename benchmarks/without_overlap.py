"""Maps without overlap on nights that one person slept with a Garmin and a Whoop: 285 in common.

    METAPULSE_DATA=… python benchmarks/without_overlap.py

A change of device is put after every tenth night from the 84th on: what is before is known of the old device alone,
what is after, up to four weeks, of the new one alone. The map is made of that, and judged on the nights before, where
the new device's values are known and were not shown.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from metapulse.migration.overlap import readings
from metapulse.migration.ways import WAYS
from metapulse.migration.without_overlap import without_overlap
from metapulse.record import import_files
from metapulse.record.frame import load_record, without
from metapulse.record.overlap import with_source

FIRST, STEP, AFTER = 84, 10, 28  # nights
METRICS = ("sleep_duration",)


def common(rows: pl.DataFrame, metric: str, old: str, new: str) -> pl.DataFrame:
    """One row a day that both told of: day, start, old, new."""
    sources = with_source(without(rows))["by"].unique().drop_nulls().to_list()
    a, b = (readings(rows, metric, next(s for s in sources if part in s)) for part in (old, new))
    a, b = (side.unique("day", keep="last").sort("day") for side in (a, b))
    return a.select("day", "start", old="value").join(b.select("day", new="value"), on="day").sort("day")


def judged(nights: pl.DataFrame) -> Iterator[tuple[str, float, float, float, str]]:
    """(row, error, its coverage, half of the band, why refused) for every change."""
    for change in range(FIRST, len(nights) - AFTER + 1, STEP):
        before, after = nights[:change], nights[change : change + AFTER]
        after = after.with_columns(start=pl.col("start") + timedelta(seconds=1))
        x, truth = before["old"].to_numpy(), before["new"].to_numpy()
        yield "none", rmse(x - truth), np.nan, np.nan, ""
        line = np.polyfit(x, truth, 1)
        yield "line with every night before (not to be had)", rmse(np.polyval(line, x) - truth), np.nan, np.nan, ""
        overlap = before[-14:]
        moved = x + float(np.mean((overlap["new"] - overlap["old"]).to_numpy()))
        yield "offset of 14 nights of overlap, for comparison", rmse(moved - truth), np.nan, np.nan, ""
        for way in WAYS:
            made = without_overlap(
                before.select(time="start", value="old"), after.select(time="start", value="new"), way, metric="nights"
            )
            told = made.at(before["start"].dt.epoch("us").to_numpy(), x)
            kept = np.isfinite(told.value)
            inside = float(((told.lower <= truth) & (truth <= told.upper))[kept].mean()) if kept.any() else np.nan
            yield way, rmse((told.value - truth)[kept]), inside, made.half, made.card.refused


def rmse(error: np.ndarray) -> float:
    """Root mean square; NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(error)))) if len(error) else np.nan


def main() -> None:
    """Print a table a direction."""
    folder = Path(os.environ["METAPULSE_DATA"]) / "exports" / "garmin_whoop_paired"
    with tempfile.TemporaryDirectory() as out:
        import_files([folder], Path(out) / "person.parquet")
        rows = load_record(Path(out) / "person.parquet")
    for metric in METRICS:
        for old, new in (("Garmin", "Whoop"), ("Whoop", "Garmin")):
            nights = common(rows, metric, old, new)
            if len(nights) < FIRST + AFTER:
                print(f"\n{metric}: {len(nights)} days in common, too few")
                continue
            found: dict[str, list[tuple[float, float, float, str]]] = defaultdict(list)
            for row, error, inside, half, refused in judged(nights):
                found[row].append((error, inside, half, refused))
            print(f"\n{metric}, {old} → {new}: {len(nights)} nights, {len(found['none'])} changes\n")
            print("| | RMSE | inside the band of 90 % | half of it | refused |\n|---|---|---|---|---|")
            for row, each in found.items():
                error, inside, half = (
                    np.nanmean([one[i] for one in each]) if np.isfinite([one[i] for one in each]).any() else np.nan
                    for i in range(3)
                )
                refused = sum(bool(one[3]) for one in each)
                band = f"{inside:.0%} | {half:.1f}" if np.isfinite(half) else "– | –"
                print(f"| {row} | {error:.2f} | {band} | {refused} of {len(each)} |")


if __name__ == "__main__":
    main()
