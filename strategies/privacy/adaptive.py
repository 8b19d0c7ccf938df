"""Adaptive clipping: C follows a quantile of the updates' norms, by a count that is noised itself.

Source: Andrew, Thakkar, McMahan and Ramaswamy 2021, "Differentially Private Learning with Adaptive Clipping",
arXiv:1905.03871, Algorithm 1.
"""

from __future__ import annotations

import math

from metapulse.errors import ConfigError


def next_clip(clip: float, within: float, cohort: float, quantile: float, rate: float) -> float:
    """C ← C exp(−η (b̃ − γ)) with b̃ = 1/2 + w/n: down where more than a share γ of the updates is within C.

    Args:
        clip: C > 0.
        within: w = Σ_i (b_i − 1/2) + N(0, σ_b²), b_i = 1 where ‖u_i‖ ≤ C; one person moves it by 1/2.
        cohort: n, people expected in a round.
        quantile: γ in [0, 1].
        rate: η > 0.

    Source:
        Andrew et al. 2021, arXiv:1905.03871, Algorithm 1 and Section 2.2.
    """
    return clip * math.exp(-rate * (0.5 + within / cohort - quantile))


def sum_noise(sigma: float, count_noise: float) -> float:
    """z = (σ⁻² − (2σ_b)⁻²)^(−1/2): noise multiplier of the sum, so that sum and count together cost what σ alone does.

    Args:
        sigma: σ of the round, > 0.
        count_noise: σ_b, > σ/2.

    Raises:
        ConfigError: the count alone would cost more than σ.

    Source:
        Andrew et al. 2021, arXiv:1905.03871, Theorem 1.
    """
    if 2.0 * count_noise <= sigma:
        raise ConfigError("privacy.count_noise", count_noise, f"must be > {sigma / 2:g}, half of σ = {sigma:g}")
    return 1.0 / math.sqrt(sigma**-2 - (2.0 * count_noise) ** -2)
