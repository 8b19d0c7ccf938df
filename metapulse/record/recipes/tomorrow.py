"""What tomorrow, or tonight, will bring, from the days before: resting heart rate, sleep, steps."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from metapulse.data import Samples, Task
from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes.base import MetricRows, Questions, Recipe, Taken, no_questions
from metapulse.record.recipes.days import (
    Feature,
    daily,
    date_of,
    day_of,
    each_day,
    passed_over,
    unworn,
    whole_day,
    with_days,
    worn_hours,
)
from metapulse.settings import setting

RESTING = Feature(
    "resting_heart_rate", ("resting_heart_rate", "resting_heart_rate_lowest"), "last", 60.0, 10.0, summary=True
)
LOWEST = Feature("lowest_heart_rate", ("heart_rate",), "lowest", 60.0, 10.0)
PULSE = Feature("heart_rate", ("heart_rate",), "mean", 75.0, 15.0)
MEANS = ("", "mean of the night", "average", "mean of the day")
HRV = Feature("hrv_rmssd", ("hrv_rmssd",), "mean", 45.0, 25.0, MEANS)
BREATH = Feature("respiratory_rate", ("respiratory_rate",), "mean", 15.0, 2.0, MEANS)
SLEEP = Feature("sleep", ("sleep_duration", "sleep_stage"), "longest", 420.0, 60.0, summary=True)
STEPS = Feature("steps", ("steps",), "sum", 8000.0, 4000.0, total="steps_daily")
STEPS_DAILY = Feature("steps", ("steps_daily",), "last", 8000.0, 4000.0, summary=True)
OTHERS = (PULSE, HRV, BREATH, SLEEP)
KNOWN = "_known"  # after a feature's name: the input that says whether there is a value


@dataclass(frozen=True)
class _Days:
    """What a device says of a person's days, from ``first`` on."""

    features: tuple[Feature, ...]
    first: int
    worn: np.ndarray  # (days,)
    value: np.ndarray  # (features, days), NaN where there is none or the device was not worn
    outcomes: Mapping[int, float]
    refused: Mapping[int, str]
    left: Counter[str]
    unworn: int  # days whose values were taken away
    offset: int  # µs of the person's clock before UTC, lately

    def before(self, date: int, days: int) -> slice:
        """The days that are seen by the forecast for a date; the day before is the last."""
        return slice(date - days - self.first, date - self.first)


@dataclass(frozen=True)
class Tomorrow(Recipe):
    """The last ``days`` days → a value of the day after.

    Two inputs a feature and day: (value − centre) / scale, 0 where there is no value, and 1 or 0 for whether there is
    one. The target's own feature and y are relative to m, the mean of what is known of it in the window, so that y = 0
    is the mean of the last days; m itself, (m − centre) / scale, and whether the day to come is a Saturday or Sunday
    are the last two inputs. A day on which the device was worn less than ``wear_h`` has no values.

    Shape (channels, days), oldest first. Group and time = the day of the forecast.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "resting_heart_rate",
        "resting_heart_rate_lowest",
        "heart_rate",
        "hrv_rmssd",
        "respiratory_rate",
        "sleep_duration",
        "sleep_stage",
        "steps",
        "steps_daily",
    )

    step_min: ClassVar[float] = DAY / MINUTE

    days: int = setting(7, "days that are seen", ge=1, le=60)
    least_days: int = setting(3, "days among them with wear, at least", ge=1, le=60)
    hour: int = setting(24, "hour of the person's day at which the forecast is made", ge=1, le=24)
    wear_h: int = setting(10, "hours of wear that make a day count", ge=0, le=24)

    @property
    @abstractmethod
    def target(self) -> Feature:
        """What is forecast, which is a feature of the days before as well."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The target's, then the others."""
        rest = (*OTHERS, STEPS)
        return (self.target, *(one for one in rest if one.name != self.target.name))

    def _features(self, rows: Mapping[str, MetricRows]) -> tuple[Feature, ...]:
        """Those that are read from rows: the vendor's total of a day's steps where there are no steps."""
        if "steps" in rows:
            return self.features
        return tuple(STEPS_DAILY if one.name == "steps" else one for one in self.features)

    @property
    def task(self) -> Task:
        """One number, in units of the target's scale."""
        names = [name for one in self.features for name in (one.name, one.name + KNOWN)]
        names += ["mean_of_days", "weekend"]
        scale, value_unit = self.target.scale, self.value_unit
        shape, unit = (len(names), self.days), f"{scale:g} {value_unit}"
        return Task("regression", shape, 1, (), unit, tuple(names), scale, value_unit)

    @property
    def forecasts(self) -> str:
        """The metric of the target."""
        return self.target.metrics[0]

    @property
    @abstractmethod
    def value_unit(self) -> str:
        """Of the metric."""

    def outcomes(self, own: MetricRows, rows: Mapping[str, MetricRows]) -> tuple[dict[int, float], dict[int, str]]:
        """The target by the person's date; and why it is not used, by date, where it is not.

        Args:
            own: rows of the target's feature.
            rows: all of the device's.
        """
        return daily(own.value, date_of(own), self.target.how), {}

    @property
    def mapped_metric(self) -> str:
        """That of the target's value of a day."""
        return self.target.of_a_day

    def series(self, rows: Mapping[str, MetricRows]) -> dict[str, MetricRows]:
        """A value a day of the target, then of every other feature."""
        found = {}
        for metric, one in self._by_metric(rows).items():
            if len(own := one.rows(rows)):
                refused = self.outcomes(own, rows)[1] if metric == self.mapped_metric else {}
                found[metric] = each_day(own, one.how, refused)
        return found

    def with_series(self, rows: Mapping[str, MetricRows], mapped: Mapping[str, MetricRows]) -> dict[str, MetricRows]:
        """The rows with other values of their days."""
        made = dict(rows)
        for metric, one in self._by_metric(rows).items():
            if metric in mapped:
                made = {name: part for name, part in made.items() if name not in one.metrics}
                made[one.metrics[0]] = with_days(one.rows(rows), mapped[metric], one.how)
        return made

    def _by_metric(self, rows: Mapping[str, MetricRows]) -> dict[str, Feature]:
        """Features that are read from rows, by the metric of a day's value; of two of one metric the first."""
        found: dict[str, Feature] = {}
        for one in self._features(rows):
            found.setdefault(one.of_a_day, one)
        return found

    def take(self, rows: Mapping[str, MetricRows]) -> Taken:
        """One sample a day that has enough before it and an outcome after it."""
        known = self._days(rows)
        left, worn, outcomes = known.left, known.worn, known.outcomes
        if not outcomes:
            return Taken(None, left, f"no {known.features[0].name} on any day")
        left[f"days worn less than {self.wear_h} h, whose values are no inputs"] = known.unworn
        xs, ys, bases, at = [], [], [], []
        for date in sorted(outcomes.keys() - known.refused.keys()):
            window = known.before(date, self.days)
            if worn[window].sum() < self.least_days:
                left[f"days after fewer than {self.least_days} of {self.days} with {self.wear_h} h of wear"] += 1
            elif np.isnan(known.value[0, window]).all():
                left[f"days after {self.days} without {known.features[0].name}"] += 1
            else:
                x, mean = self._sample(known, window, date)
                xs.append(x)
                ys.append((outcomes[date] - mean) / known.features[0].scale)
                bases.append(mean)
                at.append(date - 1)
        if not xs:
            enough = int(worn.sum())
            return Taken(None, +left, f"{enough} days worn {self.wear_h} h or more, {len(outcomes)} with an outcome")
        day = np.array(at, np.int64)
        time = (day * DAY + self.hour * HOUR) / MINUTE
        target, base = (np.array(values, np.float32)[:, None] for values in (ys, bases))
        # from the first day before it to the end of the one asked about; days of two devices may begin half a day apart
        reach = np.array([1 - self.days, 2]) * DAY + np.array([-12, 12]) * HOUR
        span = (day[:, None] * DAY + reach) / MINUTE
        return Taken(Samples(np.stack(xs), target, day, np.zeros(len(day), bool), None, time, base, span), +left)

    def questions(self, rows: Mapping[str, MetricRows]) -> Questions:
        """One a day that has enough before it, to the day after the last; an outcome is due at the end of its day."""
        known = self._days(rows)
        if not known.outcomes:
            return no_questions(self.task, f"no {known.features[0].name} on any day")
        found = []
        for date in range(known.first + self.days, known.first + len(known.worn) + 1):
            window = known.before(date, self.days)
            if known.worn[window].sum() >= self.least_days and not np.isnan(known.value[0, window]).all():
                outcome = np.nan if date in known.refused else known.outcomes.get(date, np.nan)
                found.append((date, *self._sample(known, window, date), known.worn[window].mean(), outcome))
        if not found:
            return no_questions(self.task, f"{int(known.worn.sum())} days worn {self.wear_h} h or more")
        dates, xs, means, seen, outcomes = zip(*found, strict=True)
        day, base, scale = np.array(dates, np.int64), np.array(means), known.features[0].scale
        y = (np.array(outcomes) - base) / scale
        offset = known.offset  # of the last row: a day more or less where the clock changes does not matter here
        times = (day - 1) * DAY + self.hour * HOUR - offset, (day + 1) * DAY - offset
        return Questions(*times, np.stack(xs), y, base, scale, np.array(seen))

    def _days(self, rows: Mapping[str, MetricRows]) -> _Days:
        """What is known of every day, from as long before the first outcome as is seen."""
        wear = worn_hours(rows, self.hour)
        features = self._features(rows)
        given = [one.rows(rows) for one in features]
        tables = [
            daily(part.value, day_of(one.known(part), self.hour), one.how)
            for one, part in zip(features, given, strict=True)
        ]
        outcomes, refused = self.outcomes(given[0], rows)
        left = Counter(f"days {why}" for why in refused.values()) + passed_over(features, given, rows)
        first, last = (min(outcomes) - self.days, max(outcomes) + 1) if outcomes else (0, 0)
        span = range(first, last)
        worn = np.array([wear.get(day, 0) >= self.wear_h for day in span], bool)
        value = np.array([[table.get(day, np.nan) for day in span] for table in tables])
        unworn = int((~np.isnan(value)).any(0)[~worn].sum())
        value[:, ~worn] = np.nan
        offset = int(given[0].offset[-1]) if len(given[0]) else 0
        return _Days(features, first, worn, value, outcomes, refused, left, unworn, offset)

    def _sample(self, known: _Days, window: slice, date: int) -> tuple[np.ndarray, float]:
        """Inputs of one window, (channels, days), and m."""
        features, value = known.features, known.value[:, window]
        mean = float(np.nanmean(value[0]))
        scale = np.array([one.scale for one in features])[:, None]
        centre = np.array([mean, *(one.centre for one in features[1:])])[:, None]
        scaled, there = (value - centre) / scale, ~np.isnan(value)
        both = np.stack([np.where(there, scaled, 0.0), there], 1).reshape(-1, self.days)
        level, weekend = (
            (mean - features[0].centre) / features[0].scale,
            (date + 3) % 7 >= 5,
        )  # 1970 began on a Thursday
        rest = np.repeat([[level], [float(weekend)]], self.days, 1)
        return np.concatenate([both, rest]).astype(np.float32), mean


@dataclass(frozen=True)
class RestingHeartRateTomorrow(Tomorrow):
    """Resting heart rate of the next day, as the vendor tells it or as the 5th percentile of the day's heart rate.

    The percentile is of a calendar day with ``wear_h`` hours; a vendor's value counts on any day.
    """

    of: Literal["vendor", "lowest"] = setting("vendor", "the vendor's value, or the 5th percentile of the heart rate")
    wear_h: int = setting(6, "hours of wear that make a day count", ge=0, le=24)

    @property
    def target(self) -> Feature:
        """By ``of``."""
        return RESTING if self.of == "vendor" else LOWEST

    @property
    def value_unit(self) -> str:
        """Beats a minute."""
        return "/min"

    def outcomes(self, own: MetricRows, rows: Mapping[str, MetricRows]) -> tuple[dict[int, float], dict[int, str]]:
        """By date; of the percentile only where the device was worn."""
        found, refused = super().outcomes(own, rows)
        if self.of == "lowest":
            refused |= unworn(found, worn_hours(rows, 24), self.wear_h)
        return found, refused


@dataclass(frozen=True)
class SleepTonight(Tomorrow):
    """Minutes asleep in the longest sleep that ends tomorrow, forecast at ``hour`` of today.

    A night that has begun before that is left out.
    """

    hour: int = setting(20, "hour of the person's day at which the forecast is made", ge=1, le=24)
    wear_h: int = setting(4, "hours of wear that make a day count; a night is wear", ge=0, le=24)

    @property
    def target(self) -> Feature:
        """Sleep."""
        return SLEEP

    @property
    def value_unit(self) -> str:
        """Minutes."""
        return "min"

    def outcomes(self, own: MetricRows, rows: Mapping[str, MetricRows]) -> tuple[dict[int, float], dict[int, str]]:
        """By date; the night must begin after the forecast."""
        date = date_of(own)
        early = ~own.date_only & (own.begin < (date - 1) * DAY + self.hour * HOUR)
        refused = dict.fromkeys(date[early].tolist(), f"whose night began before {self.hour}:00")
        return daily(own.value, date, "longest"), refused


@dataclass(frozen=True)
class StepsTomorrow(Tomorrow):
    """Steps of the next day, on which the device has to be worn as well."""

    @property
    def target(self) -> Feature:
        """Steps."""
        return STEPS

    @property
    def value_unit(self) -> str:
        """Steps."""
        return "steps"

    def outcomes(self, own: MetricRows, rows: Mapping[str, MetricRows]) -> tuple[dict[int, float], dict[int, str]]:
        """By date; sums of minutes only where the device was worn. A vendor's total stands for itself."""
        found, refused = super().outcomes(own, rows)
        if not whole_day(own).all():
            refused |= unworn(found, worn_hours(rows, 24), self.wear_h)
        return found, refused
