"""A cache of clients' samples in two arrays, from which a round takes a whole stack in one gather."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Part, equal_batch, stack_batches

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
        self._lengths = set[int]()  # numbers of rows that occur
        self._x, self._y = torch.empty(0), torch.empty(0)
        self._blocks: tuple[Tensor, Tensor] | None = None  # client by client, where all have equally many rows

    def gather(self, clients: Sequence[int], load: Callable[[int], Part]) -> Batch:
        """The samples of a stack, padded and masked as ``stack_batches`` does it; good until the next call.

        Args:
            clients: partition ids, at least one.
            load: gives (x, y) of a client that is not here yet; what it raises comes through.
        """
        new = {c: load(c) for c in clients if c not in self._where}
        if not self._store(new):
            self._where, self._used, self._lengths = {}, 0, set()
            everyone = {c: new[c] if c in new else load(c) for c in clients}
            if not self._store(everyone):  # too much for any cache
                return stack_batches([everyone[c] for c in clients])
        places = [self._where[c] for c in clients]
        lengths = [rows for _, rows in places]
        longest = max(lengths)
        if min(lengths) == longest:
            return self._alike([first for first, _ in places], longest)
        first, n = (np.array(part)[:, None] for part in zip(*places, strict=True))
        column = np.arange(longest)
        there = column < n
        rows = torch.from_numpy(np.where(there, first + column, 0)).flatten()
        x, y = (part.index_select(0, rows).view(len(n), longest, *part.shape[1:]) for part in (self._x, self._y))
        return Batch(x, y, torch.from_numpy(there.astype(np.float32)))

    def _alike(self, first: list[int], rows: int) -> Batch:
        """The samples of clients with equally many rows, each from its first one on."""
        shape, start = (len(first), rows), first[0]
        if first == list(range(start, start + len(first) * rows, rows)):  # side by side already: no copy
            x, y = (p[start : start + len(first) * rows].view(*shape, *p.shape[1:]) for p in (self._x, self._y))
            return equal_batch(x, y)
        if self._blocks is not None:
            place = torch.tensor([(one - 1) // rows for one in first])
            return equal_batch(self._blocks[0].index_select(0, place), self._blocks[1].index_select(0, place))
        index = (torch.tensor(first).unsqueeze(1) + torch.arange(rows)).flatten()
        x, y = (part.index_select(0, index).view(*shape, *part.shape[1:]) for part in (self._x, self._y))
        return equal_batch(x, y)

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
        self._lengths |= {len(x) for x, _ in parts.values()}
        self._blocks = self._by_client() if len(self._lengths) == 1 and 0 not in self._lengths else None
        return True

    def _by_client(self) -> tuple[Tensor, Tensor]:
        """All rows, which are equally many of each client: (clients, rows, …)."""
        shape = len(self._where), *self._lengths
        x, y = (part[1 : self._used].view(*shape, *part.shape[1:]) for part in (self._x, self._y))
        return x, y


def _grown(old: Tensor, used: int, rows: int, like: Tensor) -> Tensor:
    new = like.new_empty((rows, *like.shape[1:]))
    if used:
        new[:used] = old[:used]
    return new
