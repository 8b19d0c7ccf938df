"""A cache of clients' samples in two arrays, from which a round takes a whole stack in one gather."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Part, stack_batches

BUDGET = 256 * 2**20  # bytes a process keeps; when they are used up, the cache is cleared and filled anew


class SampleCache:
    """All samples of many clients, one behind the other in two arrays.

    Args:
        budget: bytes it may hold.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._where: dict[int, tuple[int, int]] = {}  # client → first row, rows
        self._used = 0  # rows, of which the first is zeros: what padding is
        self._x, self._y = torch.empty(0), torch.empty(0)

    def gather(self, clients: Sequence[int], load: Callable[[int], Part]) -> Batch:
        """The samples of a stack, padded and masked as ``stack_batches`` does it; good until the next call.

        Args:
            clients: partition ids, at least one.
            load: gives (x, y) of a client that is not here yet; what it raises comes through.
        """
        new = {c: load(c) for c in clients if c not in self._where}
        if not self._store(new):
            self._where, self._used = {}, 0
            everyone = {c: new[c] if c in new else load(c) for c in clients}
            if not self._store(everyone):  # too much for any cache
                return stack_batches([everyone[c] for c in clients])
        places = np.array([self._where[c] for c in clients])
        first, n = places[:, :1], places[:, 1:]
        longest = int(n.max())
        if n.min() == longest and (np.diff(first[:, 0]) == longest).all():  # side by side already: no copy
            start, shape = int(first[0, 0]), (len(n), longest)
            x, y = (p[start : start + len(n) * longest].view(*shape, *p.shape[1:]) for p in (self._x, self._y))
            return Batch(x, y, torch.ones(shape))
        column = np.arange(longest)
        there = column < n
        rows = torch.from_numpy(np.where(there, first + column, 0)).flatten()
        x, y = (part.index_select(0, rows).view(len(n), longest, *part.shape[1:]) for part in (self._x, self._y))
        return Batch(x, y, torch.from_numpy(there.astype(np.float32)))

    def _store(self, parts: dict[int, Part]) -> bool:
        """Put clients into the cache; False if there is no room for them."""
        if not parts:
            return True
        rows = max(self._used, 1) + sum(len(x) for x, _ in parts.values())
        x, y = next(iter(parts.values()))
        each = x[:0].itemsize * int(np.prod(x.shape[1:])) + y[:0].itemsize * int(np.prod(y.shape[1:]))
        if rows * each > self._budget:
            return False
        if rows > len(self._x):
            # One client's device stays with what it needs. Of the rest, memory that is not written yet costs nothing,
            # and what is there need not be copied again and again as clients come.
            room = self._budget // each if self._used else rows
            self._x = _grown(self._x, self._used, room, torch.from_numpy(x))
            self._y = _grown(self._y, self._used, room, torch.from_numpy(y))
        if not self._used:
            self._x[0], self._y[0], self._used = 0, 0, 1
        for client, (own_x, own_y) in parts.items():
            end = self._used + len(own_x)
            self._x[self._used : end], self._y[self._used : end] = torch.from_numpy(own_x), torch.from_numpy(own_y)
            self._where[client] = (self._used, len(own_x))
            self._used = end
        return True


def _grown(old: Tensor, used: int, rows: int, like: Tensor) -> Tensor:
    new = like.new_empty((rows, *like.shape[1:]))
    if used:
        new[:used] = old[:used]
    return new
