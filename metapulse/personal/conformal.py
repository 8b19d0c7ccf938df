"""Conformal intervals of one person, adaptive over time: split conformal scores and a level that learns from misses.

A score is how far a forecast was off, in units of its own spread: |y − ŷ| / ŝ. The interval is ŷ ± rŝ, where r is a
quantile of scores: of the population's while the person has none, later of both, and mostly the person's own in the
end. Which quantile follows the misses (Gibbs and Candès 2021, arXiv:2106.00170), so that coverage holds under shift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from metapulse.errors import ConfigError, DataError

Scores = Float64[np.ndarray, " n"]
ROUNDING = 1e-9  # relative: (n + 1)(1 − α) that is a whole number may come out a little above it


@dataclass(frozen=True)
class Conformal:
    """What a person's intervals rest on. Its size is bounded for ever.

    Args:
        miss: α, the share of targets that may lie outside, in (0, 1).
        step: γ ≥ 0, how far one miss or hit moves the level; 0 is split conformal. A larger step follows a shift sooner
            and makes widths less steady: over T forecasts coverage is off by at most about 1 / (Tγ).
        weight: n₀ ≥ 0, how many scores of the person's own those of the population count for.
        memory: how many of the person's last scores are kept, ≥ 1.
        population: scores of the population, or quantiles of them at evenly spaced probabilities; may be empty.
        own: the person's last scores, oldest first.
        level: α_t, the miss rate that is now asked of the scores; it wanders beside α, and may leave [0, 1] by a step.
        judged: how many forecasts have been judged.
        missed: how many of them were outside their interval.
    """

    miss: float
    step: float
    weight: float
    memory: int
    population: Float64[np.ndarray, " others"]
    own: Float64[np.ndarray, " kept"]
    level: float
    judged: int = 0
    missed: int = 0

    @property
    def coverage(self) -> float:
        """The share of judged targets that were inside; NaN before the first."""
        return 1.0 - self.missed / self.judged if self.judged else math.nan


def conformal(
    population: Scores, miss: float = 0.1, step: float = 0.005, weight: float = 100.0, memory: int = 2000
) -> Conformal:
    """Intervals of a person of whom nothing is known yet.

    γ = 0.005 is the choice of Gibbs and Candès 2021, section 2.2. Two thousand scores are a week of five-minute
    readings.

    Args:
        population: scores of others, or quantiles of them at evenly spaced probabilities; empty: there are none.
        miss: α.
        step: γ.
        weight: n₀; of no effect without a population.
        memory: of the person's own scores.

    Raises:
        ConfigError: a number is out of range.
        DataError: a score is negative or no number.
    """
    for key, value, fits, allowed in (
        ("miss", miss, 0.0 < miss < 1.0, "must be above 0 and below 1"),
        ("step", step, 0.0 <= step < math.inf, "must be a number from 0"),
        ("weight", weight, 0.0 <= weight < math.inf, "must be a number from 0"),
        ("memory", memory, memory >= 1, "must be at least 1"),
    ):
        if not fits:
            raise ConfigError(f"conformal.{key}", value, allowed)
    if not (population >= 0.0).all() or np.isinf(population).any():
        raise DataError("scores of a population: each must be a number from 0")
    return Conformal(miss, step, weight, memory, np.sort(population), np.empty(0), miss)


def conformal_quantile(scores: Scores, weights: Scores, miss: float) -> float:
    """The smallest score q with Σ_{s_i ≤ q} w_i ≥ (1 − α)(1 + Σ w_i): what a new score exceeds with probability ≤ α.

    With weights of 1 it is the ⌈(n + 1)(1 − α)⌉-th smallest of n scores, and exact where the new score is exchangeable
    with them (Vovk, Gammerman and Shafer 2005; Papadopoulos et al. 2002); with weights it is that of Tibshirani,
    Barber, Candès and Ramdas 2019, arXiv:1904.06019, equation 7, the new score having weight 1.

    Args:
        scores: in any order.
        weights: of each, ≥ 0.
        miss: α; at most 0 asks for everything, at least 1 for nothing.

    Returns:
        q; ∞ where the scores are too few for α, and −∞, an empty interval, for α ≥ 1.
    """
    if miss <= 0.0:
        return math.inf
    if miss >= 1.0:
        return -math.inf
    order = np.argsort(scores)
    below = np.cumsum(weights[order])
    total = 1.0 + (below[-1] if len(below) else 0.0)
    place = int(np.searchsorted(below, (1.0 - miss) * total - ROUNDING * total))
    return float(scores[order[place]]) if place < len(scores) else math.inf


def radius(state: Conformal) -> float:
    """r: the interval of the next forecast is ŷ ± rŝ; ∞ or −∞ where the level says everything or nothing."""
    others = len(state.population)
    share = np.full(others, state.weight / others) if others else np.empty(0)
    scores = np.concatenate([state.population, state.own])
    return conformal_quantile(scores, np.concatenate([share, np.ones(len(state.own))]), state.level)


def judge(state: Conformal, score: float, promised: float) -> Conformal:
    """After a target has come: α' = α_t + γ(α − 1[score > r]), and the score is one of the person's own.

    For any sequence of scores, judged in any order, the share of misses is within
    (max(α₁, 1 − α₁) + (D + 1)γ) / (Tγ) of α after T forecasts, D being the most forecasts that waited for their target
    at one time (Gibbs and Candès 2021, proposition 4.1, is D = 0).

    Args:
        state: before.
        score: of the forecast whose target has come, ≥ 0.
        promised: r of that forecast, when it was made.

    Raises:
        DataError: the score is negative or no number.
    """
    if not 0.0 <= score < math.inf:
        raise DataError(f"score = {score}: must be a number from 0")
    missed = score > promised
    level = state.level + state.step * (state.miss - missed)
    own = np.append(state.own[-state.memory + 1 :] if state.memory > 1 else state.own[:0], score)
    return replace(state, own=own, level=level, judged=state.judged + 1, missed=state.missed + missed)


def pack(state: Conformal) -> dict[str, np.ndarray]:
    """The state as float64 arrays, for safetensors; ``unpack`` gives the same state to the bit."""
    numbers = (state.miss, state.step, state.weight, state.memory, state.level, state.judged, state.missed)
    return {"numbers": np.array(numbers, np.float64), "population": state.population, "own": state.own}


def unpack(arrays: Mapping[str, np.ndarray]) -> Conformal:
    """The state that ``pack`` was given."""
    miss, step, weight, memory, level, judged, missed = (float(number) for number in arrays["numbers"])
    own, population = arrays["own"], arrays["population"]
    return Conformal(miss, step, weight, int(memory), population, own, level, int(judged), int(missed))
