"""Has the mean of a stream of losses changed? Page–Hinkley's test and ADWIN, as pure steps with bounded memory.

Both assume readings that are independent while nothing changes. Errors of forecasts that look ahead overlap, so a
stream of them is fed as means over stretches no shorter than the horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

PER_SIZE = 5  # M: buckets of one size; more of them cut the window more finely (Bifet and Gavaldà use 5)
OVERSHOOT = 1.166  # twice 0.583, the mean excess over the threshold (Siegmund 1985, equation 2.58)


@dataclass(frozen=True)
class PageHinkley:
    """g' = max(0, g + x − x̄ − δ), alarm where g' > λ: a rise of the mean (Page 1954; Hinkley 1971).

    Args:
        allowance: δ ≥ 0, what a reading may lie above the mean unnoticed: half the rise that matters.
        threshold: λ > 0. With u the unit, both count in u.
        unit: of δ and λ: a number > 0; 0: the standard deviation of the readings so far.
        warmup: readings before the first alarm, ≥ 2.
        count: readings so far.
        mean: of them.
        square: Σ (x − x̄)².
        rise: g.
    """

    allowance: float
    threshold: float
    unit: float = 0.0
    warmup: int = 30
    count: int = 0
    mean: float = 0.0
    square: float = 0.0
    rise: float = 0.0


def page_threshold(run_length: float, allowance: float) -> float:
    """λ at which independent normal readings of known mean give one false alarm in so many readings, δ and λ in sd.

    Solves (e^{2δb} − 2δb − 1) / 2δ² = run length for b = λ + 1.166, Siegmund's (1985) approximation. While the mean is
    itself estimated, from few readings, alarms are more frequent.

    Args:
        run_length: readings between false alarms, > 1.
        allowance: δ > 0, in standard deviations.
    """
    low, high = 0.0, 400.0  # of 2δb
    for _ in range(100):
        middle = 0.5 * (low + high)
        if math.expm1(middle) - middle < 2.0 * allowance**2 * run_length:
            low = middle
        else:
            high = middle
    return max(low / (2.0 * allowance) - OVERSHOOT, 0.0)


def page_hinkley(state: PageHinkley, x: float) -> tuple[PageHinkley, bool]:
    """One more reading, and whether it raises the alarm; after one the test begins anew.

    Args:
        state: before.
        x: finite.
    """
    count = state.count + 1
    mean = state.mean + (x - state.mean) / count
    square = state.square + (x - state.mean) * (x - mean)  # Welford 1962
    unit = state.unit or math.sqrt(square / max(count - 1, 1))
    begun = state.unit > 0.0 or count >= state.warmup  # an own unit is not known at once
    rise = max(0.0, state.rise + x - mean - state.allowance * unit) if begun else 0.0
    if count >= state.warmup and rise > state.threshold * unit:
        return replace(state, count=0, mean=0.0, square=0.0, rise=0.0), True
    return replace(state, count=count, mean=mean, square=square, rise=rise), False


class Bucket(NamedTuple):
    """Readings next to each other, as three numbers."""

    size: int
    mean: float
    square: float  # Σ (x − mean)²


@dataclass(frozen=True)
class Adwin:
    """ADWIN2 (Bifet and Gavaldà 2007): the longest recent window in which no cut has two means that differ.

    Args:
        confidence: δ in (0, 1), the chance of a false alarm at a reading (theorem 3.1).
        buckets: the window, oldest first; of sizes 1, 2, 4, …, at most ``PER_SIZE`` of each: O(log n) of them.
    """

    confidence: float = 0.002
    buckets: tuple[Bucket, ...] = ()

    @property
    def width(self) -> int:
        """n: readings in the window."""
        return sum(bucket.size for bucket in self.buckets)

    @property
    def mean(self) -> float:
        """Of the window; NaN where it is empty."""
        return _joined(self.buckets).mean if self.buckets else math.nan


def adwin(state: Adwin, x: float) -> tuple[Adwin, float | None]:
    """One more reading, and by how much the mean has moved where that is a change; None: it is none.

    Args:
        state: before.
        x: in [0, 1].
    """
    buckets = _compressed([*state.buckets, Bucket(1, x, 0.0)])
    moved = None
    while (found := change(buckets, state.confidence)) is not None:
        moved = found if moved is None else moved
        buckets = buckets[1:]
    return replace(state, buckets=tuple(buckets)), moved


def change(buckets: list[Bucket], confidence: float) -> float | None:
    """How much the newer part's mean is above the older's at the first cut where they differ; None: they nowhere do.

    |μ₁ − μ₀| > √((2/m) σ² ln(2/δ')) + (2/3m) ln(2/δ') with 1/m = 1/n₀ + 1/n₁ and δ' = δ / ln n (equation 3.1).

    Args:
        buckets: oldest first.
        confidence: δ.
    """
    whole = _joined(buckets)
    if whole.size < 2:
        return None
    variance, log = whole.square / whole.size, math.log(2.0 * math.log(whole.size) / confidence)
    size, total = 0, 0.0
    for bucket in buckets[:-1]:
        size, total = size + bucket.size, total + bucket.size * bucket.mean
        rest = whole.size - size
        inverse = 1.0 / size + 1.0 / rest
        moved = (whole.size * whole.mean - total) / rest - total / size
        if abs(moved) > math.sqrt(2.0 * inverse * variance * log) + 2.0 / 3.0 * inverse * log:
            return moved
    return None


def _compressed(buckets: list[Bucket]) -> list[Bucket]:
    """At most ``PER_SIZE`` of each size: of more, the two oldest become one."""
    size = 1
    while sum(bucket.size == size for bucket in buckets) > PER_SIZE:
        first = next(place for place, bucket in enumerate(buckets) if bucket.size == size)
        buckets[first : first + 2] = [_joined(buckets[first : first + 2])]
        size *= 2
    return buckets


def _joined(buckets: list[Bucket] | tuple[Bucket, ...]) -> Bucket:
    """Of all their readings (Chan, Golub and LeVeque 1983)."""
    size = sum(bucket.size for bucket in buckets)
    mean = sum(bucket.size * bucket.mean for bucket in buckets) / max(size, 1)
    square = sum(bucket.square + bucket.size * (bucket.mean - mean) ** 2 for bucket in buckets)
    return Bucket(size, mean, square)
