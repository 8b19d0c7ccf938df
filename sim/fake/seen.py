"""A day as one device sees it: where it was worn, with its bias and noise, in the shapes that formats hold."""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import MINUTE
from metapulse.record.schema import Row
from metapulse.sim.fake.day import Day, Series
from metapulse.sim.fake.kits import Kit
from metapulse.sim.fake.life import FIRST, Life

Shapes: TypeAlias = list[list[Row]]  # the same quantity in several shapes, the finest first
QUARTER = 15 * MINUTE  # clocks are moved at its beginning


class Seen:
    """A day as one device of one format sees it."""

    def __init__(self, life: Life, day: Day, kit: Kit, format: str) -> None:
        self.life, self.day, self.kit, self.address = life, day, kit, f"{format}/{kit.name}"
        self.device = kit.device
        self._offsets: dict[int, int] = {}
        once = life.rng(f"device/{self.address}")
        self.scale = 1 + kit.bias * float(once.standard_normal())  # its bias
        self.skew = int(once.integers(0, 40)) * 1_000_000  # seconds that its samples come after the full minute

    @cached_property
    def worn(self) -> NDArray[np.bool_]:
        """By the minute."""
        rng = self.life.rng(f"worn/{self.address}", self.day.number)
        worn = np.full(len(self.day.minutes), bool(rng.random() >= self.kit.left))
        begin = int(rng.choice([7.2, 20.5, 21.3]) * 60 + rng.integers(0, 40))
        worn[begin : begin + self.kit.charging] = False
        return worn

    def noise(self, purpose: str, size: int) -> Series:
        """Standard normal."""
        return self.life.rng(f"noise/{self.address}/{purpose}", self.day.number).standard_normal(size)

    def row(self, metric: str, start: int, value: float | None, end: int | None = None, code: str | None = None) -> Row:
        """A row of this device."""
        return Row(metric, start, value, None, 0, end, self._offset(start // QUARTER), code, self.device)

    def _offset(self, quarter: int) -> int:
        if quarter not in self._offsets:
            self._offsets[quarter] = self.day.offset(quarter * QUARTER)
        return self._offsets[quarter]

    def of_day(self, metric: str, value: float, code: str | None = None) -> Row:
        """A row of the whole day."""
        clock = self.life.clock(self.day.number)
        day = clock.day(FIRST + self.day.number)
        return Row(metric, day.start, value, None, 0, day.end, day.offset_min, code, self.device, ("date_only",))

    def samples(self, metric: str, series: Series, digits: int, sigma: float, bias: bool = True) -> list[Row]:
        """Instants, where it was worn."""
        at = np.flatnonzero(self.worn)
        at = at[at % self.kit.every == 0]
        values = series[at] * (self.scale if bias else 1) + sigma * self.noise(metric, len(series))[at]
        starts = self.day.minutes[at] + self.skew
        pairs = zip(starts.tolist(), np.round(values, digits).tolist(), strict=True)
        return [self.row(metric, start, value) for start, value in pairs]

    def amounts(self, metric: str, series: Series, digits: int, daily: str = "", code: str | None = None) -> Shapes:
        """Sums by minute, by quarter of an hour and by day."""
        series = np.where(self.worn, series * self.scale, 0.0)
        shapes = [self._sums(metric, series, minutes, digits, code) for minutes in (1, 15)]
        total = round(float(series.sum()), digits)
        return [*shapes, [self.of_day(daily or metric, total, code)] if total else []]

    def _sums(self, metric: str, series: Series, minutes: int, digits: int, code: str | None) -> list[Row]:
        sums = np.round(np.add.reduceat(series, np.arange(0, len(series), minutes)), digits).tolist()
        starts = self.day.minutes[::minutes].tolist()
        pairs = zip(starts, sums, strict=True)
        return [self.row(metric, s, v, s + minutes * MINUTE, code) for s, v in pairs if v]

    @cached_property
    def asleep(self) -> bool:
        """Whether it was worn in the night that ends on this day."""
        return bool(self.worn[: 4 * 60].any())

    def night(self, metric: str, value: float, digits: int, *codes: str) -> Shapes:
        """One number of a night: of its time, of the day it ends on, or under a code."""
        if not self.asleep:
            return []
        night, value = self.day.nights[0], round(float(value), digits)
        rows = [[self.row(metric, night.start, value, night.end)], [self.of_day(metric, value)]]
        return [*rows, *([self.of_day(metric, value, code)] for code in codes)]

    def nightly(self, metric: str, level: float, spread: float, digits: int) -> Shapes:
        """Samples every five minutes of a night, and their mean."""
        night = self.day.nights[0]
        starts = range(night.start + 10 * MINUTE, night.end, 5 * MINUTE)
        values = self.scale * level + spread * self.noise(metric, len(starts))
        rows = [self.row(metric, at, max(round(float(v), digits), 1.0)) for at, v in zip(starts, values, strict=True)]
        return [rows if self.asleep else [], *self.night(metric, values.mean(), digits, "mean of the night", "night")]
