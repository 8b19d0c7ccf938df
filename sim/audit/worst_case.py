"""A lower bound on ε from what a round's noised sum looks like in two populations that one person sets apart.

Without noise the sum has a place on a line, in units of C, drawn anew every round; the observer sees it with Gaussian
noise and adds up log-likelihood ratios over rounds. Bins of the line instead of the line, and ratios rounded towards
zero knowledge, only take from what he knows: what is found is a lower bound, whatever they cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr

from metapulse.strategies.privacy import accounting

FINE, BINS = 50, 40_000  # bins in a standard deviation of the noise, and altogether at most
REACH = 9.0  # standard deviations beyond the outermost place: outside are 1e-19
LARGEST = 1e3  # ε beyond which the search ends
PRECISION, WIDTH = 0.004, 2**20  # what all roundings together may take from ε, while a composition has so many steps

Mass = Float64[np.ndarray, " bins"]


@dataclass(frozen=True)
class SumDistribution:
    """Distribution of a round's sum before noise.

    Args:
        places: in units of C.
        weights: their probabilities.
    """

    places: Float64[np.ndarray, " places"]
    weights: Float64[np.ndarray, " places"]

    def merged(self) -> SumDistribution:
        """The same law, every place once."""
        places, where = np.unique(self.places, return_inverse=True)
        return SumDistribution(places, np.bincount(where, weights=self.weights))

    def masses(self, edges: Float64[np.ndarray, " edges"], sigma: float) -> Mass:
        """Probability of every bin between two edges, with N(0, σ²) added; exact far out on either side."""
        total = np.zeros(len(edges) - 1)
        for place, weight in zip(self.places, self.weights, strict=True):
            z = (edges - place) / sigma
            below, above = np.diff(ndtr(z)), -np.diff(ndtr(-z))
            total += weight * np.where(z[1:] <= 0.0, below, above)
        return total


def epsilon_at_least(one: SumDistribution, other: SumDistribution, sigma: float, rounds: int, delta: float) -> float:
    """The largest ε, by as much as roundings take smaller, for which so many rounds are not (ε, δ)-private.

    Args:
        one, other: a round of either population, independent of all other rounds.
        sigma: noise over C, > 0.
        rounds: T ≥ 0.
        delta: δ in (0, 1).

    Source:
        Koskela, Jälkö and Honkela 2020, arXiv:1906.03049 (composition); Zhu, Dong and Wang 2022, arXiv:2106.08567
        (the pair of populations decides).
    """
    if rounds == 0:
        return 0.0
    one, other = one.merged(), other.merged()
    low, high = (f([f(one.places), f(other.places)]) for f in (np.min, np.max))
    low, high = low - REACH * sigma, high + REACH * sigma
    bins = min(BINS, math.ceil((high - low) / sigma * FINE))
    edges = np.concatenate([[-np.inf], np.linspace(low, high, bins), [np.inf]])
    p, q = one.masses(edges, sigma), other.masses(edges, sigma)
    return max(_one_way(p, q, rounds, delta), _one_way(q, p, rounds, delta))


def _one_way(p: Mass, q: Mass, rounds: int, delta: float) -> float:
    """ε with sup_S P^T(S) − e^ε Q^T(S) = δ, from below."""
    package = accounting.package()
    seen = p > 0.0
    sure = float(p[seen & (q == 0.0)].sum())  # what only one population can show
    seen &= q > 0.0
    weight, loss = p[seen], np.log(p[seen] / q[seen])
    spread = 2.0 * (10.0 * math.sqrt(rounds * float(weight @ loss**2)) + float(np.ptp(loss)))
    grid = max(PRECISION / rounds, spread / WIDTH)
    steps = np.floor(loss / grid).astype(np.int64)
    first = int(steps.min())
    dense = package.pld.pld_pmf.DensePLDPmf(grid, first, np.bincount(steps - first, weights=weight), sure, False)
    with np.errstate(over="ignore"):
        return float(np.clip(dense.self_compose(rounds).get_epsilon_for_delta(delta), 0.0, LARGEST))
