"""Sine regression: every client is one sine curve, the first benchmark of meta-learning.

    finn      y = A sin(x − φ)      x ~ U[−5, 5], A ~ U[.1, 5], φ ~ U[0, π]
    meta_sgd  y = A sin(ω x + φ)    x ~ U[−5, 5], A ~ U[.1, 5], φ ~ U[0, π], ω ~ U[.8, 1.2]
    reptile   y = A sin(x + φ)      x = 50 points evenly from −5 to 5, A ~ U[.1, 5], φ ~ U[0, 2π]

Sources: Finn, Abbeel, Levine 2017, arXiv 1703.03400, §5.1; Li, Zhou, Chen, Li 2017, arXiv 1707.09835, §4.1;
Nichol, Achiam, Schulman 2018, arXiv 1803.02999, and the demonstration published with it (50 points).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64

from metapulse.data import Samples, Task
from metapulse.rng import generator, uniforms
from metapulse.settings import SIZE, setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.one_device import OneDevicePopulation

Variant: TypeAlias = Literal["finn", "meta_sgd", "reptile"]
#: Variant → (upper end of φ, sign of φ, ω drawn?); the amplitude is U[.1, 5] in all three.
_VARIANTS: dict[Variant, tuple[float, float, bool]] = {
    "finn": (math.pi, -1.0, False),
    "meta_sgd": (math.pi, 1.0, True),
    "reptile": (2 * math.pi, 1.0, False),
}
_REPTILE_X = np.linspace(-5.0, 5.0, 50)
_TASK = Task("regression", (1,), 1)


@dataclass(frozen=True)
class Sine(OneDevicePopulation):
    """A population of sine curves, one per client, each point its own group.

    Source: Finn, Abbeel, Levine 2017, arXiv 1703.03400, §5.1 (the other variants: module docstring).
    """

    dataset: ClassVar[Dataset] = Dataset(
        "sine",
        "sine regression tasks, three published generators",
        "Finn, Abbeel, Levine 2017, arXiv 1703.03400; Li et al. 2017, arXiv 1707.09835; "
        "Nichol, Achiam, Schulman 2018, arXiv 1803.02999",
    )

    variant: Variant = setting("finn", "whose sine tasks")
    clients: int = setting(1_000_000, "number of clients, one curve each", ge=1, le=2**40)
    points: int = setting(10, "points per client; reptile always has its 50", ge=1, le=SIZE)
    seed: int = setting(0, "seed of the population", ge=0)

    @property
    def unread(self) -> Mapping[str, str]:
        """Settings that the variant does not read, and why."""
        return {"points": "source.variant = 'reptile' has 50"} if self.variant == "reptile" else {}

    @property
    def task(self) -> Task:
        """Regression from one number to one number."""
        return _TASK

    def _drawn(self, index: int) -> Samples:
        """With more ``points`` the first ones stay."""
        u = generator(self.seed, "sine", client=index).random(self._draws)
        x, y = (part.astype(np.float32).reshape(-1, 1) for part in self._curves(u[None]))
        return Samples(x, y, np.arange(len(x), dtype=np.int64), np.zeros(len(x), dtype=np.bool_))

    def block(
        self, clients: Sequence[int]
    ) -> tuple[Float32[np.ndarray, "clients n 1"], Float32[np.ndarray, "clients n 1"]]:
        """Points of many clients at once, row i as ``samples(clients[i])`` has them.

        Raises:
            DataError: no such client.
        """
        if bad := [c for c in (min(clients), max(clients)) if not 0 <= c < self.clients]:
            self._check(bad[0])
        x, y = self._curves(uniforms(self.seed, "sine", 0, clients, self._draws))
        return x.astype(np.float32)[..., None], y.astype(np.float32)[..., None]

    @property
    def _draws(self) -> int:
        """Numbers that make a client: its curve, and where its points are unless they are fixed."""
        return 3 + (0 if self.variant == "reptile" else self.points)

    def _curves(
        self, u: Float64[np.ndarray, "clients draws"]
    ) -> tuple[Float64[np.ndarray, "clients n"], Float64[np.ndarray, "clients n"]]:
        """Points on the curves that the numbers in [0, 1) stand for."""
        phase_end, sign, drawn = _VARIANTS[self.variant]
        amplitude, phase = 0.1 + 4.9 * u[:, :1], sign * phase_end * u[:, 1:2]
        omega = 0.8 + 0.4 * u[:, 2:3] if drawn else 1.0
        x = np.broadcast_to(_REPTILE_X, (len(u), 50)) if self.variant == "reptile" else 10.0 * u[:, 3:] - 5.0
        return x, amplitude * np.sin(omega * x + phase)
