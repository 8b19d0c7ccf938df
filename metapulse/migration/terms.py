"""What a map looks at: terms made of the old device's readings around a moment, before it and after.

A map is linear in these. A line has the reading itself; *bends* cut it into pieces of their own slope; a *window* has
the readings up to half an hour before and after, which is what undoes lag and smoothing; *slow* has the mean of the
day around, since what differs from day to day is partly the old device's own drift; *hour* has the time of day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

Column = Float64[np.ndarray, " n"]
Matrix = Float64[np.ndarray, "n width"]

NAMES = ("bends", "slow", "window", "hour")
LAGS_MIN = (-30, -15, 15, 30)
FAR_HOURS = 0.26  # from the nearest reading: a reading in between is not guessed over more
DAY_HALF = 12.0  # hours on each side that make the mean of the day around


@dataclass(frozen=True)
class Terms:
    """Which terms, and the scale that they share: x = (reading − centre) / scale.

    Args:
        names: "bends", "slow", "window", "hour"; (): a line.
        centre, scale: of the population's old readings, the metric's unit.
        knots: where a line with bends may bend, in x.
    """

    names: tuple[str, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    knots: tuple[float, ...] = ()

    @property
    def slopes(self) -> int:
        """How many terms after the first, which is 1, add up to x itself."""
        return len(self.knots) + 1 if "bends" in self.names else 1

    @property
    def width(self) -> int:
        """How many terms there are."""
        return 1 + self.slopes + ("slow" in self.names) + len(self.lags) + 2 * ("hour" in self.names)

    @property
    def lags(self) -> tuple[int, ...]:
        """Minutes between the moment and the readings of the window."""
        return LAGS_MIN if "window" in self.names else ()

    def of(self, hours: Column, old: Column) -> Matrix:
        """The terms at every moment of a history.

        Args:
            hours: in order, all different.
            old: readings of the old device, none missing.
        """
        x = (old - self.centre) / self.scale
        columns = [np.ones_like(x), *(_pieces(x, self.knots) if "bends" in self.names else (x,))]
        if "slow" in self.names:
            columns.append((_moving_mean(hours, old, DAY_HALF) - self.centre) / self.scale)
        columns += [_between(hours, x, hours + lag / 60.0) - x for lag in self.lags]
        if "hour" in self.names:
            angle = 2.0 * np.pi * hours / 24.0
            columns += [np.sin(angle), np.cos(angle)]
        return np.stack(columns, 1)

    def lag_min(self, weights: Column) -> float | None:
        """How many minutes the new device trails the old: −Σ ℓ w_ℓ / Σ w, of the weights that make one reading.

        Args:
            weights: of the terms.

        Returns:
            None where there is no window, or too little slope to tell.
        """
        first = 1 + self.slopes + ("slow" in self.names)
        slope = float(np.mean(weights[1 : 1 + self.slopes]))
        if not self.lags or abs(slope) < 0.05:
            return None
        return -float(np.dot(self.lags, weights[first : first + len(self.lags)])) / slope


def _pieces(x: Column, knots: Sequence[float]) -> list[Column]:
    """x as a sum of the parts of it that lie below the first knot, between knots, and above the last."""
    edges = [-np.inf, *knots, np.inf]
    pieces = [np.clip(x, low, high) for low, high in pairwise(edges)]
    return [pieces[0], *(piece - knot for piece, knot in zip(pieces[1:], knots, strict=True))]


def _moving_mean(hours: Column, values: Column, half: float) -> Column:
    """The mean of what lies within so many hours of each moment."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    low, high = np.searchsorted(hours, hours - half, "left"), np.searchsorted(hours, hours + half, "right")
    mean: Column = (total[high] - total[low]) / (high - low)
    return mean


def _between(hours: Column, values: Column, at: Column) -> Column:
    """Readings between readings; where none is near, that of the row itself, so that the term is zero."""
    after = np.clip(np.searchsorted(hours, at), 0, len(hours) - 1)
    near = np.minimum(np.abs(hours[after] - at), np.abs(hours[np.maximum(after - 1, 0)] - at)) <= FAR_HOURS
    return np.where(near, np.interp(at, hours, values), values)
