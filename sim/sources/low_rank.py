"""FedRep's linear data: the clients' regressions share a subspace of few dimensions.

    V = orthonormal 20×2     u_i = rows of an orthonormal 100×2, scaled to length 1      θ_i = V u_i
    a ~ N(0, I_20) / √m      y = ⟨a, θ_i⟩ + N(0, .001²), m of them

The ``held_out`` samples are √20 e_j, j = 1 … 20, without noise: the mean squared error on them is ‖θ̂ − θ_i‖².

Source: Collins, Hassani, Mokhtari, Shakkottai 2021, arXiv 2102.07078, Section 6.1 and its appendix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from metapulse.data import Samples, Task
from metapulse.errors import ConfigError
from metapulse.rng import generator
from metapulse.settings import SIZE, setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation


@dataclass(frozen=True)
class LowRank(OneDevicePopulation):
    """Linear regressions in a shared subspace; each sample is its own group.

    Source: Collins et al. 2021, arXiv 2102.07078, Section 6.1.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "low_rank",
        "FedRep's linear regression: every client's weights lie in one subspace",
        "Collins, Hassani, Mokhtari, Shakkottai 2021, arXiv 2102.07078",
    )

    clients: int = setting(100, "number of clients, at least the rank", ge=1, le=100_000)
    points: int = setting(10, "training samples m of each client", ge=1, le=SIZE)
    dimension: int = setting(20, "inputs", ge=1, le=4096)
    rank: int = setting(2, "dimensions of the shared subspace, at most the inputs and the clients", ge=1, le=4096)
    noise: float = setting(0.001, "standard deviation of the targets' noise", ge=0)
    seed: int = setting(0, "seed of the population", ge=0)

    def __post_init__(self) -> None:
        if self.rank > (most := min(self.dimension, self.clients)):
            raise ConfigError("source.rank", self.rank, f"must be ≤ {most}, the smaller of dimension and clients")

    @property
    def task(self) -> Task:
        """Regression to one number."""
        return Task("regression", (self.dimension,), 1)

    def _drawn(self, index: int) -> Samples:
        theta = _models(self)[index]
        rng = generator(self.seed, "low rank samples", client=index)
        a = rng.standard_normal((self.points, self.dimension)) / np.sqrt(self.points)
        basis = np.sqrt(self.dimension) * np.eye(self.dimension)
        noise = self.noise * rng.standard_normal(self.points)
        x, y = np.vstack([a, basis]), np.concatenate([a @ theta + noise, basis @ theta])
        rows = np.arange(len(x), dtype=np.int64)
        return Samples(x.astype(np.float32), y.astype(np.float32)[:, None], rows, rows >= self.points)


@lru_cache(maxsize=4)
def _models(source: LowRank) -> Float64[np.ndarray, "clients dimension"]:
    """θ of every client."""
    rng = generator(source.seed, "low rank models")
    V = np.linalg.qr(rng.standard_normal((source.dimension, source.rank)))[0]
    u = np.linalg.qr(rng.standard_normal((source.clients, source.rank)))[0]
    theta: np.ndarray = u / np.linalg.norm(u, axis=1, keepdims=True) @ V.T
    return theta
