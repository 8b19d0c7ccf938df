"""What a device does to its windows before they reach the model: normalise, and while training, augment.

A transform is fitted on the unlabelled pool of the episode's support side, or on its shots, only: nothing of the query,
nothing of any other client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.settings import setting

#: Windows of one client, those that statistics are fitted on, and what the model reads.
Windows = Float32[np.ndarray, "n *features"]
Pool = Float32[np.ndarray, "p *features"]
Inputs = Float32[np.ndarray, "n *inputs"]


class Transform(ABC):
    """Maps one client's windows to model inputs."""

    #: True: training windows are drawn anew every time, so nothing can be kept.
    random: ClassVar[bool] = False
    #: True: each window is mapped by itself, whatever the pool, so that those of many clients can be mapped at once.
    pointwise: ClassVar[bool] = False
    #: Whether statistics are fitted on the whole support side, or on the shots alone.
    on: Literal["pool", "support"] = "pool"

    def task(self, task: Task) -> Task:
        """The task as the model sees it: by default with inputs of the same shape."""
        return task

    def check_protected(self, protected: Mapping[str, bool]) -> None:
        """Refuse what does not go together with settings that protect answers: nothing, for most.

        Args:
            protected: which of them are on.

        Raises:
            ConfigError: names both settings.
        """
        return None

    def floored(self, pool: Pool) -> Bool[np.ndarray, " channels"]:
        """The channels that hardly move in a pool, so that a floor stands in for their scale: none, for most."""
        return np.zeros(pool.shape[1], dtype=bool)

    @abstractmethod
    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """Transform the windows of one episode.

        Args:
            x: support and query windows together, so that one random draw serves both.
            pool: what statistics may be fitted on.
            rng: draws the augmentation; None: no augmentation (adaptation and tests).
        """


@dataclass(frozen=True)
class Identity(Transform):
    """Windows as they come."""

    pointwise: ClassVar[bool] = True

    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """X itself."""
        return x


#: Least sd of a channel, as a share of its mean: a still sensor's rounding noise is no scale.
LEAST = 1e-3
STILL = 1e-6  # sd of a channel that does not move


@dataclass(frozen=True)
class Standardise(Transform):
    """(x − mean) / sd per channel, over the pool's windows and time (per feature where there is no time axis).

    The sd is at least a thousandth of the mean, and no value is more than ``limit`` sds from it. A person's level goes
    with the mean; where the level tells the target, as in most regressions, ``fixed`` keeps it.
    """

    on: Literal["pool", "support"] = setting(
        "pool", "what mean and sd are of: all windows of the support side, or the shots"
    )
    limit: float = setting(50.0, "values further from the mean than so many standard deviations are cut to that", gt=0)

    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """Standardised windows; a constant channel becomes zero."""
        mean, sd, centred = _moments(pool)
        sd = np.where(sd > STILL, np.maximum(sd, LEAST * np.abs(mean)), 1.0)
        scaled = centred if x is pool else x - mean
        scaled /= sd  # in place: to make an array anew costs more than to divide one
        np.clip(scaled, -self.limit, self.limit, out=scaled)
        inputs: np.ndarray = scaled.astype(np.float32)
        return inputs

    def floored(self, pool: Pool) -> Bool[np.ndarray, " channels"]:
        """Those whose sd is below the floor, constant ones among them."""
        mean, sd, _ = _moments(pool)
        still: np.ndarray = (sd <= np.maximum(STILL, LEAST * np.abs(mean))).reshape(-1)
        return still


@dataclass(frozen=True)
class Fixed(Transform):
    """(x − centre) / scale with numbers that are known beforehand, the same for all clients.

    It keeps a person's level, and depends on no samples, so it is compatible with any privacy.
    """

    pointwise: ClassVar[bool] = True

    centre: tuple[float, ...] = setting((0.0,), "taken off: one number, or one per channel (feature)")
    scale: tuple[float, ...] = setting((1.0,), "divides: one number, or one per channel (feature)")

    def __post_init__(self) -> None:
        if bad := [s for s in self.scale if not 0 < s < np.inf]:
            raise ConfigError("transform.scale", bad[0], "must be > 0 and finite")

    def task(self, task: Task) -> Task:
        """The same; there must be one number, or one per channel."""
        for key, numbers in (("centre", self.centre), ("scale", self.scale)):
            _one_or_all(key, numbers, task)
        return task

    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """Scaled windows."""
        centre, scale = (np.reshape(numbers, (-1, *(1,) * (x.ndim - 2))) for numbers in (self.centre, self.scale))
        scaled: np.ndarray = ((x - centre) / scale).astype(np.float32)
        return scaled


class PendingTransform(Transform):
    """Settled by a run before round 1; until then, for a look at shapes and costs, the pool's numbers stand in."""

    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """By the pool's own numbers."""
        return Standardise().apply(x, pool, rng)


@dataclass(frozen=True)
class Global(PendingTransform):
    """(x − m) / s per channel with m and s of the people in meta-training, asked before round 1; it keeps levels.

    Each person counts once, by mean z̄_i and mean square q_i of z = (x − centre) / bound, cut to [−1, 1]:
    m = centre + bound · z̄ and s² = bound² (q − z̄²) of their means over people. What has been learnt is told to clients
    as ``fixed``.
    """

    centre: tuple[float, ...] = setting((0.0,), "a guess of the mean: one number, or one per channel (feature)")
    bound: tuple[float, ...] = setting(
        (0.0,), "values further from it are cut (0: none is; must be given where answers are protected)", ge=0
    )
    people: int = setting(1000, "people asked at most, each on one device", ge=1, le=8192)

    def __post_init__(self) -> None:
        if 0 < sum(b > 0 for b in self.bound) < len(self.bound):
            raise ConfigError("transform.bound", list(self.bound), "must be > 0 for all channels, or 0 for all")

    @property
    def bounded(self) -> bool:
        """Whether an answer is of known size."""
        return bool(self.bound) and min(self.bound) > 0

    def check_protected(self, protected: Mapping[str, bool]) -> None:
        """Answers of unknown size can neither be noised nor masked."""
        if not self.bounded and (still := [key for key, on in protected.items() if on]):
            raise ConfigError("transform.bound", list(self.bound), f"must be > 0 with {still[0]}")

    def task(self, task: Task) -> Task:
        """The same; guesses and bounds are one number, or one per channel."""
        for key, numbers in (("centre", self.centre), ("bound", self.bound)):
            _one_or_all(key, numbers, task)
        return task

    def moments(self, x: Windows) -> tuple[Float64[np.ndarray, " channels"], Float64[np.ndarray, " channels"]]:
        """z̄ and q of one person; without a bound of x − centre.

        Args:
            x: all samples that may be trained on, n ≥ 1.
        """
        wide = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) - np.array(self.centre)
        if self.bounded:
            wide = np.clip(wide / np.array(self.bound), -1.0, 1.0)
        return wide.mean(0), np.square(wide).mean(0)


@dataclass(frozen=True)
class Auto(PendingTransform):
    """What suits the task: ``standardise`` for classes, ``global`` for a regression, whose target levels tell of.

    Under privacy or secure aggregation, where ``global`` needs a bound that only people can state, it is
    ``standardise`` for both, and the run says so.
    """


def _moments(pool: Pool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and sd per channel, over windows and time, with axes to go with the pool's, and the pool less its mean."""
    axes = (0, 2) if pool.ndim == 3 else (0,)
    mean: np.ndarray = pool.mean(axes, keepdims=True, dtype=np.float64)
    centred: np.ndarray = pool - mean
    count = centred.size // mean.size
    sd: np.ndarray = np.sqrt(np.square(centred).sum(axes, keepdims=True) / count)
    return mean, sd, centred


def _one_or_all(key: str, numbers: tuple[float, ...], task: Task) -> None:
    if len(numbers) not in (1, task.features[0]):
        many = f"1 or {task.features[0]} numbers"
        raise ConfigError(f"transform.{key}", list(numbers), f"must hold {many} for samples of {task.features}")
