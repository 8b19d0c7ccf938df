"""An empirical lower bound on ε from one run with many canaries, each in it or not by a fair coin.

Source: Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv:2305.08846.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import binom  # type: ignore[attr-defined]

CONFIDENCE = 0.95
SHARES = (1.0, 0.5, 0.25, 0.125)  # of the canaries that are guessed about; fixed before scores are seen
LARGEST = 64.0  # ε beyond which the search ends


@dataclass(frozen=True)
class EpsilonBound:
    """The lower bound on ε from a number of guesses.

    Args:
        guesses: r, about canaries with the highest and the lowest scores; the others are abstained from.
        correct: v of them.
        epsilon: ε is at least this, with the confidence of the audit.
        ceiling: what ``epsilon`` would be had all guesses been correct: no more can be shown with so few.
    """

    guesses: int
    correct: int
    epsilon: float
    ceiling: float


def guessing_p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Probability, at most, of so many correct guesses under (ε, δ): β + 2 m δ α.

    β = P[B ≥ v], α = max_i P[v − i ≤ B < v] / i, B ~ Binomial(r, e^ε / (1 + e^ε)).

    Args:
        canaries: m ≥ r.
        guesses: r ≥ 1.
        correct: v, 0 ≤ v ≤ r.
        epsilon: ε ≥ 0.
        delta: δ in [0, 1).

    Source:
        Steinke et al. 2023, arXiv:2305.08846, Theorem 5.2.
    """
    right = 1.0 / (1.0 + math.exp(-epsilon))
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right)) / np.arange(1, correct + 1)
    alpha = float(below.max()) if correct else 0.0
    return min(1.0, float(binom.sf(correct - 1, guesses, right)) + 2.0 * canaries * delta * alpha)


@lru_cache(maxsize=1024)  # ceilings are asked for again and again
def lower_bound(canaries: int, guesses: int, correct: int, delta: float, level: float) -> float:
    """The largest ε (to 1e-6) that so many correct guesses refute; 0 where they refute none.

    With δ = 0 and all guesses correct it is −ln(level^(−1/r) − 1).

    Args:
        canaries, guesses, correct, delta: as for ``guessing_p_value``.
        level: probability of refuting an ε that is true, in (0, 1).
    """
    low, high = 0.0, LARGEST
    if guessing_p_value(canaries, guesses, correct, low, delta) > level:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        if guessing_p_value(canaries, guesses, correct, middle, delta) > level:
            high = middle
        else:
            low = middle
    return low


def guess_bounds(
    scores: Float64[np.ndarray, " canaries"], present: Bool[np.ndarray, " canaries"], delta: float
) -> list[EpsilonBound]:
    """Guess "in" for the highest scores and "out" for the lowest, as many as each of ``SHARES`` says.

    All bounds hold together with 95 % confidence (Bonferroni), so the largest of them does.

    Args:
        scores: how much each canary seems to be in.
        present: the coins.
        delta: δ ≥ 0.
    """
    order, m = np.argsort(scores, kind="stable"), len(scores)
    halves = sorted({max(1, int(share * m / 2)) for share in SHARES}, reverse=True)
    return [_bound(present[order], half, delta, (1.0 - CONFIDENCE) / len(halves)) for half in halves]


def _bound(ordered: Bool[np.ndarray, " canaries"], half: int, delta: float, level: float) -> EpsilonBound:
    m, guesses = len(ordered), 2 * half
    correct = int(ordered[-half:].sum() + (~ordered[:half]).sum())
    reached, ceiling = (lower_bound(m, guesses, right, delta, level) for right in (correct, guesses))
    return EpsilonBound(guesses, correct, reached, ceiling)


def best_bound(bounds: Sequence[EpsilonBound]) -> EpsilonBound:
    """The largest of several bounds."""
    return max(bounds, key=lambda bound: bound.epsilon)
