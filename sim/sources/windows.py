"""Cutting windows: motion signals for classification, and (history → future) pairs for forecasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from metapulse.data import Samples, Task
from metapulse.sim.sources.table import Roster

DAY_MIN = 1440.0


def merge_duplicates(
    t: Float64[np.ndarray, " n"], values: Float[np.ndarray, "n channels"]
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m channels"]]:
    """Sort by time and average the readings that carry the same stamp.

    Phones deliver readings in bursts with one stamp; interpolating through such a step would invent a jump.

    Returns:
        Strictly increasing stamps, and their mean values.
    """
    stamps, first = np.unique(t, return_inverse=True)
    count = np.bincount(first)
    sums = [np.bincount(first, values[:, c].astype(np.float64)) for c in range(values.shape[1])]
    return stamps, np.stack([s / count for s in sums], 1)  # (m, channels)


def motion_windows(
    t_ms: Float64[np.ndarray, " n"],
    values: Float[np.ndarray, "n channels"],
    labels: Int[np.ndarray, " n"],
    length: int = 64,
    hop: int = 32,
    step_ms: float = 20.0,
    purity: float = 0.75,
) -> tuple[Float32[np.ndarray, "k channels length"], Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Resample a recording to a regular grid and cut windows that one label dominates.

    Args:
        t_ms: stamps, ms, in any order, repeats allowed.
        values: readings at those stamps.
        labels: label code at those stamps, ≥ 0.
        length: readings per window.
        hop: readings from one window's start to the next; below ``length`` they overlap.
        step_ms: grid step; 20 ms is 50 Hz.
        purity: least share of the window under its commonest label, in (0, 1].

    Returns:
        Windows, their labels, and the stamp at which each starts.
    """
    stamps, merged = merge_duplicates(t_ms, values)
    points = int((stamps[-1] - stamps[0]) // step_ms) + 1
    grid = stamps[0] + step_ms * np.arange(points)
    order = np.argsort(t_ms, kind="stable")
    label = labels[order][np.searchsorted(t_ms[order], grid, "right") - 1]  # in force since the last reading
    signal = np.stack([np.interp(grid, stamps, merged[:, c]) for c in range(values.shape[1])])  # (channels, points)
    begin = np.arange(0, points - length + 1, hop)
    inside = begin[:, None] + np.arange(length)  # (windows, length)
    share = np.stack([(label[inside] == c).mean(1) for c in range(int(labels.max()) + 1)], 1)  # (windows, classes)
    keep = share.max(1, initial=0) >= purity if len(begin) else np.zeros(0, bool)
    x = signal[:, inside[keep]].transpose(1, 0, 2).astype(np.float32)  # (kept, channels, length)
    return x, share[keep].argmax(1).astype(np.int64), grid[begin[keep]]


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
class Scaling:
    """x = (history − centre) / spread, y = (future − present) / target_spread; persistence predicts y = 0."""

    centre: float = 0.0
    spread: float = 1.0
    target_spread: float = 1.0


@dataclass(frozen=True)
class SeriesTable:
    """Time series of every client; windows are cut when a client is asked for.

    Args:
        task: features (1, points), one output.
        roster: who the clients are.
        t, value: all series one after the other, each with strictly increasing stamps.
        anchor: rows that may be the present, sorted.
        bounds: rows of client i are bounds[i, 0] to bounds[i, 1].
        horizon: the question.
        scaling: units of inputs and target.
        max_windows: windows kept per client, evenly spaced.
        left_out: series too short for a single window.
    """

    task: Task
    roster: Roster
    t: np.ndarray
    value: np.ndarray
    anchor: np.ndarray
    bounds: np.ndarray
    horizon: Horizon
    scaling: Scaling
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
        scaling: Scaling,
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
        roster = Roster.of([p for p, ok in zip(pairs, usable, strict=True) if ok], labels, devices)
        left_out = int((~usable).sum())
        return cls(
            task, roster, t, value, anchor, bounds[usable], horizon, scaling, max_windows, left_out
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
