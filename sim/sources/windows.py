"""Time series of many clients, from which forecasting windows are cut (``metapulse.windows``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from metapulse.data import Samples, Task
from metapulse.sim.sources.table import ClientList
from metapulse.windows import Horizon, SeriesScaling, evenly


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
        instant: each stamp on a clock that all devices share; None: not known.
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
    instant: np.ndarray | None = None

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
        instant: Float64[np.ndarray, " n"] | None = None,
    ) -> SeriesTable:
        """Keep every series that has a window.

        Args:
            owner: series of each reading, sorted, an index into ``pairs``.
            pairs: (user code, device code) of each series, sorted, without repeats.
            labels, devices: names of the codes.
            instant: as for the class.
        """
        anchor = np.flatnonzero(horizon.anchors(t, owner))
        rows = np.arange(len(pairs))
        bounds = np.stack([np.searchsorted(owner, rows), np.searchsorted(owner, rows, "right")], 1)
        usable = np.bincount(owner[anchor], minlength=len(pairs)) > 0
        client_list = ClientList.of([p for p, ok in zip(pairs, usable, strict=True) if ok], labels, devices)
        left_out = int((~usable).sum())
        return cls(
            task, client_list, t, value, anchor, bounds[usable], horizon, scaling, max_windows, left_out, instant
        )  # fmt: skip

    def samples(self, index: int) -> Samples:
        """Windows of one client, evenly spaced over all it has; group = day."""
        begin, end = (int(b) for b in self.bounds[index])
        low, high = np.searchsorted(self.anchor, (begin, end))
        anchor = evenly(self.anchor[low:high] - begin, self.max_windows)
        instant = None if self.instant is None else self.instant[begin:end]
        return self.horizon.samples(self.scaling, self.t[begin:end], self.value[begin:end], anchor, instant=instant)
