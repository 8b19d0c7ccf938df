"""What a synthetic person is and plans: the body, a night in cycles, walks and workouts, meals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metapulse.record.clock import MINUTE

PHASES = ("", "awake", "light", "deep", "rem")  # "": up


@dataclass(frozen=True)
class Body:
    """What does not change. Heart rates per minute, metres, kilograms, µs since midnight."""

    age: int
    height_m: float
    weight_kg: float
    resting: float
    rmssd_ms: float
    bedtime: int
    rising: int
    cadence: float
    glucose: float

    @property
    def highest(self) -> float:
        """Highest heart rate: 208 − 0.7 · age (Tanaka 2001)."""
        return 208 - 0.7 * self.age


@dataclass(frozen=True)
class Night:
    """Asleep from ``start`` to ``end`` (µs, UTC); stages as (code, start, end), one after another."""

    start: int
    end: int
    stages: tuple[tuple[str, int, int], ...]

    def minutes(self, *codes: str) -> float:
        """Minutes in these stages."""
        return sum(end - start for code, start, end in self.stages if code in codes) / MINUTE


@dataclass(frozen=True)
class Bout:
    """A walk, a commute or a workout. METs: energy in units of that at rest."""

    code: str
    start: int
    end: int
    mets: float
    cadence: float
    workout: bool = False


@dataclass(frozen=True)
class Meal:
    """What was eaten, in grams of carbohydrates."""

    at: int
    grams: float


def sleep_cycles(rng: np.random.Generator, start: int, end: int) -> tuple[tuple[str, int, int], ...]:
    """Cycles of about 90 minutes: deep sleep grows shorter with each, REM sleep longer; short times awake between."""
    plan: list[tuple[str, float]] = [("awake", 4 + rng.gamma(2, 4))]
    for cycle in range(12):
        deep, rem = max(32 - 9 * cycle, 0), 8 + 8 * min(cycle, 3)
        lengths = np.array([22, deep, 18, rem, 2]) * rng.lognormal(0, 0.2, 5)
        plan += list(zip(("light", "deep", "light", "rem", "awake"), lengths, strict=True))
    found: list[tuple[str, int, int]] = []
    at = start
    for code, length in plan:
        until = min(at + round(float(length)) * MINUTE, end)
        if until > at:
            found.append((code, at, until))
        at = until
    return tuple(found)
