"""FedEM's synthetic data: every client's labels come from a mixture of a few linear classifiers that all share.

    π_i ~ Dirichlet(.4)     θ_m ~ U[−1, 1]^150, m = 1 … 3     n_i = min(⌊lognormal(4, 2)⌋ + 50, 1000)
    x ~ U[−1, 1]^150        z ~ π_i                           y = round(sigmoid(θ_z x + N(0, .1)))

The sizes, the mixtures and the classifiers are drawn from one legacy stream, as in the published code, and are its very
numbers for seed 12345. The samples are drawn client by client, each from its own address: as published they would fill
a gigabyte. The 5 000 test samples of a client are ``held_out``.

Source: Marfoq, Neglia, Bellet, Kameni, Vidal 2021, arXiv 2108.10252, appendix on synthetic data, and its generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int64

from metapulse.data import Samples, Task
from metapulse.rng import generator
from metapulse.settings import SIZE, setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation

DIMENSION, CONCENTRATION, NOISE, MOST = 150, 0.4, 0.1, 1000
_TASK = Task("classification", (DIMENSION,), 2)


@dataclass(frozen=True)
class MixedClients:
    """What the clients' samples are drawn from.

    Args:
        sizes: training samples.
        shares: π.
        components: θ.
    """

    sizes: Int64[np.ndarray, " clients"]
    shares: Float64[np.ndarray, "clients components"]
    components: Float64[np.ndarray, "components 150"]


@dataclass(frozen=True)
class Mixture(OneDevicePopulation):
    """FedEM's mixture of linear classifiers; each sample is its own group.

    Source: Marfoq et al. 2021, arXiv 2108.10252.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "mixture",
        "FedEM's synthetic data: labels from a mixture of linear classifiers that all share",
        "Marfoq, Neglia, Bellet, Kameni, Vidal 2021, arXiv 2108.10252",
    )

    clients: int = setting(300, "number of clients", ge=1, le=1_000_000)
    components: int = setting(3, "linear classifiers that are mixed", ge=1, le=SIZE)
    test: int = setting(5000, "held-out samples of each client", ge=0)
    seed: int = setting(12345, "seed of the population; 12345 was published", ge=0, lt=2**32)

    @property
    def task(self) -> Task:
        """Two classes from 150 numbers."""
        return _TASK

    @property
    def population(self) -> MixedClients:
        """Sizes, mixtures and classifiers of all clients."""
        return _population(self.clients, self.components, self.seed)

    def _drawn(self, index: int) -> Samples:
        population = self.population
        rng, n = generator(self.seed, "mixture", client=index), int(population.sizes[index])
        total = n + self.test
        x = rng.uniform(-1, 1, (total, DIMENSION))
        chosen = population.components[rng.choice(self.components, total, p=population.shares[index])]
        y = (np.einsum("nd,nd->n", x, chosen) + NOISE * rng.standard_normal(total) > 0).astype(np.int64)
        rows = np.arange(total, dtype=np.int64)
        return Samples(x.astype(np.float32), y, rows, rows >= n)


@lru_cache(maxsize=4)
def _population(clients: int, components: int, seed: int) -> MixedClients:
    """Sizes, mixtures and classifiers, in the published order of draws."""
    rng = np.random.RandomState(seed)  # only the legacy generator gives the published numbers
    sizes = np.minimum(rng.lognormal(4, 2, clients).astype(np.int64) + 50, MOST)
    shares = np.stack([rng.dirichlet(np.full(components, CONCENTRATION)) for _ in range(clients)])
    return MixedClients(sizes, shares, rng.uniform(-1, 1, (components, DIMENSION)))
