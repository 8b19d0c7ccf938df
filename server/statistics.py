"""Statistics over clients: mean, spread, worst decile, and an interval over people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from metapulse.rng import generator

RESAMPLES = 2000
MOST_KEPT = 500  # people whose resamples are drawn once: 8 MB then


@dataclass(frozen=True)
class Spread:
    """A metric over clients.

    Args:
        clients: how many.
        mean: over clients.
        sd: between clients (n − 1 in the denominator; 0 for one client).
        worst_decile: mean of the worst tenth (at least one client).
        low: lower end of the 95 % bootstrap interval of the mean, people resampled.
    """

    clients: int
    mean: float
    sd: float
    worst_decile: float
    low: float
    high: float


def spread(values: Float64[np.ndarray, " n"], users: Int64[np.ndarray, " n"], higher_is_better: bool) -> Spread:
    """Summarise one metric over clients.

    The interval resamples people, not clients, because a person's devices are not independent.

    Args:
        values: one number per client, n ≥ 1.
        users: the person of each.
        higher_is_better: which end is the worst.
    """
    low, high = bootstrap(values, users)
    return Spread(len(values), float(values.mean()), sd(values), worst_decile(values, higher_is_better), low, high)


def sd(values: Float64[np.ndarray, " n"]) -> float:
    """Standard deviation between clients: n − 1 in the denominator, 0 for one client."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def worst_decile(values: Float64[np.ndarray, " n"], higher_is_better: bool) -> float:
    """Mean of the worst tenth of clients, at least one.

    Args:
        values: one number per client, n ≥ 1.
        higher_is_better: which end is the worst.
    """
    order = np.sort(values) if higher_is_better else np.sort(values)[::-1]
    return float(order[: max(1, len(values) // 10)].mean())


def bootstrap(
    values: Float64[np.ndarray, " n"], users: Int64[np.ndarray, " n"], level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean under resampling of people with replacement.

    Args:
        values: one number per client.
        users: the person of each; all of a person's clients are drawn together.
        level: coverage, in (0, 1).

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife"; cluster bootstrap as Field and Welsh 2007.
    """
    _, person = np.unique(users, return_inverse=True)
    people = int(person.max()) + 1
    if people < 2 or not np.isfinite(values).all():
        return float(values.mean()), float(values.mean())
    totals, counts = np.bincount(person, values), np.bincount(person)
    drawn = (_kept_draws if people <= MOST_KEPT else _times_drawn)(people)
    means = drawn @ totals / (drawn @ counts)
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)


def _times_drawn(people: int) -> Float64[np.ndarray, "resamples people"]:
    """How often each person is in each resample."""
    draws = generator(0, "bootstrap").integers(people, size=(RESAMPLES, people))
    flat = draws + people * np.arange(RESAMPLES)[:, None]
    return np.bincount(flat.ravel(), minlength=RESAMPLES * people).reshape(RESAMPLES, people).astype(np.float64)


_kept_draws = lru_cache(maxsize=4)(_times_drawn)
