"""What a device does to its windows before they reach the model: normalise, and while training, augment.

A transform is fitted on the unlabelled pool of the episode's support side only: nothing of the query, nothing of any
other client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from client.data import Task


class Transform(ABC):
    """Maps one client's windows to model inputs."""

    #: True: training windows are drawn anew every time, so nothing can be kept.
    random: ClassVar[bool] = False
    #: True: nothing is done at all.
    idle: ClassVar[bool] = False

    def task(self, task: Task) -> Task:
        """The task as the model sees it: by default with inputs of the same shape."""
        return task

    @abstractmethod
    def apply(
        self,
        x: Float32[np.ndarray, "n *features"],
        pool: Float32[np.ndarray, "p *features"],
        rng: np.random.Generator | None,
    ) -> Float32[np.ndarray, "n *inputs"]:
        """Transform the windows of one episode.

        Args:
            x: support and query windows together, so that one random draw serves both.
            pool: what statistics may be fitted on.
            rng: draws the augmentation; None: no augmentation (adaptation and tests).
        """


@dataclass(frozen=True)
class Identity(Transform):
    """Windows as they come."""

    idle: ClassVar[bool] = True

    def apply(
        self,
        x: Float32[np.ndarray, "n *features"],
        pool: Float32[np.ndarray, "p *features"],
        rng: np.random.Generator | None,
    ) -> Float32[np.ndarray, "n *inputs"]:
        """X itself."""
        return x


@dataclass(frozen=True)
class Standardise(Transform):
    """(x − mean) / sd per channel, over the pool's windows and time (per feature where there is no time axis)."""

    def apply(
        self,
        x: Float32[np.ndarray, "n *features"],
        pool: Float32[np.ndarray, "p *features"],
        rng: np.random.Generator | None,
    ) -> Float32[np.ndarray, "n *inputs"]:
        """Standardised windows; a constant channel becomes zero."""
        axes = (0, 2) if pool.ndim == 3 else (0,)
        mean = pool.mean(axes, keepdims=True, dtype=np.float64)
        sd = pool.std(axes, keepdims=True, dtype=np.float64)
        scaled: np.ndarray = ((x - mean) / np.where(sd > 1e-6, sd, 1.0)).astype(np.float32)
        return scaled
