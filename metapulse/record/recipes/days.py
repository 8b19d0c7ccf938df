"""A person's days as numbers: what was known at the end of each, and how long the device was worn.

A day here is the 24 hours up to the forecast's hour on the person's clock, and a value belongs to the day in which it
became known: at its end, and a value of a whole day, which a vendor writes after midnight, in the day after. So nothing
of a later time can be among the inputs, whatever the vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes.base import NO_ROWS, MetricRows

ASLEEP = ("asleep", "deep", "light", "rem")
AWAKE = ("awake", "out_of_bed", "restless")
APART = 3 * HOUR  # without a stage of sleep: another sleep
WHOLE = 20 * HOUR  # a value over so long is one of a day
STREAM = 3 * HOUR  # a value over a longer time does not tell when the device was worn

#: How the values of a day become one.
How: TypeAlias = Literal["last", "mean", "sum", "longest", "lowest"]
WAYS: Mapping[How, Callable[[np.ndarray], Any]] = {
    "last": lambda values: values[-1],
    "mean": np.mean,
    "sum": np.sum,
    "longest": np.max,
    "lowest": lambda values: np.percentile(values, 5),
}


@dataclass(frozen=True)
class Feature:
    """One number a day.

    Args:
        name: of the input.
        metrics: of the record; the first that the device has is taken.
        how: values of a day become one; "lowest" is their 5th percentile.
        centre, scale: an input is (value − centre) / scale.
        codes: of the metric's rows; the first that the device has is taken. Others are statistics: a maximum, say.
        summary: whether a value is of the day or night as a whole, so that the stamp of an instant is not its own.
    """

    name: str
    metrics: tuple[str, ...]
    how: How
    centre: float
    scale: float
    codes: tuple[str, ...] = ("",)
    summary: bool = False

    def rows(self, rows: Mapping[str, MetricRows]) -> MetricRows:
        """Rows of the first of its metrics and codes that there is, in order of their end.

        Values of whole days are taken where there is nothing finer: they hold the same once more.
        """
        if self.how == "longest":
            return sleeps(rows)
        for metric in self.metrics:
            of = rows.get(metric, NO_ROWS)
            for code in self.codes:
                given = of.where((of.code == code) & ~np.isnan(of.value))
                fine = ~whole_day(given)
                given = given.where(fine) if fine.any() else given
                if len(given):
                    return given.where(np.argsort(given.until, kind="stable"))
        return NO_ROWS

    def known(self, rows: MetricRows) -> np.ndarray:
        """When each of its rows became known on the person's clock, µs.

        That is its end; of a value of a whole day just after its midnight. So it is of a summary or a statistic with
        one stamp: vendors put the date, the bedtime or the hour of the last change there.
        """
        stamped = (rows.end == rows.start) & (self.summary | (rows.code != ""))
        midnight = (rows.begin // DAY + 1) * DAY + 1
        moment: np.ndarray = np.where(stamped & ~rows.date_only, midnight, rows.until + whole_day(rows))
        return moment


def whole_day(rows: MetricRows) -> np.ndarray:
    """Which rows are of a whole day."""
    days: np.ndarray = rows.date_only | (rows.end - rows.start >= WHOLE)
    return days


def day_of(moment: np.ndarray, hour: int) -> np.ndarray:
    """Number since 1970 of the day in whose 24 hours up to ``hour`` a moment lies, itself included."""
    return -((hour * HOUR - moment) // DAY)


def date_of(rows: MetricRows) -> np.ndarray:
    """The person's date that a value is of: that of its end (a night is of the morning), of a date its own."""
    return np.where(rows.date_only, rows.begin, np.maximum(rows.until - 1, rows.begin)) // DAY


def daily(value: np.ndarray, day: np.ndarray, how: How) -> dict[int, float]:
    """One value a day.

    Args:
        value: in order of time.
        day: of each.
    """
    return {name: float(WAYS[how](value[part])) for name, part in rows_by(day).items()}


def rows_by(key: np.ndarray) -> dict[int, np.ndarray]:
    """Rows of each key, in order."""
    order = np.argsort(key, kind="stable")
    names, first = np.unique(key[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, first[1:]), strict=True)) if len(names) else {}


def sleeps(rows: Mapping[str, MetricRows]) -> MetricRows:
    """Sleeps with the minutes asleep as value: the device's own sums, without naps; else of its stages."""
    if "sleep_duration" in rows:
        own = rows["sleep_duration"]
        own = own.where((own.code != "nap") & ~np.isnan(own.value))
        if len(own):
            return own.where(np.argsort(own.until, kind="stable"))
    stage = rows.get("sleep_stage", NO_ROWS)
    stage = stage.where(np.isin(stage.code, (*ASLEEP, *AWAKE)) & (stage.end > stage.start))
    if not len(stage):
        return NO_ROWS
    reached = np.maximum.accumulate(stage.end)
    begins = np.flatnonzero(np.append(True, stage.start[1:] - reached[:-1] > APART))
    length = np.where(np.isin(stage.code, ASLEEP), stage.end - np.maximum(stage.start, np.append(0, reached[:-1])), 0)
    minutes = np.add.reduceat(np.maximum(length, 0), begins) / MINUTE  # what two intervals share counts once
    night, last = stage.where(begins), np.append(begins[1:], len(stage)) - 1
    return MetricRows(night.start, reached[last], night.offset, minutes, night.code, night.date_only, night.censored)


def worn_hours(rows: Mapping[str, MetricRows], hour: int) -> dict[int, int]:
    """Hours of each day in which the device shows that it was worn: a heart rate, a step, or sleep.

    Args:
        hour: at which a day ends. What is not known by then counts in the day after.
    """
    pulse, steps = (rows.get(name, NO_ROWS) for name in ("heart_rate", "steps"))
    short = [one.where(one.end - one.start < STREAM) for one in (pulse.where(~np.isnan(pulse.value)), steps)]
    short[1] = short[1].where(short[1].value > 0)
    day = [day_of(one.until, hour) for one in short]
    at = [one.begin // HOUR for one in short]
    night = sleeps(rows)
    nights = zip(night.begin, night.until, night.date_only, day_of(night.until, hour), strict=True)
    for begin, until, date, ends in nights:
        if not date and 0 < until - begin <= DAY:
            hours = np.arange(begin // HOUR, (until - 1) // HOUR + 1)
            at.append(hours)
            day.append(np.full(len(hours), ends))
    pairs = np.unique(np.stack([np.concatenate(day), np.concatenate(at)], 1), axis=0)
    days, hours = np.unique(pairs[:, 0], return_counts=True)
    return dict(zip(days.tolist(), hours.tolist(), strict=True))
