"""What every system computes: workload W and its second-order sibling, as numbers in files that all of them read.

N = 1000 clients; a round takes C of them. First order: 64 samples a client, 5 SGD steps of rate .01 on rows 0–31,
32–63, 0–31, …; a client's update is θ − φ₅, and θ moves by the plain mean. Second order: a client is a sine curve, its
first 10 points are support and the others query; it reports MAML's exact outer gradient after 5 inner steps of rate .01
on all of its support, and θ moves by .01 times the mean (at .1 it overflows after some 650
rounds). Everything is float32.

Only numpy is imported here, since this runs in the environment of every peer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

CLIENTS = 1000
SAMPLES, STEPS, RATE, BATCH = 64, 5, 0.01, 32
SHOTS, OUTER_RATE = 10, 0.01
CLASSES = 6

Name: TypeAlias = Literal["mlp", "module", "cnn", "gru", "sine"]
#: Shape of one sample, by model; (clients, samples, *this) in all.
FEATURES: Mapping[Name, tuple[int, ...]] = {
    "mlp": (64,),
    "module": (64,),
    "cnn": (6, 128),
    "gru": (6, 128),
    "sine": (1,),
}


@dataclass(frozen=True)
class Workload:
    """One cell of the bench: a model, and how many clients a round has.

    Args:
        model: a key of FEATURES.
        cohort: C.
    """

    model: str
    cohort: int

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{'maml' if self.second_order else self.model}-{self.cohort}"

    @property
    def second_order(self) -> bool:
        """Whether clients report MAML's outer gradient."""
        return self.model == "sine"

    @property
    def flops(self) -> float:
        """Floating point operations of one client's update: forward and backward, without gradients of the inputs."""
        return FLOPS[self.model]()

    def clients(self, round: int) -> np.ndarray:
        """Partition ids of a round's clients, ascending; for systems that do not sample themselves."""
        if self.cohort == CLIENTS:
            return np.arange(CLIENTS)
        return np.sort(np.random.default_rng([round, self.cohort]).choice(CLIENTS, self.cohort, replace=False))


WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp", 100),
        Workload("mlp", 1000),
        Workload("cnn", 100),
        Workload("gru", 100),
        Workload("module", 100),
        Workload("sine", 25),
        Workload("sine", 1000),
    )
}


@dataclass(frozen=True)
class Load:
    """A workload's numbers.

    Args:
        workload: which one.
        folder: where ``write`` and the preparation of the bench put the files.
    """

    workload: Workload
    folder: Path = field(default=Path(".bench/data"))

    @cached_property
    def x(self) -> np.ndarray:
        """(N, samples, *features) float32, mapped: only what is touched is read, and processes share it."""
        return np.load(self.folder / f"{_family(self.workload.model)}-x.npy", mmap_mode="c")

    @cached_property
    def y(self) -> np.ndarray:
        """(N, samples) int64 labels, or (N, samples, 1) float32 targets."""
        return np.load(self.folder / f"{_family(self.workload.model)}-y.npy", mmap_mode="c")

    @cached_property
    def theta(self) -> dict[str, np.ndarray]:
        """θ before the first round, by name, in the shapes of torch's layers."""
        with np.load(self.folder / f"{self.workload.model}-theta.npz", allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}


def write(folder: Path) -> None:
    """Write the samples, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for family, draw in (("vectors", _vectors), ("windows", _windows), ("curves", _curves)):
        if not (folder / f"{family}-y.npy").exists():
            x, y = draw(np.random.default_rng(20_240_607))
            np.save(folder / f"{family}-x.npy", x)
            np.save(folder / f"{family}-y.npy", y)  # last: it tells that both are there


def _family(model: str) -> str:
    return {"mlp": "vectors", "module": "vectors", "sine": "curves"}.get(model, "windows")


def _vectors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A mean per class, a shift per client, noise."""
    y = rng.integers(CLASSES, size=(CLIENTS, SAMPLES))
    means, shifts = rng.normal(size=(CLASSES, 64)), 0.5 * rng.normal(size=(CLIENTS, 1, 64))
    return (means[y] + shifts + rng.normal(size=(CLIENTS, SAMPLES, 64))).astype(np.float32), y


def _windows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Six channels of a wave whose frequency is the class's, whose phases are the client's, in noise."""
    y = rng.integers(CLASSES, size=(CLIENTS, SAMPLES))
    phase = rng.uniform(0, 2 * math.pi, size=(CLIENTS, 1, 6, 1)).astype(np.float32)
    turns = (2 * math.pi * (2 + y) / 128).astype(np.float32)[..., None, None] * np.arange(128, dtype=np.float32)
    x = np.sin(turns + phase)
    x += 0.5 * rng.standard_normal(x.shape, dtype=np.float32)
    return x, y


def _curves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sin(x − φ), x ~ U[−5, 5], A ~ U[.1, 5], φ ~ U[0, π] (Finn, Abbeel and Levine 2017, arXiv:1703.03400, §5.1)."""
    x = rng.uniform(-5, 5, size=(CLIENTS, 2 * SHOTS, 1))
    amplitude, phase = rng.uniform(0.1, 5, (CLIENTS, 1, 1)), rng.uniform(0, math.pi, (CLIENTS, 1, 1))
    return x.astype(np.float32), (amplitude * np.sin(x - phase)).astype(np.float32)


def _local(per_sample: float) -> float:
    return STEPS * BATCH * per_sample


def _mlp() -> float:
    return _local(2 * (2 * 64 * 64 + 3 * 64 * 32 + 3 * 32 * 6))


def _cnn() -> float:
    first, second = 6 * 32 * 5 * 124, 32 * 64 * 5 * 58
    return _local(2 * (2 * first + 3 * second + 3 * 64 * 6))


def _gru() -> float:
    return _local(2 * (128 * (2 * 6 * 96 + 3 * 32 * 96) + 3 * 32 * 6))


def _sine() -> float:
    """Six gradients and five Hessian-vector products a task.

    A weight and a sample meet in 3 products of a gradient and in 6 of a Hessian-vector product; in 2 of each in the
    first layer, whose input has neither gradient nor tangent.
    """
    gradient, product = 2 * (2 * 40 + 3 * 1600 + 3 * 40), 2 * (2 * 40 + 6 * 1600 + 6 * 40)
    return float(SHOTS * ((STEPS + 1) * gradient + STEPS * product))


FLOPS = {"mlp": _mlp, "module": _mlp, "cnn": _cnn, "gru": _gru, "sine": _sine}
