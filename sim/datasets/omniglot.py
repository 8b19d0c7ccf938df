"""Omniglot: from ``images_{background,evaluation}/Alphabet/characterNN/IDID_YY.png`` (YY = drawer) to N-way tasks.

The two small background sets (``images_background_small1`` and ``…small2``) stand in for them where they are all there
is. Images of 105 × 105 become 28 × 28 by averaging areas; ink is 255, paper 0. Pillow reads them (an extra:
``pip install 'metapulse[images]'``).

As a population, a user is a number, its two devices are a task of background and one of evaluation. The field's
protocol meta-trains on N-way tasks over the background characters and meta-tests on tasks over the evaluation
characters, which it never saw. Here that is the "new device" scenario: people who train hold a task of the
``background`` "device", people who are tested a task of the ``evaluation`` "device".

A third "device" has the official 20-way one-shot runs, ``one_shot_runs``: of every character one drawing to learn from,
and one by another person to classify. Their alphabets are in neither small background set.

Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from metapulse.data import Client, Samples, Task, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.rng import generator
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns, read_npz
from metapulse.sim.importers.files import FileTree, Progress, open_tree
from metapulse.sim.importers.images import read_grey, shrink
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Published

SIDE, SMALL = 105, 28
DRAWERS = 20
MAX_IMAGE = 64 << 10
SETS = {"images_background": 1, "images_evaluation": 2}
SMALL_SETS = {"images_background_small1": 1, "images_background_small2": 2}
SUBSETS = ("background", "evaluation")
RUNS = "runs"  # 20 of them, 20 characters each; run r is that of the users r, r + 20, …
_NAME = re.compile(
    r"(?:^|.*/)(?P<subset>images_\w+)/(?P<alphabet>[^/]+)/(?P<char>character\d+)/\w+_(?P<drawer>\d+)\.png"
)


def read_omniglot(path: Path, progress: Progress) -> dict[str, Any]:
    """A folder or zip with the image sets, unpacked or as zips themselves.

    Args:
        path: the folder or zip, or one of the sets alone.
        progress: called with (characters done, characters in all).

    Returns:
        Arrays of the compact file: x (n, 28, 28) uint8, y, alphabet, drawer 1 to 20, subset (1 background,
        2 evaluation), class_names, alphabet_names.

    Raises:
        DataError: no image there, a character without its 20 drawings, or an image that cannot be used.
    """
    with ExitStack() as stack:
        found = _characters(stack, stack.enter_context(open_tree(path)))
        chosen = SETS if any(subset in SETS for subset, _, _ in found) else SMALL_SETS
        keys = sorted((k for k in found if k[0] in chosen), key=lambda k: (chosen[k[0]], k[1], k[2]))
        if not keys:
            raise DataError(f"{path}: holds no image like images_background/Greek/character01/0394_01.png")
        names = sorted({f"{alphabet}/{character}" for _, alphabet, character in keys})
        alphabets = sorted({alphabet for _, alphabet, _ in keys})
        images = np.empty((len(keys) * DRAWERS, SMALL, SMALL), np.uint8)
        for number, key in enumerate(keys):
            images[number * DRAWERS : (number + 1) * DRAWERS] = _drawings(found[key], "/".join(key))
            progress(number + 1, len(keys))
    repeat = [(names.index(f"{a}/{c}"), alphabets.index(a), chosen[s]) for s, a, c in keys]
    y, alphabet, subset = (np.repeat(np.array(column), DRAWERS) for column in zip(*repeat, strict=True))
    return {
        "x": images,
        "y": y.astype(np.int64),
        "alphabet": alphabet.astype(np.int8),
        "drawer": np.tile(np.arange(1, DRAWERS + 1, dtype=np.int8), len(keys)),
        "subset": subset.astype(np.int8),
        "class_names": np.array(names),
        "alphabet_names": np.array(alphabets),
    }


_Found = dict[tuple[str, str, str], dict[int, tuple[FileTree, str]]]


def _characters(stack: ExitStack, tree: FileTree) -> _Found:
    """(subset, alphabet, character) → drawer → where its image is."""
    trees = [tree]
    for name in tree.match(".zip"):
        stem = name.rsplit("/", 1)[-1].removesuffix(".zip")
        if stem in SETS or stem in SMALL_SETS:
            trees.append(stack.enter_context(tree.inner(name)))
    # One set given alone: its own name is the folder's or the zip's, not part of the paths inside.
    own = re.search(r"(images_\w+?)(?:\.zip)?$", tree.label)
    found: _Found = {}
    for where in trees:
        for name in where.match(".png"):
            match = _NAME.fullmatch(name) or (own and _NAME.fullmatch(f"{own[1]}/{name}"))
            if match:
                key = (match["subset"], match["alphabet"], match["char"])
                found.setdefault(key, {})[int(match["drawer"])] = (where, name)
    return found


def _drawings(found: dict[int, tuple[FileTree, str]], label: str) -> UInt8[np.ndarray, "20 28 28"]:
    """The 20 drawings of one character, by drawer."""
    missing = sorted(set(range(1, DRAWERS + 1)) - set(found))
    if missing:
        raise DataError(
            f"{label}: lacks the drawing of drawer {missing[0]}; every character has drawers 1 to {DRAWERS}"
        )
    paper = [read_grey(tree.read(name, MAX_IMAGE), name, SIDE) for _, (tree, name) in sorted(found.items())][:DRAWERS]
    return shrink(255.0 - np.stack(paper), SMALL)


@dataclass(frozen=True)
class CharacterPool:
    """The drawings of one character set.

    Args:
        images: (characters, drawers, 784) uint8, ink = 255.
        names: "Alphabet/characterNN" of each character.
    """

    images: np.ndarray
    names: tuple[str, ...]


def _ink(images: np.ndarray) -> Float32[np.ndarray, "n 784"]:
    """Drawings as inputs from 0 to 1."""
    return images.reshape(-1, SMALL * SMALL).astype(np.float32) / np.float32(255)


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
        images = data["x"][rows].reshape(len(classes), drawers, SMALL * SMALL)
        result[name] = CharacterPool(images, tuple(str(data["class_names"][c]) for c in classes))
    return result


@dataclass(frozen=True)
class Omniglot(Published):
    """N-way tasks drawn lazily over handwritten characters: 20 drawings each, ink 1, paper 0.

    Task t of a subset is ``way`` different characters drawn at the address (seed, subset, t), each turned by its
    own quarter turns where ``rotations`` is set; labels 0 … way − 1 in the order drawn. Group = drawer. Of
    ``one_shot_runs`` the group is 0 for the drawing to learn from and 1 for the other: ``split = "forward"`` makes the
    official episode.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332; rotations: Santoro et al. 2016, arXiv 1605.06065.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="omniglot",
        title="handwritten characters of 50 alphabets, 20 drawings each, 28 × 28",
        citation="Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332, doi:10.1126/science.aab3050",
        devices="background, evaluation",
        licence="MIT",
        where="https://github.com/brendenlake/omniglot",
        layout="a folder with images_background and images_evaluation, unpacked or as .zip files",
        read=read_omniglot,
        prepared=("omniglot_small/omniglot_small.npz",),
    )

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
        shape = (1, SMALL, SMALL) if self.images else (SMALL * SMALL,)
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
        drawings = pool.images[chosen].reshape(self.way, -1, SMALL, SMALL)  # (way, drawers, 28, 28)
        turned = np.stack([np.rot90(d, k, (1, 2)) for d, k in zip(drawings, turns, strict=True)])
        drawers = turned.shape[1]
        y = np.repeat(np.arange(self.way, dtype=np.int64), drawers)
        group = np.tile(np.arange(drawers, dtype=np.int64), self.way)
        return self._shaped(Samples(_ink(turned), y, group, np.zeros(len(y), bool)), who)

    def _shaped(self, drawings: Samples, who: Client) -> Samples:
        """Checked, as vectors or as images."""
        x = drawings.x.reshape(-1, *self.task.features)
        return check_samples(replace(drawings, x=x), self.task, f"task {who.label}")
