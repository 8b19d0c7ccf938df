"""How far two clocks are apart, from what both devices saw: cross-correlation in windows of days.

What they saw is compared without its slow part, so that the rhythm of the day, which all have, is no evidence. How high
the peak within ±14 h is over chance is read from the record itself: the same window is laid over other days of the
other device, in blocks as wide as the search, and the highest peak of every block is what habits alone give. A Gumbel
distribution through those peaks gives the p-value (E. J. Gumbel, 1958, Statistics of Extremes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY_S = 86_400.0
REACH_S = 14 * 3600.0  # shifts that are looked for; a clock that is a day off is not found
BLOCKS = 8  # fewer blocks of other days say nothing about chance
FINE = 6  # points of the smooth curve in one step


class TimeSeries(NamedTuple):
    """What one device saw: ``time`` in seconds, ascending, and ``value`` in any unit; two arrays of one length."""

    time: Floats
    value: Floats


@dataclass(frozen=True)
class Likeness:
    """How series of one kind are compared.

    Args:
        slow_s: variation slower than this many seconds is taken out.
        step_s: of the grid, at least.
        least: points that a window needs.
        days: length of a window.
        around: days before and after a window that tell what chance does.
        tolerance_s: what devices whose clocks agree may differ by, since they smooth, or judge differently.
    """

    slow_s: float = 3600.0
    step_s: float = 60.0
    least: int = 150
    days: float = 3
    around: float = 45
    tolerance_s: float = 45.0


LIKENESS = Likeness()


class ShiftWindow(NamedTuple):
    """Some days of two devices.

    Args:
        time: its middle, in seconds.
        shift: seconds by which the second device's stamps are late.
        height: correlation at the peak.
        p: probability of such a peak by habit or chance.
        first: its first instant.
        last: its last instant.
        step: seconds of the grid, which shifts can be told by a fraction of.
    """

    time: float
    shift: float
    height: float
    p: float
    first: float
    last: float
    step: float


def shift_windows(a: TimeSeries, b: TimeSeries, likeness: Likeness = LIKENESS) -> list[ShiftWindow]:
    """Shift of ``b`` against ``a``, window by window; windows with too little in common are left out.

    Args:
        a: the device whose clock is taken as right.
        b: the other.
        likeness: how they are compared.
    """
    if min(len(a.time), len(b.time)) < likeness.least:
        return []
    step = max(likeness.step_s, *(float(np.median(np.diff(s.time))) for s in (a, b)))
    margin = likeness.around * DAY_S
    start = float(np.floor((max(a.time[0], b.time[0]) - margin) / DAY_S) * DAY_S)
    count = int((min(a.time[-1], b.time[-1]) + margin - start) // step) + 1
    if count < 1:
        return []
    width = max(3, round(likeness.slow_s / step))
    (first, a_fast), (second, b_fast) = (_fast(s, start, step, count, width) for s in (a, b))
    smooth = _smooth(b_fast, start, step / FINE, count * FINE)
    reach, span = int(REACH_S / step), int(likeness.days * DAY_S / step)
    far = int(margin / step)
    found = []
    for at in range(0, count, span):
        part = first[at : at + span]
        if np.isfinite(part).sum() < likeness.least:
            continue
        near = max(0, at - far)
        common = max(likeness.least, round(0.3 * np.isfinite(part).sum()))  # heights of fewer points scatter more
        lags, height = _correlations(part, second[near : at + span + far], common)
        peak = _peak(lags + near - at, height, reach)
        if peak is None:
            continue
        lag, top, p = peak
        low, high = start + at * step, start + (at + len(part)) * step
        own = (a_fast.time >= low) & (a_fast.time < high)
        fine = _refined(TimeSeries(a_fast.time[own], a_fast.value[own]), smooth, start, step, lag)
        found.append(ShiftWindow((low + high) / 2, fine, top, p, low, high, step))
    return found


def change_point(
    a: TimeSeries, b: TimeSeries, likeness: Likeness, before: float, after: float, low: float, high: float
) -> float:
    """When between ``low`` and ``high`` the shift went from ``before`` to ``after`` (seconds all).

    The instant that divides the points of ``a`` best into those that fit the one shift and those that fit the other.
    """
    step = max(likeness.step_s, *(float(np.median(np.diff(s.time))) for s in (a, b)))
    start = low - REACH_S - DAY_S
    count = int((high + REACH_S + DAY_S - start) // step) + 1
    width = max(3, round(likeness.slow_s / step))
    first, second = (_fast(s, start, step, count, width)[0] for s in (a, b))
    grid: Any = start + (np.arange(count) + 0.5) * step
    gain: Any = first * (_at(second, grid + before, start, step) - _at(second, grid + after, start, step))
    gain[(grid < low) | (grid >= high)] = 0
    return float(grid[int(np.argmax(np.cumsum(np.nan_to_num(gain))))] + step / 2)


def _grid(series: TimeSeries, start: float, step: float, count: int) -> Floats:
    """Means by steps; NaN where there is nothing, (count,)."""
    at = np.floor((series.time - start) / step).astype(np.int64)
    inside = (at >= 0) & (at < count)
    number = np.bincount(at[inside], minlength=count)
    total = np.bincount(at[inside], series.value[inside], minlength=count)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _fast(series: TimeSeries, start: float, step: float, count: int, width: int) -> tuple[Floats, TimeSeries]:
    """Without the moving mean of ``width`` steps, in robust standard deviations, cut at 4: by steps, and by points."""
    from scipy.ndimage import uniform_filter1d  # type: ignore[attr-defined]

    x = _grid(series, start, step, count)
    there = np.isfinite(x)
    share = uniform_filter1d(there.astype(float), width, mode="constant")
    mean = uniform_filter1d(np.where(there, x, 0.0), width, mode="constant") / np.maximum(share, 1e-9)
    mean[share < 0.1] = np.nan
    sizes = np.abs((x - mean)[there & np.isfinite(mean)])
    if not len(sizes) or not sizes.any():
        return np.full(count, np.nan), TimeSeries(series.time[:0], series.value[:0])
    unit = 1.4826 * float(np.median(sizes)) or float(sizes[sizes > 0].mean())
    points = np.clip((series.value - _at(mean, series.time, start, step)) / unit, -4, 4)
    known = np.isfinite(points)
    return np.clip((x - mean) / unit, -4, 4), TimeSeries(series.time[known], points[known])


def _correlations(part: Floats, whole: Floats, least: int) -> tuple[NDArray[np.int64], Floats]:
    """Correlation of ``part[i]`` with ``whole[i + lag]`` over what both have, at every lag, by one FFT.

    D. Padfield (2012), Masked object registration in the Fourier domain, IEEE Trans. Image Processing 21(5).
    """
    from scipy.fft import irfft, next_fast_len, rfft

    size = int(next_fast_len(len(part) + len(whole) - 1, real=True))  # type: ignore[no-untyped-call]

    def spectra(x: Floats) -> list[Any]:
        there = np.isfinite(x)
        zeros = np.where(there, x, 0.0)
        return [rfft(y, size) for y in (there.astype(float), zeros, zeros**2)]

    (n1, x1, q1), (n2, x2, q2) = spectra(part), spectra(whole)

    def product(one: Any, other: Any) -> Any:
        return irfft(np.conj(one) * other, size)

    n = np.rint(product(n1, n2))
    enough = n >= least
    safe = np.where(enough, n, 1)
    sum1, sum2 = product(x1, n2), product(n1, x2)
    spread1 = product(q1, n2) - sum1**2 / safe
    spread2 = product(n1, q2) - sum2**2 / safe
    scale = np.sqrt(np.maximum(spread1, 0) * np.maximum(spread2, 0))
    enough &= scale > 1e-6 * safe
    height = np.where(enough, (product(x1, x2) - sum1 * sum2 / safe) / np.where(enough, scale, 1), np.nan)
    lags = np.arange(size)
    lags[lags >= len(whole)] -= size
    order = np.argsort(lags)
    return lags[order], height[order]


def _peak(lags: NDArray[np.int64], height: Floats, reach: int) -> tuple[int, float, float] | None:
    """(lag, height, p-value) of the highest point within ±reach; None where too few blocks tell what chance does."""
    block = np.floor((lags + reach) / (2 * reach + 1)).astype(np.int64)
    known = np.isfinite(height)
    lags, height, block = lags[known], height[known], block[known]
    if not (block == 0).any():
        return None
    edges = np.flatnonzero(np.diff(block, prepend=block[0] - 1))
    tops, sizes = np.maximum.reduceat(height, edges), np.diff(edges, append=len(block))
    others = tops[(block[edges] != 0) & (sizes > reach)]
    if len(others) < BLOCKS:
        return None
    own = np.where(block == 0, height, -np.inf)
    best = int(np.argmax(own))
    beta = max(float(others.std(ddof=1)), 1e-3) * np.sqrt(6) / np.pi
    middle = float(others.mean()) - 0.5772 * beta
    p = -np.expm1(-np.exp(-(own[best] - middle) / beta))
    return int(lags[best]), float(own[best]), float(p)


def _smooth(series: TimeSeries, start: float, fine: float, count: int) -> Floats:
    """Points → a curve at every ``fine`` seconds, by a Gaussian of one step: a shift below a step moves it smoothly."""
    from scipy.ndimage import gaussian_filter1d  # type: ignore[attr-defined]

    at = np.floor((series.time - start) / fine).astype(np.int64)
    inside = (at >= 0) & (at < count)
    number = np.bincount(at[inside], minlength=count).astype(float)
    total = np.bincount(at[inside], series.value[inside], minlength=count)
    weight, sums = (gaussian_filter1d(y, FINE, mode="constant", truncate=3) for y in (number, total))
    return np.where(weight > 0.3 / FINE, sums / np.maximum(weight, 1e-9), np.nan)


def _at(x: Floats, time: Floats, start: float, step: float) -> Floats:
    """Values of a grid at some times; NaN outside."""
    at = np.floor((time - start) / step).astype(np.int64)
    return np.where((at >= 0) & (at < len(x)), x[np.clip(at, 0, len(x) - 1)], np.nan)


def _refined(a: TimeSeries, smooth: Floats, start: float, step: float, lag: int) -> float:
    """The shift in seconds: top of a parabola through the correlations within two steps of the coarse lag."""
    shifts = lag * step + np.arange(-2 * FINE, 2 * FINE + 1) * step / FINE
    heights = np.full(len(shifts), -1.0)
    for i, shift in enumerate(shifts):
        at = (a.time + shift - start) * FINE / step - 0.5
        other = np.interp(at, np.arange(len(smooth)), smooth, np.nan, np.nan)
        both = np.isfinite(a.value) & np.isfinite(other)
        if both.sum() > 10:
            heights[i] = np.corrcoef(a.value[both], other[both])[0, 1]
    top = int(np.clip(np.argmax(heights), FINE, len(shifts) - 1 - FINE))
    near = slice(top - FINE, top + FINE + 1)
    square, slope, _ = np.polyfit(shifts[near] - shifts[top], heights[near], 2)
    move = -slope / (2 * square) if square < 0 else 0.0
    return float(shifts[top] + np.clip(move, -step, step))
