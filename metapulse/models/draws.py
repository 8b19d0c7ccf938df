"""Draws inside a module in training mode (dropout and the like), at addresses: (seed, round, client, call).

PyTorch draws them from one global generator. So each client's call is made by itself under a seed of its own, and the
numbers do not depend on who else is in the stack, on the engine, or on how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from jaxtyping import UInt64

from metapulse.rng import Keys

STEP = 0x9E3779B97F4A7C15  # odd: seeds of successive calls of one client are all different


class Draws:
    """Seeds for the calls of one piece of work.

    Args:
        keys: addresses of the stack's clients.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys, self._calls = keys, 0
        self._first: UInt64[np.ndarray, " clients"] | None = None

    def seeds(self, clients: int) -> list[int]:
        """A seed for each client of a stack, other ones in every call; a stack of several copies has one for each."""
        if self._first is None:
            words = [rng.integers(2**63, dtype=np.uint64) for rng in self._keys.generators("module")]
            self._first = np.array(words, dtype=np.uint64)
        copies, rest = divmod(clients, len(self._first))
        if rest:
            raise ValueError(f"a stack of {clients} for {len(self._first)} addresses")
        first = np.concatenate([self._first + np.uint64((copy << 48) % 2**64) for copy in range(copies)])
        call = np.uint64((self._calls * STEP) % 2**64)
        self._calls += 1
        seeds: list[int] = ((first + call) >> np.uint64(1)).tolist()
        return seeds


_CURRENT: ContextVar[Draws | None] = ContextVar("draws", default=None)


@contextmanager
def drawing(keys: Keys) -> Iterator[None]:
    """Inside, modules in training mode draw at the addresses of these clients."""
    token = _CURRENT.set(Draws(keys))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def seeds(clients: int) -> list[int]:
    """A seed for each client of a stack; outside ``drawing`` the same in every call."""
    current = _CURRENT.get()
    return (current or Draws(Keys(0, 0, range(clients)))).seeds(clients)
