"""When devices were worn, in slots of five minutes, and when they were silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.sim.report.record.rows import RecordRows, collected, having

SLOT = 5 * MINUTE
HOURLY, DAILY = HOUR // SLOT, DAY // SLOT  # slots
#: What a body gives off: a value says that the device was on it.
BODY = (
    *("heart_rate", "rr_interval", "hrv_rmssd", "hrv_sdnn", "spo2", "respiratory_rate", "skin_temperature"),
    *("skin_temperature_deviation", "eda", "bvp", "ecg", "stress", "body_battery"),
)
SLEPT = ("sleep_stage", "sleep_duration", "time_in_bed")  # may last for hours
MOVED = ("steps", "wheelchair_pushes", "floors", "cadence")  # where there were any
#: Marks of values that say nothing of wear.
UNSAID = ("not_worn_suspected", "sensor_error", "manual", "interpolated", "date_only", "offline")
APART = 3  # slots: two readings of a device that are at most so far apart were one stretch of wear
COLUMNS = 500  # of a map of wear; with more days, each column is several
SILENCE = 12 * HOURLY  # slots; see silences


@dataclass(frozen=True)
class Wear:
    """When something was worn.

    Args:
        first: day of the first column, from 1970-01-01.
        days: that a column stands for.
        share: (columns, 24): of the slots of an hour, how many have a reading of the body, in [0, 1].
        worn: hours of each day, in order of days.
    """

    first: int
    days: int
    share: NDArray[np.float64]
    worn: NDArray[np.float64]


@dataclass(frozen=True)
class Silence:
    """A device said nothing.

    Args:
        place: of the device.
        start: end of its last reading, µs on the person's clock.
        end: start of the next.
    """

    place: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """µs."""
        return self.end - self.start


def slots(record: RecordRows) -> pl.DataFrame:
    """Slots in which there is a row, each once for each device.

    Returns:
        place, slot (since 1970 on the person's clock), body (whether a sign of wear lies in it), glucose (a sensor's).
    """
    metric = pl.col("metric")
    last = ((pl.col("until") - 1).fill_null(pl.col("local")) // SLOT).clip(pl.col("local") // SLOT)
    first = pl.col("local") // SLOT
    long = pl.when(metric.is_in(SLEPT)).then(DAILY).otherwise(HOURLY)
    said = ~having(*UNSAID) & ~pl.col("doubtful")
    body = (metric.is_in((*BODY, *SLEPT)) | (metric.is_in(MOVED) & (pl.col("value") > 0))) & said
    awake = pl.col("code").is_in(("in_bed", "out_of_bed", "unknown")).fill_null(False)
    rows = record.timed.filter(~having("date_only")).select(
        "place",
        first=first,
        last=pl.min_horizontal(last, first + DAILY - 1),
        body=body & (last - first <= long) & ~((metric == "sleep_stage") & awake),
        glucose=(metric == "glucose") & said,
    )
    alone = rows.filter(pl.col("first") == pl.col("last")).select("place", "body", "glucose", slot="first")
    spread = rows.filter(pl.col("first") < pl.col("last")).unique()
    spread = spread.select("place", "body", "glucose", slot=pl.int_ranges("first", pl.col("last") + 1)).explode("slot")
    made = pl.concat([alone, spread]).group_by("place", "slot").agg(pl.col("body", "glucose").any())
    return collected(made).sort("place", "slot")


def wear(found: pl.DataFrame, sign: str = "body") -> Wear | None:
    """The map of some devices' slots; None where nothing was worn.

    Args:
        found: of ``slots``, all of it or one device's.
        sign: "body" or "glucose".
    """
    here, then = pl.col("slot"), pl.col("slot").shift(-1).over("place")
    until = pl.when(then - here <= APART).then(then).otherwise(here + 1)
    worn = found.filter(sign).select(slot=pl.int_ranges(here, until)).explode("slot")["slot"].unique().to_numpy()
    if not len(worn):
        return None
    first, last = int(worn.min()) // DAILY, int(worn.max()) // DAILY
    hours = np.bincount(worn // HOURLY - first * 24, minlength=(last - first + 1) * 24).reshape(-1, 24) / HOURLY
    days = (last - first) // COLUMNS + 1
    padded = np.concatenate([hours, np.full((-len(hours) % days, 24), np.nan)]).reshape(-1, days, 24)
    return Wear(first, days, np.nanmean(padded, axis=1), hours.sum(axis=1))


def silences(found: pl.DataFrame) -> list[Silence]:
    """Stretches without a row of a device, between its first and its last; longest first.

    What is listed is half a day or longer, and at least twice the longest of a usual day: a scale is silent for days.
    """
    gaps = found.with_columns(gap=pl.col("slot").diff().over("place") - 1, day=pl.col("slot") // DAILY)
    usual = gaps.group_by("place", "day").agg(pl.col("gap").max()).group_by("place").agg(usual=pl.col("gap").median())
    least = pl.max_horizontal(pl.lit(SILENCE), 2 * pl.col("usual"))
    gaps = gaps.join(usual, on="place").filter(pl.col("gap") >= least)
    gaps = gaps.sort("gap", "place", "slot", descending=[True, False, False])
    rows = gaps.select("place", "slot", "gap").iter_rows()
    return [Silence(place, (slot - gap) * SLOT, slot * SLOT) for place, slot, gap in rows]
