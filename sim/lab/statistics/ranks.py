"""Ranks of methods over data sets: Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.stats import friedmanchisquare, rankdata, studentized_range  # type: ignore[attr-defined]

ALPHA = 0.05
Scores = Float64[np.ndarray, "blocks methods"]


def mean_ranks(scores: Scores) -> Float64[np.ndarray, " methods"]:
    """Mean over blocks of a method's rank within the block: 1 for the most, ties share their ranks.

    Args:
        scores: more is better.
    """
    ranks: Float64[np.ndarray, " methods"] = rankdata(-scores, axis=1).mean(0)
    return ranks


def friedman(scores: Scores) -> float:
    """p of Friedman's test that all methods rank alike, by χ² with k − 1 degrees of freedom, corrected for ties.

    Conservative with few blocks, where Iman and Davenport's F is not (three methods on three blocks: 16 % for 5).

    Args:
        scores: N ≥ 2 blocks that are independent of each other, k ≥ 3 methods.

    Source: Friedman 1937; Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", Section 3.2.2.
    """
    if np.ptp(scores, axis=1).max() == 0.0:
        return 1.0  # all tied everywhere: there is nothing to rank
    return float(friedmanchisquare(*scores.T).pvalue)


def critical_difference(methods: int, blocks: int) -> float:
    """Nemenyi's critical difference of two mean ranks at 5 %: q √(k (k + 1) / 6N), q of the studentised range / √2.

    Args:
        methods: k ≥ 2.
        blocks: N ≥ 1.

    Source: Demšar 2006, Section 3.2.2, equation and table 5.
    """
    q = float(studentized_range.ppf(1.0 - ALPHA, methods, np.inf)) / 2.0**0.5
    cd: float = q * np.sqrt(methods * (methods + 1) / (6.0 * blocks))
    return cd


def cliques(ranks: Float64[np.ndarray, " methods"], cd: float) -> list[tuple[int, int]]:
    """Maximal runs of methods, two at least, whose mean ranks lie less than ``cd`` apart.

    Args:
        ranks: rising.
        cd: critical difference.

    Returns:
        First and last position of each run.
    """
    ends = [int(np.searchsorted(ranks, rank + cd)) - 1 for rank in ranks]
    return [(i, end) for i, end in enumerate(ends) if end > i and (i == 0 or end > ends[i - 1])]
