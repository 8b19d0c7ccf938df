"""The workload as a data source of metapulse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.bench.workload import CLASSES, CLIENTS, FEATURES, Load, Name, Workload
from metapulse.data import Client, Samples, Task
from metapulse.settings import setting


@dataclass(frozen=True)
class Numbers:
    """Client i is row i of the files."""

    folder: str = setting("", "where the files are")
    model: Name = setting("mlp", "whose workload")

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        load = Load(Workload(self.model, CLIENTS), Path(self.folder))
        return np.asarray(load.x), np.asarray(load.y)

    @property
    def task(self) -> Task:
        """Six classes, or one number from one number."""
        if self.model == "sine":
            return Task("regression", FEATURES["sine"], 1)
        return Task("classification", FEATURES[self.model], CLASSES)

    @property
    def users(self) -> int:
        """N."""
        return CLIENTS

    @property
    def devices(self) -> tuple[str, ...]:
        """One."""
        return ("bench",)

    def __len__(self) -> int:
        return CLIENTS

    def client(self, index: int) -> Client:
        """Client i is person i."""
        return Client(index, index, "bench", str(index))

    def clients_of(self, user: int) -> Sequence[int]:
        """One device each."""
        return (user,)

    def samples(self, index: int) -> Samples:
        """All samples of one client, each a group of its own."""
        x, y = self._arrays
        n = x.shape[1]
        return Samples(x[index], y[index], np.arange(n), np.zeros(n, dtype=bool))
