"""LEAF's synthetic data: classifiers in clusters, meant to be hard for meta-learners such as Reptile.

    Q ~ N(0, 1)^61×5×k       μ_c ~ N(N(0, 1), 1)^k, c = 1 … k     n_i = min(⌊lognormal(3, 2)⌋ + 5, 1000)
    B ~ N(0, 1)              v ~ N(B, 1)^60                       x ~ N(v, diag(j^−1.2))
    c uniform                s ~ N(μ_c, .1)                       z = [1, x] (Q s) + N(0, .1)
    y_j = argmax_l exp(z_jl) / Σ_j′ exp(z_j′l)

The sum runs over the client's samples, as in the published code, where the paper has a softmax over classes: so
every label is rescaled by how often a client would use it. One stream draws everything, client after client; seed
931231 gives the published samples. The last two fifths of a client's samples are ``held_out``.

Source: Caldas et al. 2018, arXiv 1812.01097, and its generator ("designed to make current meta-learning methods
struggle").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from metapulse.data import Samples, Task
from metapulse.settings import setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation

DIMENSION, CLASSES, MOST, TRAINING = 60, 5, 1000, 0.6
_COVARIANCE = np.diag(np.arange(1, DIMENSION + 1) ** -1.2)
_TASK = Task("classification", (DIMENSION,), CLASSES)


@dataclass(frozen=True)
class Leaf(OneDevicePopulation):
    """LEAF's synthetic clients; each sample is its own group.

    Source: Caldas et al. 2018, arXiv 1812.01097.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "leaf",
        "LEAF's synthetic data: classifiers in clusters, meant to be hard for meta-learners",
        "Caldas et al. 2018, arXiv 1812.01097",
    )

    clients: int = setting(1000, "number of clients", ge=1, le=100_000)
    clusters: int = setting(1, "clusters k of classifiers; 1 was published", ge=1, le=1000)
    seed: int = setting(931231, "seed of the population; 931231 was published", ge=0, lt=2**32)

    @property
    def task(self) -> Task:
        """Five classes from sixty numbers."""
        return _TASK

    def _drawn(self, index: int) -> Samples:
        x, y = _population(self)[index]
        rows = np.arange(len(x), dtype=np.int64)
        return Samples(x.copy(), y.copy(), rows, rows >= int(TRAINING * len(x)))


@lru_cache(maxsize=2)
def _population(source: Leaf) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """x and y of every client, in the published order of draws: the sizes, and from the same seed anew all the rest."""
    clusters = source.clusters
    sizes = np.random.RandomState(source.seed).lognormal(3, 2, source.clients).astype(np.int64)
    rng = np.random.RandomState(source.seed)
    Q = rng.normal(size=(DIMENSION + 1, CLASSES, clusters))
    means = [rng.normal(rng.normal(), 1.0, clusters) for _ in range(clusters)]
    population = []
    for n in np.minimum(sizes + 5, MOST).tolist():
        mean = means[rng.choice(clusters, p=np.full(clusters, 1 / clusters))]
        v = rng.normal(rng.normal(), 1.0, DIMENSION)
        x = rng.multivariate_normal(v, _COVARIANCE, n)
        w = Q @ rng.normal(mean, 0.1)
        z = x @ w[1:] + w[0] + rng.normal(0.0, 0.1, (n, CLASSES))
        y = (z - np.logaddexp.reduce(z, axis=0)).argmax(1)
        population.append((x.astype(np.float32), y.astype(np.int64)))
    return tuple(population)
