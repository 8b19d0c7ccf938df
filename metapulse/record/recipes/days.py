"""A person's days as numbers: what was known at the end of each, and how long the device was worn.

A day here is the 24 hours up to the forecast's hour on the person's clock, and a value belongs to the day in which it
became known: at its end, and a value of a whole day, which a vendor writes after midnight, in the day after. So nothing
of a later time can be among the inputs, whatever the vendor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes.base import NO_ROWS, MetricRows

ASLEEP = ("asleep", "deep", "light", "rem")
AWAKE = ("awake", "out_of_bed", "restless")
APART = 3 * HOUR  # without a stage of sleep: another sleep
WHOLE = 20 * HOUR  # a value over so long is one of a day
STREAM = 3 * HOUR  # a value over a longer time does not tell when the device was worn
LEAST = 1.0  # minute, step or beat of a day whose value is given: with none it would not have been worn

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
        total: metric of a day's value, where it is another than that of the rows; "": the first of ``metrics``.
    """

    name: str
    metrics: tuple[str, ...]
    how: How
    centre: float
    scale: float
    codes: tuple[str, ...] = ("",)
    summary: bool = False
    total: str = ""

    @property
    def of_a_day(self) -> str:
        """The metric of a day's value."""
        return self.total or self.metrics[0]

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


def each_day(rows: MetricRows, how: How, refused: Collection[int] = ()) -> MetricRows:
    """A row for each of the person's dates: the value of the day, over the whole of it.

    Args:
        rows: of a feature.
        how: a day's values become one.
        refused: dates whose value is none to learn from; they are ``censored``, as a limit is.
    """
    parts = rows_by(date_of(rows))
    date, last = (np.array(names, np.int64) for names in (list(parts), [part[-1] for part in parts.values()]))
    offset, n = rows.offset[last], len(parts)
    start = date * DAY - offset
    value = np.array([float(WAYS[how](rows.value[part])) for part in parts.values()])
    limit = np.array([day in refused or bool(rows.censored[part].any()) for day, part in parts.items()], bool)
    return MetricRows(start, start + DAY, offset, value, np.full(n, "", object), np.ones(n, bool), limit)


def with_days(rows: MetricRows, days: MetricRows, how: How) -> MetricRows:
    """The rows with values by which their dates have those of ``days``: sums in proportion, others by as much.

    Rows stay where they are in time, and so does what they say of wear. Those of dates that are not there are left out.

    Args:
        rows: of a feature.
        days: a row a date, as ``each_day`` makes them.
        how: a day's values become one.
    """
    date, place = np.unique(date_of(rows), return_inverse=True)
    was = np.array(list(daily(rows.value, date_of(rows), how).values()))
    given = dict(zip((days.begin // DAY).tolist(), np.maximum(days.value, LEAST).tolist(), strict=True))
    will = np.array([given.get(day, np.nan) for day in date.tolist()])
    if how == "sum":
        value = rows.value * np.divide(will, was, out=np.ones_like(will), where=was != 0)[place]
    else:
        value = np.maximum(rows.value + (will - was)[place], 0.0)
    return replace(rows, value=value).where(~np.isnan(will)[place])


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


def passed_over(
    features: Sequence[Feature], given: Sequence[MetricRows], rows: Mapping[str, MetricRows]
) -> Counter[str]:
    """Rows of the features' metrics that none of them took, but for sleep, where the longest counts."""
    left: Counter[str] = Counter()
    for one, part in zip(features, given, strict=True):
        there = next((name for name in one.metrics if name in rows), "")
        if one.how != "longest" and there:
            left[f"rows of {there} of another kind (a maximum, a total of the day, a nap) or without value"] = len(
                rows[there]
            ) - len(part)
    return +left


def unworn(found: Mapping[int, float], wear: Mapping[int, int], wear_h: int) -> dict[int, str]:
    """Dates that have a value, and too little wear for it."""
    why = f"worn less than {wear_h} h, whose value is no outcome"
    return {date: why for date in found if wear.get(date, 0) < wear_h}
