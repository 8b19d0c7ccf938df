"""Synthetic(α, β): softmax regressions that differ between clients in model (α) and in inputs (β).

    u_i ~ N(0, α)          B_i ~ N(0, β)              one scalar each per client
    W_i ~ N(u_i, 1)^60×10  b_i ~ N(u_i, 1)^10         its model
    v_i ~ N(B_i, 1)^60     x ~ N(v_i, diag(j^−1.2))   its inputs
    y = argmax(x W_i + b_i)

α and β are standard deviations, as in the published code (the papers write them in a variance's place).

Variants
    pfedme   100 clients, n_i = 5 (⌊lognormal(4, 2)⌋ + 50); seed 0 gives the paper's own samples
    fedprox  30 clients, n_i = ⌊lognormal(4, 2)⌋ + 50; the authors published no seed
    lazy     any number of clients, n_i = min(⌊lognormal(4, 2)⌋ + 50, 1000), each from its own address

The first two are drawn from one legacy stream, client after client, and so made whole, once per process.
Their code shuffles each client's samples (without a seed) and keeps the first ⌊.9 n_i⌋ for training. The
samples of a client are independent and identically distributed, so here the shuffle is left out and the last
tenth is ``held_out``.

Sources: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv 1812.06127, §5.1; T. Dinh, Tran, Nguyen 2020,
arXiv 2006.08848, §5.1 (and the generators published with both).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from metapulse.data import Samples, Task
from metapulse.rng import generator
from metapulse.settings import setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation

DIMENSION, CLASSES = 60, 10
_DEVIATION = np.arange(1, DIMENSION + 1) ** -0.6  # square root of diag(j^−1.2)
_TASK = Task("classification", (DIMENSION,), CLASSES)
Variant: TypeAlias = Literal["pfedme", "fedprox", "lazy"]
#: Variant → (clients when not set, factor on n_i).
_PUBLISHED: dict[Variant, tuple[int, int]] = {"pfedme": (100, 5), "fedprox": (30, 1), "lazy": (1_000_000, 1)}
_MOST = 1000  # samples of a lazy client: the lognormal's tail reaches millions


@dataclass(frozen=True)
class Synthetic(OneDevicePopulation):
    """Synthetic(α, β): one client is one user with one device; each sample is its own group.

    Source: Li et al. 2020, arXiv 1812.06127, §5.1; T. Dinh et al. 2020, arXiv 2006.08848, §5.1.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "synthetic",
        "Synthetic(alpha, beta): softmax labels with client-wise models and inputs",
        "Li et al. 2020, arXiv 1812.06127; Dinh, Tran, Nguyen 2020, arXiv 2006.08848",
    )

    variant: Variant = setting("pfedme", "whose generator")
    alpha: float = setting(0.5, "how much the clients' models differ (standard deviation of u)", ge=0)
    beta: float = setting(0.5, "how much the clients' inputs differ (standard deviation of B)", ge=0)
    clients: int = setting(0, "number of clients; 0: as published (100, 30), lazy: 1 000 000", ge=0, le=2**40)
    seed: int = setting(0, "seed of the population; pfedme published 0", ge=0, lt=2**32)

    @property
    def task(self) -> Task:
        """Ten classes from sixty numbers."""
        return _TASK

    @property
    def users(self) -> int:
        """Number of clients: each is a user of its own."""
        return self.clients or _PUBLISHED[self.variant][0]

    def _drawn(self, index: int) -> Samples:
        """The last tenth is ``held_out``."""
        if self.variant == "lazy":
            return _lazy(self, index)
        kept = _population(self)[index]
        return Samples(kept.x.copy(), kept.y.copy(), kept.group.copy(), kept.held_out.copy())

    def _label(self, index: int) -> str:
        return f"f_{index:05d}"  # as in the published files


@lru_cache(maxsize=4)
def _population(source: Synthetic) -> tuple[Samples, ...]:
    """Every client of a published variant, in its order of draws: n, u, B, all v, then W, b, x each."""
    # The legacy generator is the point: only it gives the published numbers.
    rng = np.random.RandomState(source.seed)
    clients = source.users
    n = (rng.lognormal(4, 2, clients).astype(np.int64) + 50) * _PUBLISHED[source.variant][1]
    u = rng.normal(0, source.alpha, clients)
    B = rng.normal(0, source.beta, clients)
    v = [rng.normal(B[i], 1, DIMENSION) for i in range(clients)]
    covariance = np.diag(_DEVIATION**2)
    population = []
    for i in range(clients):
        W = rng.normal(u[i], 1, (DIMENSION, CLASSES))
        b = rng.normal(u[i], 1, CLASSES)
        population.append(_labelled(rng.multivariate_normal(v[i], covariance, n[i]), W, b))
    return tuple(population)


def _lazy(source: Synthetic, index: int) -> Samples:
    """One client from its own address."""
    rng = generator(source.seed, "synthetic", client=index)
    n = min(int(rng.lognormal(4, 2)) + 50, _MOST)
    u, B = source.alpha * rng.standard_normal(), source.beta * rng.standard_normal()
    v = B + rng.standard_normal(DIMENSION)
    W = u + rng.standard_normal((DIMENSION, CLASSES))
    b = u + rng.standard_normal(CLASSES)
    return _labelled(v + rng.standard_normal((n, DIMENSION)) * _DEVIATION, W, b)


def _labelled(x: Float64[np.ndarray, "n 60"], W: Float64[np.ndarray, "60 10"], b: Float64[np.ndarray, "10"]) -> Samples:
    """Labels argmax(x W + b), decided in double precision before x is rounded to single."""
    n = len(x)
    y = (x @ W + b).argmax(1).astype(np.int64)
    index = np.arange(n, dtype=np.int64)
    return Samples(x.astype(np.float32), y, index, index >= int(0.9 * n))
