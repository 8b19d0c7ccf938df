"""What the devices of a simulation keep between rounds: an array per name, with a row for every client that has any.

The arrays are mapped files without a name, which give way to some of twice the size when they are full: what is not in
use is on disk, not in memory, and a process that is killed leaves nothing behind. In memory stay two integers per
client that has been in a round (some 200 bytes), and the states of the clients that are asked at the moment.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor

from metapulse.errors import EngineError, RunError
from metapulse.files import replace_with
from metapulse.trees import Stacked

INDEX, ARRAYS = "clients.npy", "arrays"
BLOCK = 4096  # rows copied at once when a checkpoint is read


class DeviceStates:
    """Rows of states, addressed by partition id.

    Args:
        folder: where the mapped files are put (None: the system's place for temporary files); it need not exist yet.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._row: dict[int, int] = {}  # partition id → row, in order of arrival
        self._arrays: dict[str, np.ndarray] = {}

    def of(self, clients: Sequence[int]) -> dict[int, dict[str, Tensor]]:
        """What each of these clients kept; those that kept nothing are left out."""
        rows = {c: self._row[c] for c in clients if c in self._row}
        return {
            c: {name: torch.from_numpy(np.array(array[row])) for name, array in self._arrays.items()}
            for c, row in rows.items()
        }

    def keep(self, clients: Sequence[int], state: Stacked) -> None:
        """From now on these clients keep these states, (clients, *shape) per name.

        Raises:
            EngineError: there is no room on the disk, or the names differ from those before.
        """
        if not clients:
            return
        if self._arrays and set(state) != set(self._arrays):
            raise EngineError(f"devices keep {sorted(self._arrays)}, not {sorted(state)}")
        rows = [self._row.setdefault(c, len(self._row)) for c in clients]
        for name, p in state.items():
            values = p.detach().cpu().numpy()
            self._room(name, values)[rows] = values

    def _room(self, name: str, values: np.ndarray) -> np.ndarray:
        """The array of a name, with room for every client."""
        held = self._arrays.get(name, values[:0])
        if len(held) < len(self._row):
            shape = (max(len(self._row), 2 * len(held)), *values.shape[1:])
            try:
                with tempfile.TemporaryFile(
                    dir=self._folder
                ) as file:  # a mapped file outlives its name and its closing
                    _reserve(file, max(math.prod(shape) * values.itemsize, 1))
                    larger = np.memmap(file, values.dtype, "r+", shape=shape)
            except OSError as error:
                raise EngineError(f"no room for what devices keep: {error.strerror or error}") from None
            larger[: len(held)] = held
            self._arrays[name] = larger
        return self._arrays[name]

    def save(self, folder: Path) -> None:
        """Write the partition ids and the arrays, row by row theirs, into a new folder; nothing if there are none.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        if not self._row:
            return
        (folder / ARRAYS).mkdir(parents=True)
        clients = np.fromiter(self._row, np.int64, len(self._row))
        replace_with(folder / INDEX, lambda stream: np.save(stream, clients, allow_pickle=False))
        for name, array in self._arrays.items():
            rows = array[: len(clients)]
            path = folder / ARRAYS / f"{quote(name, safe='')}.npy"
            replace_with(path, lambda stream, rows=rows: np.save(stream, rows, allow_pickle=False))

    def load(self, folder: Path) -> None:
        """Keep what ``save`` wrote, and nothing else; nothing at all if there is no such folder.

        Raises:
            RunError: it is damaged.
        """
        self.close()
        if not folder.is_dir():
            return
        try:
            clients = np.load(folder / INDEX, allow_pickle=False).tolist()
            arrays = {
                unquote(path.stem): np.load(path, mmap_mode="r", allow_pickle=False)
                for path in sorted((folder / ARRAYS).glob("*.npy"))
            }
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{folder} cannot be read: {error}") from None
        if not arrays or any(len(array) != len(clients) for array in arrays.values()):
            raise RunError(f"{folder} is damaged: its arrays do not have one row for each of {len(clients)} clients")
        for i in range(0, len(clients), BLOCK):
            state = {name: torch.from_numpy(np.array(array[i : i + BLOCK])) for name, array in arrays.items()}
            self.keep(clients[i : i + BLOCK], state)

    def close(self) -> None:
        """Forget everything."""
        self._row.clear()
        self._arrays.clear()


def _reserve(file: IO[bytes], size: int) -> None:
    """Make a file this long, and take the room for it now: a full disk is an error here, and a crash later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        os.truncate(file.fileno(), size)
