"""People who wear two glucose sensors at once: pairs of readings to learn and judge maps on.

A person's true glucose goes through two imperfect sensors. One is near the truth and reads every 5 minutes. The other
reads every 15, with a gain and an offset of the person's own, trails behind, smooths, and loses its calibration from
day to day; at night, pressure on it makes it read low for a while. The spreads are those that CGMacros' 45 people show
(reading of the second on the first, line by person: slope median 0.70, range 0.10 to 1.16; intercept −17 to 111 mg/dL;
correlation median 0.81, range 0.10 to 0.97). Nothing is fitted to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from scipy.signal import lfilter  # type: ignore[attr-defined]

from metapulse.rng import generator
from metapulse.settings import setting

if TYPE_CHECKING:
    import polars as pl

Curve = Float64[np.ndarray, " n"]
Shown = Float64[np.ndarray, " moments"]

STEP_MIN = 5
DAY = 1440 // STEP_MIN  # steps
FIRST = 19_358 * 1440  # minutes since 1970 of the first midnight: 1 January 2023


@dataclass(frozen=True)
class PairedSensors:
    """How far the two sensors are from the truth; spreads are standard deviations over people or over time."""

    days: int = setting(10, "of wear, at most the sensors' 14", ge=1, le=14)
    gain: float = setting(0.80, "median gain of the second sensor", gt=0.0, le=2.0)
    gain_spread: float = setting(0.18, "of the second sensor's gain over people", ge=0.0, le=1.0)
    level: float = setting(90.0, "median reading of the second sensor at 115 mg/dL", ge=40.0, le=200.0)
    level_spread: float = setting(9.0, "of that over people, mg/dL", ge=0.0, le=100.0)
    drift: float = setting(10.0, "of the second sensor's offset over days, mg/dL", ge=0.0, le=100.0)
    gain_drift: float = setting(0.20, "of the logarithm of its gain over days", ge=0.0, le=1.0)
    drift_hours: float = setting(72.0, "correlation time of what drifts over days", gt=0.0, le=1000.0)
    settling: float = setting(
        12.0, "of the offset that a new sensor loses within a day or two, mg/dL", ge=0.0, le=100.0
    )
    wander: float = setting(6.5, "of its error over hours, mg/dL", ge=0.0, le=100.0)
    noise: float = setting(3.0, "of a reading, mg/dL", ge=0.0, le=100.0)
    lows: float = setting(0.35, "compression lows a night", ge=0.0, le=5.0)

    def pairs(self, seed: int, truths: Sequence[Curve], forward: bool = True) -> pl.DataFrame:
        """The table ``person, time, old, new``: moments at which both sensors read.

        Args:
            seed: of the sensors.
            truths: each person's glucose every 5 minutes, mg/dL.
            forward: old is the first sensor and new the second; False: the other way round.
        """
        import polars as pl

        parts = []
        for person, truth in enumerate(truths):
            time, first, second = self.wear(seed, person, truth)
            old, new = (first, second) if forward else (second, first)
            moment = pl.from_epoch(pl.Series(time * 60), "s").dt.replace_time_zone("UTC").dt.cast_time_unit("us")
            parts.append(
                pl.DataFrame({"person": [f"p{person:03d}"] * len(old), "time": moment, "old": old, "new": new})
            )
        return pl.concat(parts)

    def wear(self, seed: int, person: int, truth: Curve) -> tuple[np.ndarray, Shown, Shown]:
        """Minutes since 1970, and the two sensors' readings, every 15 minutes.

        Args:
            seed: of the sensors.
            person: address of the draws.
            truth: glucose every 5 minutes, mg/dL.
        """
        rng = generator(seed, "paired sensors", client=person)
        truth = truth[: self.days * DAY]
        n, night = len(truth), (np.arange(len(truth)) % DAY) < 6 * 60 // STEP_MIN
        first = rng.normal(1.0, 0.06) * _trailing(truth, 3.0) + rng.normal(0.0, 6.0)
        first = first + _wandering(rng, n, 5.0, 36.0) + _wandering(rng, n, 4.0, 2.0) + rng.normal(0.0, 2.0, n)
        gain = float(np.clip(self.gain + self.gain_spread * rng.normal(), 0.10, 1.30))
        level = self.level + self.level_spread * rng.normal()
        gains = gain * np.exp(self.gain_drift * _wandering(rng, n, 1.0, self.drift_hours))
        late = np.roll(truth, lag := int(rng.integers(0, 4)))
        late[:lag] = truth[0]
        second = level + gains * (_trailing(late, rng.uniform(3.0, 15.0)) - 115.0)
        second = second + _wandering(rng, n, self.drift, self.drift_hours) + _wandering(rng, n, self.wander, 2.5)
        second = second + rng.normal(0.0, self.noise, n) - _lows(rng, night, self.lows)
        second = second + self.settling * rng.normal() * np.exp(-np.arange(n) / (1.25 * DAY))
        at = np.arange(0, n, 3)
        shown = [np.clip(np.round(one[at]), 40.0, 400.0) for one in (first, second)]
        return FIRST + at * STEP_MIN, shown[0], shown[1]


def _trailing(curve: Curve, minutes: float) -> Curve:
    """The curve behind a barrier of that time constant: dy/dt = (x − y) / τ."""
    kept = np.exp(-STEP_MIN / minutes)
    trailing: Curve = lfilter([1.0 - kept], [1.0, -kept], curve, zi=[kept * curve[0]])[0]
    return trailing


def _wandering(rng: np.random.Generator, n: int, spread: float, hours: float) -> Curve:
    """An Ornstein-Uhlenbeck process of that standard deviation and correlation time."""
    kept = float(np.exp(-STEP_MIN / 60.0 / hours))
    shocks = rng.normal(0.0, spread, n)
    shocks[1:] *= np.sqrt(1.0 - kept**2)
    wandering: Curve = lfilter([1.0], [1.0, -kept], shocks)
    return wandering


def _lows(rng: np.random.Generator, night: np.ndarray, rate: float) -> Curve:
    """What pressure takes away: 15 to 45 mg/dL for 20 to 90 minutes, at night."""
    taken = np.zeros(len(night))
    starts: list[int] = np.flatnonzero(night & (rng.random(len(night)) < rate / max(1, 6 * 60 // STEP_MIN))).tolist()
    for start in starts:
        length = int(rng.integers(4, 19))
        shape = np.sin(np.linspace(0.0, np.pi, length + 2)[1:-1]) * rng.uniform(15.0, 45.0)
        end = min(start + length, len(night))
        taken[start:end] = np.maximum(taken[start:end], shape[: end - start])
    return taken


def invented_truths(seed: int, people: int, days: int = 10) -> list[Curve]:
    """Glucose every 5 minutes of people who do not exist: a level, three meals a day, a slow tide.

    Args:
        seed: of the draws.
        people: how many.
        days: of each.
    """
    made = []
    for person in range(people):
        rng = generator(seed, "true glucose", client=person)
        severity = rng.beta(1.2, 2.0)
        curve = np.full(days * DAY, 92.0 + 55.0 * severity)
        for start in range(0, len(curve), DAY):
            for hour in (7.5, 12.5, 19.0):
                at = start + int((hour + rng.normal(0.0, 0.7)) * 60 / STEP_MIN)
                t = np.arange(max(0, len(curve) - at)) * STEP_MIN / (35.0 + 25.0 * severity)
                curve[at:] += rng.gamma(4.0, (8.0 + 14.0 * severity)) * t * np.exp(1.0 - t)
        curve += _wandering(rng, len(curve), 5.0 + 12.0 * severity, 3.0)
        made.append(np.clip(curve, 45.0, 400.0))
    return made
