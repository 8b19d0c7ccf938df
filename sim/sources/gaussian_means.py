"""Ditto's point estimation: every client must guess the mean of its own Gaussian, and all means are near each other.

    w_k ~ N(0, τ²)      y ~ N(w_k, σ²), n of them      x = 0

With squared error a linear model's bias is the guess (the paper's θ is 0 here). Targets have many coordinates, each of
them the same problem drawn anew, so that one run is as many repetitions. The one ``held_out`` target is w_k itself.

Source: Li, Hu, Beirami, Smith 2021, arXiv 2012.04221, Section 3.3 and its appendix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from metapulse.data import Samples, Task
from metapulse.errors import ConfigError
from metapulse.rng import generator
from metapulse.settings import SIZE, setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation

NUMBERS = 2**22  # that one client holds


@dataclass(frozen=True)
class GaussianMeans(OneDevicePopulation):
    """Clients with a mean each; each sample is its own group.

    Source: Li et al. 2021, arXiv 2012.04221, Section 3.3.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "gaussian_means",
        "Ditto's point estimation: every client guesses the mean of its own Gaussian",
        "Li, Hu, Beirami, Smith 2021, arXiv 2012.04221",
    )

    clients: int = setting(8, "number of clients K", ge=1, le=2**20)
    points: int = setting(30, "samples n of each client", ge=1, le=SIZE)
    tau: float = setting(0.1, "how far the clients' means lie apart (standard deviation τ)", ge=0)
    sigma: float = setting(0.8, "how far a client's samples lie from its mean (standard deviation σ)", ge=0)
    coordinates: int = setting(1000, "independent repetitions of the problem", ge=1, le=SIZE)
    seed: int = setting(0, "seed of the population", ge=0)

    def __post_init__(self) -> None:
        if (numbers := (self.points + 1) * self.coordinates) > NUMBERS:
            raise ConfigError("source.coordinates", self.coordinates, f"{numbers} numbers a client, at most {NUMBERS}")

    @property
    def task(self) -> Task:
        """Regression from nothing."""
        return Task("regression", (1,), self.coordinates)

    def _drawn(self, index: int) -> Samples:
        """The client's samples, and its mean as the one that is held out."""
        rng = generator(self.seed, "gaussian means", client=index)
        mean = self.tau * rng.standard_normal(self.coordinates)
        y = np.vstack([mean + self.sigma * rng.standard_normal((self.points, self.coordinates)), mean])
        rows = np.arange(self.points + 1, dtype=np.int64)
        return Samples(np.zeros((len(y), 1), np.float32), y.astype(np.float32), rows, rows == self.points)
