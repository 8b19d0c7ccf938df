"""Randomness by address: every draw is named by (seed, purpose, round, client), never by its turn.

Philox is a counter-based generator, so the address is used literally: the key is a hash of (seed, purpose), and
round and client are the two high words of the counter. Streams of 2^128 draws never meet, none depends on another
having been drawn, and building one costs microseconds.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from metapulse.compiler import compiled

#: A page for each client.
Pages = Int64[np.ndarray, " clients"]
Words = UInt64[np.ndarray, " clients"]

SOURCE = Path(__file__).with_name("philox.c")

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
#: The two multipliers and the two key increments of Philox4x64.
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


@lru_cache(maxsize=4096)
def philox_key(seed: int, purpose: str) -> tuple[int, int]:
    """The part of an address that clients and rounds share: both words of Philox's key.

    Args:
        seed, purpose: as for ``generator``.
    """
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
    key = np.array(philox_key(seed, purpose), dtype=np.uint64)
    counter = np.array([0, 0, client, round], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def uniforms(
    seed: int, purpose: str, round: int, clients: Sequence[int] | Pages | Words, count: int, page: int | Pages = 0
) -> Float64[np.ndarray, "clients count"]:
    """The first ``count`` numbers in [0, 1) of every client's generator, all clients at once.

    Row i equals ``generator(seed, purpose, round, clients[i]).random(count)`` to the bit (for page 0).

    Args:
        seed, purpose, round: as for ``generator``.
        clients: the last part of each address.
        count: numbers per client, ≥ 0.
        page: numbered streams of the same address, for draws that are made again and again (epochs); one for all
            or one per client.
    """
    pages = np.ascontiguousarray(np.broadcast_to(np.asarray(page, dtype=np.uint64), len(clients)))
    addresses, key = np.asarray(clients, dtype=np.uint64), philox_key(seed, purpose)
    code = compiled(SOURCE)
    if code is None:
        return _uniforms(key, round, addresses, pages, count)
    numbers = np.empty((len(clients), count))
    words = [c_uint64(word) for word in (*key, round)]
    code.uniforms(*words, c_int64(len(clients)), _at(addresses), _at(pages), c_int64(count), _at(numbers))
    return numbers


def _at(array: np.ndarray) -> c_void_p:
    return c_void_p(array.ctypes.data)


def _uniforms(
    key: tuple[int, int], round: int, clients: Words, pages: Words, count: int
) -> Float64[np.ndarray, "clients count"]:
    """The same without a compiler."""
    blocks = -(-count // 4)
    shape = (len(clients), blocks)
    # NumPy's generator counts up before its first block.
    counter = [
        np.broadcast_to(np.arange(1, blocks + 1, dtype=np.uint64), shape),
        np.broadcast_to(pages[:, None], shape),
        np.broadcast_to(clients[:, None], shape),
        np.full(shape, round, dtype=np.uint64),
    ]
    words = np.stack(_philox(counter, key), 2).reshape(len(clients), 4 * blocks)
    return (words[:, :count] >> np.uint64(11)) * 2.0**-53


def _philox(
    counter: Sequence[UInt64[np.ndarray, "..."]], key: tuple[int, int]
) -> tuple[UInt64[np.ndarray, "..."], ...]:
    """Ten rounds of Philox4x64 on arrays of counters."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _wide_product(_MULTIPLIERS[0], c0)
        high1, low1 = _wide_product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + _WEYL[0]) % 2**64, (k1 + _WEYL[1]) % 2**64
    return c0, c1, c2, c3


def _wide_product(m: int, b: UInt64[np.ndarray, "..."]) -> tuple[UInt64[np.ndarray, "..."], UInt64[np.ndarray, "..."]]:
    """High and low words of m · b, from products of halves."""
    m_low, m_high = np.uint64(m & 0xFFFFFFFF), np.uint64(m >> 32)
    b_low, b_high = b & _LOW, b >> _HALF
    carry = ((b_low * m_low) >> _HALF) + b_low * m_high
    middle = b_high * m_low + (carry & _LOW)
    return b_high * m_high + (carry >> _HALF) + (middle >> _HALF), b * np.uint64(m)


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

    def uniforms(
        self, purpose: str, count: int, page: int | Pages = 0, at: Int64[np.ndarray, " rows"] | None = None
    ) -> Float64[np.ndarray, "rows count"]:
        """``count`` numbers in [0, 1) per row, see the function of the same name.

        Args:
            purpose: names the stream.
            count: numbers per row.
            page: of all rows, or of each.
            at: positions in the stack, one for each row; None: one row for every client, in stack order.
        """
        clients = np.asarray(self.clients, dtype=np.uint64)
        return uniforms(self.seed, purpose, self.round, clients if at is None else clients[at], count, page)

    def repeat(self, times: int) -> Keys:
        """The same clients, each standing for ``times`` consecutive entries of a wider stack.

        Entry j of client c gets the address c + (j << 40), so repeated entries draw different numbers.
        """
        return Keys(self.seed, self.round, [c + (j << 40) for c in self.clients for j in range(times)])


class RunKeys(Keys):
    """The keys of several runs in one round, run after run.

    Args:
        parts: of each run; all of the same round.
    """

    def __init__(self, parts: Sequence[Keys]) -> None:
        super().__init__(-1, parts[0].round, [client for part in parts for client in part.clients])
        object.__setattr__(self, "parts", tuple(parts))  # the base is frozen

    parts: tuple[Keys, ...]

    def generators(self, purpose: str) -> list[np.random.Generator]:
        """One generator per client of the stack, in stack order."""
        return [rng for part in self.parts for rng in part.generators(purpose)]

    def uniforms(
        self, purpose: str, count: int, page: int | Pages = 0, at: Int64[np.ndarray, " rows"] | None = None
    ) -> Float64[np.ndarray, "rows count"]:
        """``count`` numbers in [0, 1) per row; see ``Keys.uniforms``."""
        rows = np.arange(len(self.clients)) if at is None else at
        pages = np.broadcast_to(np.asarray(page, dtype=np.int64), len(rows))
        u, first = np.empty((len(rows), count)), 0
        for part in self.parts:
            own = np.flatnonzero((rows >= first) & (rows < first + len(part.clients)))
            if len(own):
                u[own] = part.uniforms(purpose, count, pages[own], rows[own] - first)
            first += len(part.clients)
        return u

    def repeat(self, times: int) -> RunKeys:
        """The same clients, each standing for ``times`` consecutive entries of a wider stack."""
        return RunKeys([part.repeat(times) for part in self.parts])
