"""The protocol with real parties: four round trips, in which every answer is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from jaxtyping import Int64

from metapulse.client.flower_compat import combine_shares, public_key_to_bytes
from metapulse.client.secure.device import (
    ALIVE,
    AROUND,
    GONE,
    KEYS,
    OWNERS,
    PRINTS,
    SEALED,
    SECURE,
    SENDERS,
    SESSION,
    SHARES,
    STAGE,
    TERMS,
    share_fingerprint,
)
from metapulse.client.secure.masks import SCALAR, SEED, Residues, expand_key, pairwise, private_key, public_key
from metapulse.client.secure.quantise import ENTRIES, HEAD, MASKED_VECTORS, SET_UP, SHARE_KEYS, UNMASK, unwrap, wrap
from metapulse.client.wire import ARRAYS, CONFIG, decode_like
from metapulse.errors import ReplyError
from metapulse.server.secure.session import RoundSession
from metapulse.settings import plain
from metapulse.strategies.replies import Dropped, sift

T = TypeVar("T")
LONGEST = 1024  # bytes of a key, a share, or a sealed pair of shares


class MaskedParties:
    """Parties behind a grid.

    Args:
        timeout: longest wait for a round trip, seconds.
    """

    def __init__(self, session: RoundSession, grid: Grid, timeout: float) -> None:
        self._session, self._grid, self._timeout = session, grid, timeout
        self._keys: dict[int, list[bytes]] = {}
        self._around: dict[int, list[int]] = {}  # to whom each client's shares went
        self._prints: dict[int, list[bytes]] = {}
        self._sealed: dict[int, dict[int, bytes]] = {}  # by receiver and sender
        self._sum: Residues = wrap(np.zeros(0, dtype=np.int64), session.terms.bits)

    def set_up(self, clients: list[int]) -> list[int]:
        """Two public keys of each."""

        def read(client: int, message: Message) -> list[bytes]:
            keys = read_bytes(message, KEYS, 2)
            for key in keys:
                public_key(key)
            return keys

        self._keys = self._ask(SET_UP, {c: {} for c in clients}, read)
        return list(self._keys)

    def share_keys(self, clients: list[int]) -> list[int]:
        """Each client gets the neighbours' keys and gives a sealed pair of shares for each of them."""
        present = set(clients)
        self._around = {c: self._session.ring.around(c, present) for c in clients}
        told = {
            c: {AROUND: around, KEYS: [key for one in around for key in self._keys[one]]}
            for c, around in self._around.items()
        }

        def read(client: int, message: Message) -> tuple[list[bytes], list[bytes]]:
            n = len(self._around[client])
            return read_bytes(message, SEALED, n - 1), read_bytes(message, PRINTS, 2 * n)

        given = self._ask(SHARE_KEYS, told, read)
        for sender, (sealed, prints) in given.items():
            others = [c for c in self._around[sender] if c != sender]
            self._prints[sender] = prints
            for receiver, parcel in zip(others, sealed, strict=True):
                self._sealed.setdefault(receiver, {})[sender] = parcel
        return list(given)

    def masked_vectors(self, clients: list[int]) -> list[int]:
        """Each client gets the sealed shares, trains, and gives its masked entries; only their sum is kept."""
        theta, bits = self._session.content.array_records[ARRAYS], self._session.terms.bits
        size = HEAD + sum(int(np.prod(array.shape)) for array in theta.values())
        like = {ENTRIES: torch.from_numpy(wrap(np.zeros(size, dtype=np.int64), bits))}
        told, present = {}, set(clients)
        for c in clients:
            parcels = {sender: p for sender, p in sorted(self._sealed.get(c, {}).items()) if sender in present}
            told[c] = {SENDERS: list(parcels), SEALED: list(parcels.values())}

        def read(client: int, message: Message) -> Residues:
            return decode_like(message.content.array_records.get(ARRAYS, ArrayRecord()), like)[ENTRIES].numpy()

        vectors = self._ask(MASKED_VECTORS, told, read)
        self._sum = like[ENTRIES].numpy() + sum(vectors.values())
        return list(vectors)

    def unmask(self, senders: list[int], sharers: list[int]) -> Int64[np.ndarray, " entries"]:
        """Each client gives, of each neighbour, a share of the one secret that is to be opened."""
        ring, alive = self._session.ring, set(senders)
        gone = set(sharers) - alive
        told = {c: {ALIVE: ring.around(c, alive), GONE: ring.around(c, gone)} for c in senders}
        given = self._ask(UNMASK, told, lambda c, message: self._read_shares(c, message, told[c]))
        ring.must_hold(UNMASK, sharers, given)
        shares: dict[int, list[bytes]] = {owner: [] for owner in sharers}
        for held in given.values():
            for owner, share in held.items():
                shares[owner].append(share)
        for owner in senders:
            self._sum -= expand_key(self._open(owner, shares[owner], SEED), len(self._sum), self._session.terms.bits)
        for owner in sorted(gone):
            self._sum -= self._leftover(owner, shares[owner], alive)
        return unwrap(self._sum)

    def _ask(
        self, stage: str, told: Mapping[int, Mapping[str, Any]], read: Callable[[int, Message], T]
    ) -> dict[int, T]:
        """One round trip: what each client answered, by partition id ascending; the others are named."""
        session, content = self._session, self._session.content
        common = {STAGE: stage, SESSION: session.identity, TERMS: json.dumps(plain(session.terms))}
        messages = []
        for client, own in told.items():
            record = RecordDict({SECURE: ConfigRecord({**common, **own})})
            if stage == MASKED_VECTORS:
                record[ARRAYS], record[CONFIG] = content.array_records[ARRAYS], content.config_records[CONFIG]
            messages.append(Message(record, session.nodes[client], MessageType.TRAIN))
        replies = self._grid.send_and_receive(messages, timeout=self._timeout)
        accepted, dropped = sift(replies, {session.nodes[c]: c for c in told}, read)
        session.dropped.extend(Dropped(one.client, f"{stage}: {one.reason}") for one in dropped)
        return accepted

    def _read_shares(self, client: int, message: Message, told: Mapping[str, list[int]]) -> dict[int, bytes]:
        """A share for each owner, each the one that its owner gave this client."""
        record = secure_record(message)
        said, asked = record.get(OWNERS), {*told[ALIVE], *told[GONE]}
        owners = [c for c in said if isinstance(c, int) and c in asked] if isinstance(said, list) else []
        if owners != said:
            raise ReplyError("shares of others than were asked for")
        shares = read_bytes(message, SHARES, len(owners))
        for owner, share in zip(owners, shares, strict=True):
            place = 2 * self._around[owner].index(client) + (owner in told[GONE])
            if share_fingerprint(share) != self._prints[owner][place]:
                raise ReplyError(f"its share of client {owner} is not the one that it was given")
        return dict(zip(owners, shares, strict=True))

    def _open(self, owner: int, shares: list[bytes], size: int) -> bytes:
        needed = self._session.terms.threshold
        if len(shares) < needed:
            raise ReplyError(f"{UNMASK}: {len(shares)} shares of client {owner}, {needed} are needed")
        try:
            secret = combine_shares(shares[:needed])
        except ValueError:
            secret = b""
        if len(secret) != size:
            raise ReplyError(f"{UNMASK}: the shares that client {owner} gave are of no secret")
        return secret

    def _leftover(self, owner: int, shares: list[bytes], senders: set[int]) -> Residues:
        """What the vectors of a lost client's neighbours still hold of its masks."""
        key = private_key(self._open(owner, shares, SCALAR))
        if public_key_to_bytes(key.public_key()) != self._keys[owner][0]:
            raise ReplyError(f"{UNMASK}: the shares that client {owner} gave are of another key")
        left: Residues = self._sum * 0
        for other in self._session.ring.around(owner, senders):
            left = left - pairwise(key, owner, self._keys[other][0], other, len(left), self._session.terms.bits)
        return left


def secure_record(message: Message) -> ConfigRecord:
    """What a client says in a round trip.

    Raises:
        ReplyError: it says something else.
    """
    if list(message.content.config_records) != [SECURE]:
        raise ReplyError(f"an answer has one configuration record {SECURE!r}")
    return message.content.config_records[SECURE]


def read_bytes(message: Message, key: str, count: int) -> list[bytes]:
    """``count`` short strings of bytes out of an answer.

    Raises:
        ReplyError: they are not there, or too many, or too long.
    """
    found = secure_record(message).get(key)
    if not isinstance(found, list) or len(found) != count:
        raise ReplyError(f"{key!r} is no list of {count}")
    parts = [part for part in found if isinstance(part, bytes) and len(part) <= LONGEST]
    if len(parts) < count:
        raise ReplyError(f"{key!r} holds something else than at most {LONGEST} bytes")
    return parts
