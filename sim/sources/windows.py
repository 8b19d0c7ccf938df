"""Forecasting windows of a series: pairs of a history and a future value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from metapulse.data import Samples, Task
from metapulse.sim.sources.table import ClientList

DAY_MIN = 1440.0


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


@dataclass(frozen=True)
class SeriesScaling:
    """x = (history − centre) / spread, y = (future − present) / target_spread; persistence predicts y = 0."""

    centre: float = 0.0
    spread: float = 1.0
    target_spread: float = 1.0


@dataclass(frozen=True)
class SeriesTable:
    """Time series of every client; windows are cut when a client is asked for.

    Args:
        task: features (1, points), one output.
        t, value: all series one after the other, each with strictly increasing stamps.
        anchor: rows that may be the present, sorted.
        bounds: rows of client i are bounds[i, 0] to bounds[i, 1].
        scaling: units of inputs and target.
        max_windows: windows kept per client, evenly spaced.
        left_out: series too short for a single window.
    """

    task: Task
    client_list: ClientList
    t: np.ndarray
    value: np.ndarray
    anchor: np.ndarray
    bounds: np.ndarray
    horizon: Horizon
    scaling: SeriesScaling
    max_windows: int
    left_out: int

    @classmethod
    def of(
        cls,
        task: Task,
        t: Float64[np.ndarray, " n"],
        value: Float[np.ndarray, " n"],
        owner: Int[np.ndarray, " n"],
        pairs: Sequence[tuple[int, int]],
        labels: Sequence[str],
        devices: Sequence[str],
        horizon: Horizon,
        scaling: SeriesScaling,
        max_windows: int,
    ) -> SeriesTable:
        """Keep every series that has a window.

        Args:
            owner: series of each reading, sorted, an index into ``pairs``.
            pairs: (user code, device code) of each series, sorted, without repeats.
            labels, devices: names of the codes.
        """
        anchor = np.flatnonzero(horizon.anchors(t, owner))
        rows = np.arange(len(pairs))
        bounds = np.stack([np.searchsorted(owner, rows), np.searchsorted(owner, rows, "right")], 1)
        usable = np.bincount(owner[anchor], minlength=len(pairs)) > 0
        client_list = ClientList.of([p for p, ok in zip(pairs, usable, strict=True) if ok], labels, devices)
        left_out = int((~usable).sum())
        return cls(
            task, client_list, t, value, anchor, bounds[usable], horizon, scaling, max_windows, left_out
        )  # fmt: skip

    def samples(self, index: int) -> Samples:
        """Windows of one client, evenly spaced over all it has; group = day."""
        begin, end = (int(b) for b in self.bounds[index])
        low, high = np.searchsorted(self.anchor, (begin, end))
        anchor = self.anchor[low:high] - begin
        if len(anchor) > self.max_windows:
            anchor = anchor[np.linspace(0, len(anchor) - 1, self.max_windows).round().astype(np.int64)]
        t, value = self.t[begin:end], self.value[begin:end].astype(np.float64)
        history, future = self.horizon.cut(t, value, anchor)
        x = (history - self.scaling.centre) / self.scaling.spread
        y = (future - value[anchor]) / self.scaling.target_spread
        group = ((t[anchor] + self.horizon.ahead) // self.horizon.day).astype(np.int64)
        none = np.zeros(len(anchor), bool)
        return Samples(x[:, None].astype(np.float32), y[:, None].astype(np.float32), group, none)
