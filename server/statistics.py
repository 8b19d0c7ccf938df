"""Statistics over clients: mean, spread, worst decile, and an interval over people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from metapulse.rng import generator

RESAMPLES = 2000
BLOCK = 64  # metrics whose resampled means are held at once: 1 MB
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


def spreads(
    values: Float64[np.ndarray, "metrics n"], users: Int64[np.ndarray, " n"], higher_is_better: Sequence[bool]
) -> list[Spread]:
    """Summarise metrics of the same clients.

    The interval resamples people, not clients, because a person's devices are not independent.

    Args:
        values: a row per metric, one number per client, n ≥ 1.
        users: the person of each client.
        higher_is_better: of each metric, which end is the worst.
    """
    n = values.shape[1]
    deviations = values.std(1, ddof=1) if n > 1 else np.zeros(len(values))
    ends = bootstraps(values, users)
    rows = zip(values, higher_is_better, values.mean(1).tolist(), deviations.tolist(), ends, strict=True)
    return [Spread(n, mean, sd, worst_decile(own, better), low, high) for own, better, mean, sd, (low, high) in rows]


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
    return bootstraps(values[None], users, level)[0]


def bootstraps(
    values: Float64[np.ndarray, "metrics n"], users: Int64[np.ndarray, " n"], level: float = 0.95
) -> list[tuple[float, float]]:
    """The same for metrics of the same clients, a row each; no interval depends on the other rows."""
    _, person = np.unique(users, return_inverse=True)
    people, means = int(person.max()) + 1, values.mean(1).tolist()
    ends = [(mean, mean) for mean in means]
    wide = np.flatnonzero(np.isfinite(values).all(1)) if people > 1 else np.empty(0, dtype=np.int64)
    if not len(wide):
        return ends
    drawn = (_kept_draws if people <= MOST_KEPT else _times_drawn)(people)
    counts, tail = drawn @ np.bincount(person), 50.0 * (1.0 - level)
    for block in np.split(wide, range(BLOCK, len(wide), BLOCK)):
        resampled = np.stack([drawn @ np.bincount(person, values[row]) for row in block]) / counts
        low, high = np.percentile(resampled, [tail, 100.0 - tail], axis=1)
        for row, *interval in zip(block.tolist(), low.tolist(), high.tolist(), strict=True):
            ends[row] = interval[0], interval[1]
    return ends


def _times_drawn(people: int) -> Float64[np.ndarray, "resamples people"]:
    """How often each person is in each resample."""
    draws = generator(0, "bootstrap").integers(people, size=(RESAMPLES, people))
    flat = draws + people * np.arange(RESAMPLES)[:, None]
    return np.bincount(flat.ravel(), minlength=RESAMPLES * people).reshape(RESAMPLES, people).astype(np.float64)


_kept_draws = lru_cache(maxsize=4)(_times_drawn)
