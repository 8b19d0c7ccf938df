"""Omniglot as a population: a user is a number, its two devices are a task of background and one of evaluation.

The field's protocol meta-trains on N-way tasks over the background characters and meta-tests on tasks over the
evaluation characters, which it never saw. Here that is the "new device" scenario: people who train hold a task of
the ``background`` "device", people who are tested a task of the ``evaluation`` "device".

A third "device" has the official 20-way one-shot runs, ``one_shot_runs``: of every character one drawing to learn from,
and one by another person to classify. Their alphabets are in neither small background set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from metapulse.data import Client, Samples, Task, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.rng import generator
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns, read_npz
from metapulse.sim.sources.catalogue import dataset

SUBSETS = ("background", "evaluation")
RUNS = "runs"  # 20 of them, 20 characters each; run r is that of the users r, r + 20, …
SIDE = 28


@dataclass(frozen=True)
class CharacterPool:
    """The drawings of one character set.

    Args:
        images: (characters, drawers, 784) uint8, ink = 255.
        names: "Alphabet/characterNN" of each character.
    """

    images: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Omniglot:
    """N-way tasks drawn lazily over handwritten characters: 20 drawings each, ink 1, paper 0.

    Task t of a subset is ``way`` different characters drawn at the address (seed, subset, t), each turned by its
    own quarter turns where ``rotations`` is set; labels 0 … way − 1 in the order drawn. Group = drawer. Of
    ``one_shot_runs`` the group is 0 for the drawing to learn from and 1 for the other: ``split = "forward"`` makes the
    official episode.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332; rotations: Santoro et al. 2016, arXiv 1605.06065.
    """

    path: str = setting("", "compact file to read; empty: the cache, then METAPULSE_DATA")
    way: int = setting(5, "characters per task", ge=2, le=200)
    tasks: int = setting(1000, "tasks per subset, the number of users", ge=1, le=1_000_000_000)
    split: tuple[Literal["background", "evaluation", "runs"], ...] = setting(SUBSETS, "subsets that become devices")
    rotations: bool = setting(False, "turn each drawn character by 0, 90, 180 or 270 degrees")
    images: bool = setting(False, "samples are of shape (1, 28, 28) in place of (784,)")
    seed: int = setting(0, "seed of the tasks", ge=0)

    def __post_init__(self) -> None:
        if RUNS in self.split and self.way != 20:
            raise ConfigError("source.way", self.way, "must be 20 where source.split has runs")

    @property
    def task(self) -> Task:
        """What is predicted from what."""
        shape = (1, SIDE, SIDE) if self.images else (SIDE * SIDE,)
        return Task("classification", shape, self.way, tuple(str(c) for c in range(self.way)))

    @property
    def users(self) -> int:
        """Number of tasks per subset."""
        return self.tasks

    @property
    def devices(self) -> tuple[str, ...]:
        """The subsets."""
        return tuple(dict.fromkeys(self.split))

    def __len__(self) -> int:
        return self.tasks * len(self.devices)

    def client(self, index: int) -> Client:
        """Who a client is."""
        if not 0 <= index < len(self):
            raise IndexError(f"client {index}; allowed are 0 to {len(self) - 1}")
        user, device = divmod(index, len(self.devices))
        return Client(index, user, self.devices[device], str(user))

    def clients_of(self, user: int) -> Sequence[int]:
        """Both tasks of one user."""
        return range(user * len(self.devices), (user + 1) * len(self.devices))

    def files(self) -> Mapping[str, Path]:
        """The compact file."""
        return {"path": Path(self.path).expanduser() if self.path else dataset("omniglot").require()}

    def samples(self, index: int) -> Samples:
        """The drawings of one task, character by character, drawer by drawer.

        Raises:
            DataError: not imported, or fewer characters than ``way``.
        """
        who = self.client(index)
        path = self.files()["path"]
        if who.device == RUNS:
            return self._shaped(one_shot_runs(path, modified_ns(path))[who.user % 20], who)
        pool = pools(path, modified_ns(path))[who.device]
        if self.way > len(pool.images):
            raise DataError(f"source.way = {self.way}: {who.device} holds {len(pool.images)} characters")
        rng = generator(self.seed, f"omniglot {who.device}", client=who.user)
        chosen = rng.choice(len(pool.images), self.way, replace=False)
        turns = rng.integers(0, 4, self.way) if self.rotations else np.zeros(self.way, np.int64)
        drawings = pool.images[chosen].reshape(self.way, -1, SIDE, SIDE)  # (way, drawers, 28, 28)
        turned = np.stack([np.rot90(d, k, (1, 2)) for d, k in zip(drawings, turns, strict=True)])
        drawers = turned.shape[1]
        y = np.repeat(np.arange(self.way, dtype=np.int64), drawers)
        group = np.tile(np.arange(drawers, dtype=np.int64), self.way)
        return self._shaped(Samples(_ink(turned), y, group, np.zeros(len(y), bool)), who)

    def _shaped(self, drawings: Samples, who: Client) -> Samples:
        """Checked, as vectors or as images."""
        x = drawings.x.reshape(-1, *self.task.features)
        return check_samples(replace(drawings, x=x), self.task, f"task {who.label}")


def _ink(images: np.ndarray) -> Float32[np.ndarray, "n 784"]:
    """Drawings as inputs from 0 to 1."""
    return images.reshape(-1, SIDE * SIDE).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=2)
def one_shot_runs(path: Path, written: int = 0) -> tuple[Samples, ...]:
    """The official one-shot runs: of each of 20 characters the drawing to learn from, then the one to classify.

    Raises:
        DataError: damaged, or imported without the runs.
    """
    data = read_npz(path, ("run_train", "run_test", "run_test_label"))
    found = []
    for learn, other, label in zip(data["run_train"], data["run_test"], data["run_test_label"], strict=True):
        x = _ink(np.stack([learn, other[np.argsort(label)]], 1))
        y, group = np.repeat(np.arange(20), 2), np.tile(np.arange(2), 20)
        found.append(Samples(x, y, group, np.zeros(len(x), bool)))
    return tuple(found)


@lru_cache(maxsize=2)
def pools(path: Path, written: int = 0) -> dict[str, CharacterPool]:
    """The characters of each subset, loaded once per process.

    A character that occurs in both subsets, as 50 do in the two published small background sets, stays in the
    first only: the subsets share no class.

    Raises:
        DataError: damaged, or a character lacks a drawing.
    """
    data = read_npz(path, ("x", "y", "drawer", "subset", "class_names"))
    taken: set[int] = set()
    result = {}
    for code, name in enumerate(SUBSETS, 1):
        mine = np.flatnonzero(data["subset"] == code)
        classes = [int(c) for c in np.unique(data["y"][mine]) if int(c) not in taken]
        taken.update(classes)
        rows = mine[np.isin(data["y"][mine], classes)]
        rows = rows[np.lexsort((data["drawer"][rows], data["y"][rows]))]
        drawers = len(np.unique(data["drawer"]))
        if len(rows) != len(classes) * drawers:
            raise DataError(
                f"{path}: {name} holds {len(rows)} drawings of {len(classes)} characters by {drawers} people"
            )
        images = data["x"][rows].reshape(len(classes), drawers, SIDE * SIDE)
        result[name] = CharacterPool(images, tuple(str(data["class_names"][c]) for c in classes))
    return result
