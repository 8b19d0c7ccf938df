"""How a map errs from one moment to the next, so that a mapped history can be drawn as well as averaged.

A mapped value is an expectation: it is smoother than anything that the new device would have shown. A model that
learns from it as if it were measured trusts the trend far too much. What is missing is the map's own error, which is
correlated over time; with it put back (multiple imputation, Rubin 1987) a history has the new device's dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from metapulse.errors import DataError

Minutes = Float64[np.ndarray, " n"]
Errors = Float64[np.ndarray, " n"]

#: Correlation times that are tried, minutes: from a sensor's reading to its calibration.
SCALES_MIN = (7.5, 15.0, 30.0, 60.0, 120.0, 360.0, 1440.0)
LAGS = 96  # steps of the series' own that covariances are taken at: 8 hours of a 5-minute sensor
MINUTE_US = 60_000_000


@dataclass(frozen=True)
class ErrorProcess:
    """A Gaussian process of mean zero: γ(τ) = σ₀² [τ = 0] + Σ_k σ_k² exp(−τ/T_k), with the T_k of ``SCALES_MIN``.

    Args:
        white: σ₀², the metric's unit squared.
        variance: σ_k², in the same unit.
        minutes: of series that it was taken from.
    """

    white: float
    variance: Float64[np.ndarray, " scales"]
    minutes: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there are errors at all."""
        return bool(self.white or self.variance.any())

    def autocovariance(self, lag_min: Minutes) -> Errors:
        """γ at those lags."""
        lag = np.abs(lag_min)
        covariance: Errors = _basis(lag) @ np.append(self.variance, self.white)
        return covariance

    def joined(self, other: ErrorProcess, minutes: float) -> ErrorProcess:
        """Its own and another's, which counts as that many minutes: shrinkage towards a population's."""
        own = self.minutes / (self.minutes + minutes) if self.minutes + minutes else 0.0
        variance = own * self.variance + (1.0 - own) * other.variance
        return ErrorProcess(own * self.white + (1.0 - own) * other.white, variance, self.minutes)

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return {"white": self.white, "variance": self.variance.tolist(), "minutes": self.minutes}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> ErrorProcess:
        """The process of these values; a KeyError, TypeError or ValueError if it is none."""
        variance = np.asarray(facts["variance"], np.float64)
        made = cls(float(facts["white"]), variance, float(facts["minutes"]))
        if variance.shape != (len(SCALES_MIN),) or not np.isfinite(variance).all() or min(*variance, made.white) < 0:
            raise ValueError(f"errors of a map: {len(SCALES_MIN)} variances of 0 or more are expected")
        return made

    def draw(self, time_us: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Errors:
        """Errors at those moments.

        They are drawn on a grid of the series' most usual step, and a silence counts as two days at most: after two
        correlation times of the slowest part little is left of it.

        Args:
            time_us: µs since 1970, in any order.
            rng: what is drawn from.
        """
        from scipy.signal import lfilter  # type: ignore[attr-defined]

        moments, back = np.unique(time_us, return_inverse=True)
        place, step = _places(moments / MINUTE_US)
        n = int(place[-1]) + 1 if len(place) else 0
        drawn = np.sqrt(self.white) * rng.standard_normal(n)
        for scale, variance in zip(SCALES_MIN, self.variance, strict=True):
            kept = np.exp(-step / scale)
            shocks = np.sqrt(variance) * rng.standard_normal(n)
            shocks[1:] *= np.sqrt(1.0 - kept**2)
            drawn += lfilter([1.0], [1.0, -kept], shocks)
        errors: Errors = drawn[place][back]
        return errors


#: Of a map that never erred, or of which that is not known.
NO_ERRORS = ErrorProcess(0.0, np.zeros(len(SCALES_MIN)))


def fit_errors(series: Sequence[tuple[Minutes, Errors]]) -> ErrorProcess:
    """The process whose covariances come nearest those of the errors, by non-negative least squares.

    At every lag up to ``LAGS`` steps the mean of e(t) e(t + τ) over all pairs of moments that far apart; a lag weighs
    as the root of its number of pairs. Parts that are no part of the data come out as 0. Means are not taken out:
    an error that stays is the slowest part.

    Args:
        series: of each person (or stretch of one person's), moments in minutes, increasing, and the map's errors
            there, the metric's unit.

    Raises:
        DataError: an error is not finite.
    """
    from scipy.optimize import nnls  # type: ignore[attr-defined]

    total, pairs, minutes = np.zeros(LAGS + 1), np.zeros(LAGS + 1), 0.0
    steps = [float(np.median(np.diff(moments))) for moments, _ in series if len(moments) > 1]
    if not steps:
        return NO_ERRORS
    step = float(np.median(steps))
    for moments, errors in series:
        if not np.isfinite(errors).all():
            raise DataError("errors of a map: must be finite")
        if not len(moments):
            continue
        place, _ = _places(moments, step)
        grid, there = np.zeros(int(place[-1]) + 1), np.zeros(int(place[-1]) + 1)
        grid[place], there[place] = errors, 1.0
        minutes += len(moments) * step
        for lag in range(min(LAGS, len(grid) - 1) + 1):
            total[lag] += float(grid[: len(grid) - lag] @ grid[lag:])
            pairs[lag] += float(there[: len(grid) - lag] @ there[lag:])
    seen = pairs > 0
    weight = np.sqrt(pairs[seen])
    basis = _basis(step * np.arange(LAGS + 1)[seen])
    found, _ = nnls(basis * weight[:, None], total[seen] / pairs[seen] * weight)
    return ErrorProcess(float(found[-1]), found[:-1], minutes)


def _basis(lag_min: Minutes) -> Float64[np.ndarray, "n parts"]:
    fading = [np.exp(-lag_min / scale) for scale in SCALES_MIN]
    return np.stack([*fading, (lag_min == 0).astype(np.float64)], axis=1)


def _places(moments: Minutes, step: float = 0.0) -> tuple[Int64[np.ndarray, " n"], float]:
    """Places on a grid of the most usual step, and that step in minutes; a silence is two days at most."""
    gaps = np.diff(moments)
    step = step or (float(np.median(gaps)) if len(gaps) else 1.0)
    most = max(1, int(np.ceil(2.0 * SCALES_MIN[-1] / step)))
    apart = np.clip(np.rint(gaps / step), 1, most).astype(np.int64)
    return np.concatenate([np.zeros(min(1, len(moments)), np.int64), np.cumsum(apart)]), step
