"""Intervals by resampling people and seeds, wide enough for the few there are.

A person is drawn with all their devices, a seed with all people: rows and columns are resampled independently, as they
are crossed. The percentiles of such draws know nothing of how few five seeds are (in docs/statistics.md they cover the
truth in as few as 84 % of cases instead of 95). They are therefore moved away from the estimate by one factor, that
which gives the interval of the mean the width of its t interval.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from metapulse.rng import generator
from metapulse.sim.lab.comparison import Interval
from metapulse.sim.lab.statistics.crossed import Values, half_width

DRAWS = 2000
LEVEL = 0.95
AT_ONCE = 32  # draws whose values are in memory together
Weights = Float64[np.ndarray, "draws drawn"]


@lru_cache(maxsize=64)
def resamples(count: int, what: str) -> Weights:
    """How often each of ``count`` is drawn, in shares of one; the same at every call.

    Args:
        count: of what is drawn, ≥ 1.
        what: "people" or "seeds"; two kinds are drawn independently.
    """
    times = generator(0, f"resample {what}").multinomial(count, np.full(count, 1.0 / count), size=DRAWS)
    return times / count


def grand_mean(values: Values, low: float = -np.inf, high: float = np.inf, pilot: int = 0) -> Interval:
    """Mean over seeds and people.

    Args:
        values: one number per seed and person.
        low: the least that a mean can be; the interval ends there.
        high: the most.
        pilot: first seeds that decided how many there are (``metapulse.sim.lab.statistics.crossed.errors``).

    Source: Owen 2007, "The pigeonhole bootstrap", for crossed rows and columns; Hesterberg 2015, arXiv:1411.5279,
        for widening percentile intervals of small samples to the t interval's width.
    """
    return _interval(values, float(values.mean()), means(values), low, high, pilot)


def interquartile_mean(values: Values, low: float = -np.inf, high: float = np.inf, pilot: int = 0) -> Interval:
    """Mean of the middle half of all (seed, person): runs and tasks of the paper.

    Args:
        values: one number per seed and person.
        low, high, pilot: as for ``grand_mean``.

    Source: Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, arXiv:2108.13264, Section 4.3.
    """
    seeds, people = values.shape
    order = np.argsort(values, axis=None, kind="stable")
    rising = values.ravel()[order]
    value = float(_middle_half(np.full((1, len(order)), 1.0 / len(order)), rising)[0])
    rows, columns = resamples(seeds, "seeds"), resamples(people, "people")
    parts = [slice(at, at + AT_ONCE) for at in range(0, DRAWS, AT_ONCE)]
    draws = [_middle_half(rows[part][:, order // people] * columns[part][:, order % people], rising) for part in parts]
    return _interval(values, value, np.concatenate(draws), low, high, pilot)


def improvement(differences: Values, pilot: int = 0) -> Interval:
    """Probability that a difference is positive, for a person and a seed; a tie counts half.

    Agarwal et al. compare all pairs of runs; here those of one seed, which share their first θ, cohorts and episodes.
    Where all are positive no resample says how far from 1 the truth p may be: n independent ones all are with
    probability pⁿ, and the interval ends where that is 2.5 %, n being the smaller number of seeds and people.

    Args:
        differences: method − reference, one per seed and person, positive where the method is better.
        pilot: as for ``grand_mean``.

    Source: Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, arXiv:2108.13264, Section 4.3; Clopper and Pearson
        1934, "The use of confidence or fiducial limits illustrated in the case of the binomial".
    """
    found = grand_mean((1.0 + np.sign(differences)) / 2.0, 0.0, 1.0, pilot)
    end = ((1.0 - LEVEL) / 2.0) ** (1.0 / min(differences.shape))
    if found.value in {0.0, 1.0}:
        return Interval(found.value, min(found.value, end), max(found.value, 1.0 - end))
    return found


def means(values: Values) -> Float64[np.ndarray, " draws"]:
    """Means of resampled seeds and people, as they are drawn."""
    seeds, people = (resamples(n, what) for n, what in zip(values.shape, ("seeds", "people"), strict=True))
    drawn: Float64[np.ndarray, " draws"] = ((seeds @ values) * people).sum(1)
    return drawn


def _middle_half(
    shares: Float64[np.ndarray, "draws n"], rising: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " draws"]:
    """Mean of what lies between the quartiles; a value on a quartile counts with the part of it that is inside.

    2 Σ_i (c_i − c_(i−1)) v_i, c the sums of shares cut at the quartiles, summed by parts. ``shares`` is written over.
    """
    sums = np.cumsum(shares, axis=1, out=shares)
    sums[:, -1] = 1.0
    np.clip(sums, 0.25, 0.75, out=sums)
    drawn: Float64[np.ndarray, " draws"] = 2.0 * (sums @ -np.diff(rising, append=0.0) - 0.25 * rising[0])
    return drawn


def _interval(
    values: Values, value: float, draws: Float64[np.ndarray, " draws"], low: float, high: float, pilot: int
) -> Interval:
    tail = (1.0 - LEVEL) / 2.0
    sd = float(means(values).std())
    factor = half_width(values, LEVEL, pilot) / (NormalDist().inv_cdf(1.0 - tail) * sd) if sd else 0.0
    ends = value + factor * (np.quantile(draws, [tail, 1.0 - tail]) - value)
    return Interval(value, *np.clip(ends, low, high).tolist())
