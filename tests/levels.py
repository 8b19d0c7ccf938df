"""People whose level tells the target, as resting heart rate does: y = level / 10 + a small effect of the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from metapulse.data import Samples, Task
from metapulse.rng import generator
from metapulse.settings import setting
from metapulse.sim.sources.one_device import OneDevicePopulation

SOURCE = {"name": "tests.levels:Levels"}


@dataclass(frozen=True)
class Levels(OneDevicePopulation):
    """Two features a sample: the level of a person, N(60, 10²), with N(0, 1) around it; and one that never moves."""

    device: ClassVar[str] = "watch"

    clients: int = setting(12, "people", ge=1)
    points: int = setting(16, "samples of each", ge=1)
    hostile: int = setting(-1, "a client whose second feature is 1e30", ge=-1)

    @property
    def task(self) -> Task:
        """Regression from two numbers to one."""
        return Task("regression", (2,), 1)

    def _drawn(self, index: int) -> Samples:
        rng = generator(3, "levels", client=index)
        level, moment = 60.0 + 10.0 * rng.standard_normal(), rng.standard_normal((self.points, 1))
        x = np.concatenate([level + moment, np.full((self.points, 1), 1e30 if index == self.hostile else 5.0)], 1)
        y = (level + 0.5 * moment) / 10.0 - 6.0
        rows = np.arange(self.points, dtype=np.int64)
        held_out = np.zeros(self.points, dtype=np.bool_)
        return Samples(x.astype(np.float32), y.astype(np.float32), rows, held_out)


def moments(people: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of some people's samples together, in float64."""
    x = np.concatenate([Levels().samples(p).x for p in people]).astype(np.float64)
    return x.mean(0), x.std(0)
