"""What the published data sets in ``sim/datasets/`` share.

A client is one person wearing one device. Nothing is normalised here: that is fitted per episode, on support data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from metapulse.data import Outline, Task
from metapulse.errors import DataError
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns, read_npz
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.table import InMemoryData, InMemorySource, SampleTable


@dataclass(frozen=True)
class Published:
    """A published data set in its compact file, as given, else where it was imported to."""

    dataset: ClassVar[Dataset]

    path: str = setting("", "compact file to read; empty: the cache, then METAPULSE_DATA")

    def files(self) -> Mapping[str, Path]:
        """The compact file.

        Raises:
            DataError: not imported yet, or no such file.
        """
        return {"path": Path(self.path).expanduser() if self.path else self.dataset.require()}


@dataclass(frozen=True)
class Recorded(Published, InMemorySource):
    """One that is held in memory; a subclass says how its compact file becomes a table of clients."""

    outline: ClassVar[Outline]

    def load_data(self) -> InMemoryData:
        """The data in memory, loaded once per process."""
        path = self.files()["path"]
        return _loaded(self, path, modified_ns(path))

    def read_compact(self, path: Path) -> InMemoryData:
        """The compact file as clients with their samples.

        Raises:
            DataError: damaged, or lacking what the settings ask for.
        """
        raise NotImplementedError


@lru_cache(maxsize=8)  # kept by path and by when it was written: an import in between is seen
def _loaded(source: Recorded, path: Path, written: int) -> InMemoryData:
    return source.read_compact(path)


def read_columns(path: Path, *required: str) -> dict[str, np.ndarray]:
    """The arrays of a compact file of labelled samples; per-sample arrays must agree in length.

    Args:
        path: the compact file.
        required: arrays that must be there besides x, y, user and label_names; per sample, but for ``…_names``.

    Raises:
        DataError: damaged, an array is missing, lengths differ, or there are no samples.
    """
    data = read_npz(path, ("x", "y", "user", "label_names", *required))
    n = len(data["x"])
    wrong = [k for k in ("user", *required) if not k.endswith("_names") and len(data[k]) != n]
    if wrong or len(data["y"]) != n or n == 0:
        raise DataError(f"{path}: x holds {n} samples; y, {', '.join(wrong) or 'user'} must hold as many, at least 1")
    return data


def labelled_table(
    data: Mapping[str, np.ndarray], group: Int[np.ndarray, " n"], devices: tuple[str, ...], **more: Any
) -> SampleTable:
    """Labelled samples as a table of clients; people keep the publisher's numbers as their names.

    Args:
        data: x, y, user, device and label_names.
        group: as in ``metapulse.data.Samples``.
        devices: the publisher's name of each device code.
        more: as for ``SampleTable.of``.
    """
    labels = as_names(data["label_names"])
    task = Task("classification", data["x"].shape[1:], len(labels), labels)
    people, user = np.unique(data["user"], return_inverse=True)
    ours, names = [device_name(name) for name in devices], [str(p) for p in people]
    return SampleTable.of(task, data["x"], data["y"], user, data["device"], group, names, ours, **more)


def device_name(name: str) -> str:
    """A publisher's device name as ours: the model after an underscore goes, blanks become underscores."""
    kind = name.split("_")[0] if name.startswith(("phone", "watch")) else name
    return kind.lower().replace(" ", "_")


def as_names(column: np.ndarray) -> tuple[str, ...]:
    """An array of texts as names."""
    return tuple(str(name) for name in column)
