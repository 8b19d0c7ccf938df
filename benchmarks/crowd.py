"""A population of any size that costs nothing: a client's samples are made from its index on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from metapulse.data import Client, Samples, Task
from metapulse.errors import DataError
from metapulse.rng import generator, uniforms
from metapulse.settings import setting

CLASSES, SAMPLES = 6, 64
NOISES = 256  # clients this far apart share their noise, not their shift
#: Shape of one sample, as in ``benchmarks.bench.workload``.
FEATURES = {"mlp": (64,), "cnn": (6, 128)}


@dataclass(frozen=True)
class Crowd:
    """Clients of workload W, as many as one likes: a class's mean, plus the client's own shift, plus noise."""

    clients: int = setting(1_000_000, "number of clients", ge=1)
    model: Literal["mlp", "cnn"] = setting("mlp", "for which model")
    seed: int = setting(0, "seed of the population", ge=0)

    @property
    def task(self) -> Task:
        """Six classes."""
        return Task("classification", FEATURES[self.model], CLASSES)

    @property
    def users(self) -> int:
        """Each person has one device."""
        return self.clients

    @property
    def devices(self) -> tuple[str, ...]:
        """The one device there is."""
        return ("crowd",)

    def __len__(self) -> int:
        return self.clients

    def client(self, index: int) -> Client:
        """Client i is person i."""
        return Client(index, index, "crowd", str(index))

    def clients_of(self, user: int) -> Sequence[int]:
        """One device each."""
        return (user,)

    def samples(self, index: int) -> Samples:
        """All samples of one client, each a group of its own."""
        x, y = self.block([index])
        return Samples(x[0], y[0], np.arange(SAMPLES), np.zeros(SAMPLES, dtype=bool))

    def block(self, clients: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Samples of many clients at once.

        Raises:
            DataError: no such client.
        """
        if not 0 <= min(clients) <= max(clients) < self.clients:
            raise DataError(f"there are clients 0 to {self.clients - 1}")
        noise, y = _noise(self.model, self.seed)
        own = np.asarray(clients) % NOISES
        shift = uniforms(self.seed, "crowd", 0, clients, FEATURES[self.model][0]).astype(np.float32) - np.float32(0.5)
        x = noise[own]
        x += shift.reshape(len(own), 1, -1, *[1] * (x.ndim - 3))
        return x, y[own]


@lru_cache(maxsize=2)
def _noise(model: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed, "crowd/noise")
    y = rng.integers(CLASSES, size=(NOISES, SAMPLES))
    means = rng.standard_normal((CLASSES, *FEATURES[model]), dtype=np.float32)
    return means[y] + rng.standard_normal((NOISES, SAMPLES, *FEATURES[model]), dtype=np.float32), y
