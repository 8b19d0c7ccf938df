"""The discrete Gaussian, sampled exactly: noise over whole numbers, for sums that are computed modulo some number.

No floating-point number decides anything, so the attacks on rounding that continuous noise is open to do not apply.

Source: Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy", arXiv:2004.00010.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from jaxtyping import Int64

#: An exact uniform draw from 0 … n − 1, for example ``secrets.randbelow``.
Below = Callable[[int], int]


def discrete_gaussian(variance: Fraction, count: int, below: Below) -> Int64[np.ndarray, " count"]:
    """Draws X with P(X = x) ∝ exp(−x² / 2σ²) over all whole numbers.

    Args:
        variance: σ² > 0, a fraction (the distribution's own variance is slightly below it).
        count: how many, ≥ 0.
        below: where all randomness comes from.

    Source:
        Canonne, Kamath and Steinke 2020, arXiv:2004.00010, Algorithm 3.
    """
    return np.array([_gaussian(variance, below) for _ in range(count)], dtype=np.int64)


def _gaussian(variance: Fraction, below: Below) -> int:
    """Rejection from a discrete Laplace of scale t = ⌊σ⌋ + 1 with probability exp(−(|y| − σ²/t)² / 2σ²)."""
    scale = _floor_root(variance) + 1
    while True:
        y = _laplace(scale, below)
        if _bernoulli_exp((abs(y) - variance / scale) ** 2 / (2 * variance), below):
            return y


def _floor_root(value: Fraction) -> int:
    """⌊√x⌋, exactly."""
    root = int(np.floor(float(value) ** 0.5))
    while root * root > value:
        root -= 1
    while (root + 1) ** 2 <= value:
        root += 1
    return root


def _laplace(scale: int, below: Below) -> int:
    """P(Y = y) ∝ exp(−|y| / t) (Algorithm 2, with s = 1)."""
    while True:
        rest = below(scale)
        if not _bernoulli_exp(Fraction(rest, scale), below):
            continue
        whole = 0
        while _bernoulli_exp(Fraction(1), below):
            whole += 1
        size, negative = rest + scale * whole, below(2) == 1
        if size or not negative:  # zero has one sign only
            return -size if negative else size


def _bernoulli_exp(gamma: Fraction, below: Below) -> bool:
    """True with probability exp(−γ), γ ≥ 0 (Algorithm 1)."""
    while gamma > 1:
        if not _bernoulli_exp(Fraction(1), below):
            return False
        gamma -= 1
    k = 1
    while below(k * gamma.denominator) < gamma.numerator:  # with probability γ/k
        k += 1
    return k % 2 == 1
