"""Forecasting windows of a series: pairs of a history and a future value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from metapulse.data import Samples

DAY_MIN = 1440.0


@dataclass(frozen=True)
class SeriesScaling:
    """x = (history − centre) / spread, y = (future − present) / target_spread; persistence predicts y = 0."""

    centre: float = 0.0
    spread: float = 1.0
    target_spread: float = 1.0


@dataclass(frozen=True)
class Horizon:
    """A forecasting question: from ``points`` past values, ``step`` apart, to the value ``ahead`` later.

    Args:
        points: history length, values, the last being the present reading.
        step: time between two values of the history.
        ahead: how far into the future the target lies.
        max_gap: a longer silence breaks the series.
        day: length of one group; a window lies within one, so windows of two groups share no time.
    """

    points: int
    step: float
    ahead: float
    max_gap: float
    day: float = DAY_MIN

    def anchors(
        self, t: Float64[np.ndarray, " n"], owner: Int[np.ndarray, " n"] | None = None
    ) -> Bool[np.ndarray, " n"]:
        """Which readings can be the present: unbroken history behind them, future before them, within one day.

        The present is always a real reading, so a history interpolated between readings knows nothing of the
        future, which one on a fixed grid would.

        Args:
            t: stamps, strictly increasing for each owner.
            owner: whose reading it is (sorted); None for a single series.
        """
        broken = np.diff(t) > self.max_gap
        if owner is not None:
            broken |= owner[1:] != owner[:-1]
        edge = np.flatnonzero(broken) + 1
        first, last = np.append(0, edge), np.append(edge, len(t)) - 1
        piece = np.repeat(np.arange(len(first)), last - first + 1)
        begin, end = t - self.step * (self.points - 1), t + self.ahead
        whole = (begin >= t[first][piece]) & (end <= t[last][piece])
        allowed: np.ndarray = whole & (begin // self.day == end // self.day)
        return allowed

    def cut(
        self, t: Float64[np.ndarray, " n"], value: Float64[np.ndarray, " n"], anchor: Int[np.ndarray, " k"]
    ) -> tuple[Float64[np.ndarray, "k points"], Float64[np.ndarray, " k"]]:
        """History and future value at the given anchors, linear between readings.

        Args:
            t: stamps of one series, strictly increasing.
            value: its readings.
            anchor: rows that ``anchors`` allows.

        Returns:
            History, oldest first, whose last value is the reading at the anchor; and the future value.
        """
        back = self.step * np.arange(self.points - 1, -1, -1)
        history = np.interp(t[anchor][:, None] - back, t, value)  # (k, points)
        return history, np.interp(t[anchor] + self.ahead, t, value)

    def samples(
        self,
        scaling: SeriesScaling,
        t: Float64[np.ndarray, " n"],
        value: Float[np.ndarray, " n"],
        anchor: Int[np.ndarray, " k"],
        clock: Float64[np.ndarray, " n"] | None = None,
        instant: Float64[np.ndarray, " n"] | None = None,
    ) -> Samples:
        """Windows of one series; group = day.

        Args:
            scaling: units of inputs and target.
            t: stamps, strictly increasing.
            value: readings.
            anchor: rows that ``anchors`` allows.
            clock: the person's own time at each stamp, which says the day; None: ``t``.
            instant: each stamp in minutes of a clock that all of the person's devices share; None: not known.
        """
        value = value.astype(np.float64)
        history, future = self.cut(t, value, anchor)
        x = (history - scaling.centre) / scaling.spread
        y = (future - value[anchor]) / scaling.target_spread
        group = (((t if clock is None else clock)[anchor] + self.ahead) // self.day).astype(np.int64)
        none = np.zeros(len(anchor), bool)
        inputs, target, base = (part[:, None].astype(np.float32) for part in (x, y, value[anchor]))
        span = None
        if instant is not None:
            reach = np.array([-self.step * (self.points - 1), self.ahead])
            span = instant[anchor][:, None] + reach
        return Samples(inputs, target, group, none, base=base, span=span)


def evenly(rows: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " k"]:
    """At most so many of the rows, evenly spaced over all, the first and the last among them.

    Args:
        rows: sorted.
        most: ≥ 2.
    """
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
