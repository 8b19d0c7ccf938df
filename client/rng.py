"""Randomness by address: every draw is named by (seed, purpose, round, client), never by its turn.

Philox is a counter-based generator, so the address is used literally: the key is a hash of (seed, purpose), and
round and client are the two high words of the counter. Streams of 2^128 draws never meet, none depends on another
having been drawn, and building one costs microseconds.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np


@lru_cache(maxsize=4096)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    digest = blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def generator(seed: int, purpose: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """The generator at one address.

    Args:
        seed: the run's seed, any integer ≥ 0.
        purpose: what is drawn, for example "episode" or "init"; a different purpose is a different stream.
        round: federated round, ≥ 0 (0: outside any round).
        client: partition id of the client, ≥ 0 (0: the server).

    Returns:
        A fresh numpy generator; two calls with the same address give the same numbers.
    """
    key = np.array(_key(seed, purpose), dtype=np.uint64)
    counter = np.array([0, 0, client, round], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclass(frozen=True)
class Keys:
    """The addresses of a stack of clients in one round; what a learner gets instead of a generator.

    Nothing is drawn until a learner asks, so learners that need no randomness pay nothing for it.
    """

    seed: int
    round: int
    clients: Sequence[int]

    def generators(self, purpose: str) -> list[np.random.Generator]:
        """One generator per client of the stack, in stack order."""
        return [generator(self.seed, purpose, self.round, client) for client in self.clients]

    def repeat(self, times: int) -> Keys:
        """The same clients, each standing for ``times`` consecutive entries of a wider stack.

        Entry j of client c gets the address c + (j << 40), so repeated entries draw different numbers.
        """
        return Keys(self.seed, self.round, [c + (j << 40) for c in self.clients for j in range(times)])
