"""The protocol without masks on an engine that holds every client: same entries, same drop-outs, same sum."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from flwr.app import RecordDict
from jaxtyping import Int64

from metapulse.client.secure.quantise import (
    ENTRIES,
    MASKED_VECTORS,
    SET_UP,
    SHARE_KEYS,
    STAGES,
    UNMASK,
    SumTerms,
    dropout_stages,
    refusal,
)
from metapulse.server.secure.session import RoundSession
from metapulse.strategies.replies import Dropped, UpdateSum


@runtime_checkable
class SummingEngine(Protocol):
    """An engine that can add up its clients' entries where they are."""

    masks: bool

    def add_up(
        self, content: RecordDict, clients: list[int], terms: SumTerms
    ) -> tuple[UpdateSum | None, list[Dropped]]:
        """The sum of the entries of those who could train, and who could not."""


class UnmaskedParties:
    """Parties whose drop-outs are drawn here, as devices draw them.

    Args:
        engine: holds the clients.
    """

    def __init__(self, session: RoundSession, engine: SummingEngine) -> None:
        self._session, self._engine = session, engine
        self._sum: Int64[np.ndarray, " entries"] = np.zeros(0, dtype=np.int64)

    def set_up(self, clients: list[int]) -> list[int]:
        """Those who are not lost."""
        return self._left(SET_UP, clients)

    def share_keys(self, clients: list[int]) -> list[int]:
        """Those who are not lost."""
        return self._left(SHARE_KEYS, clients)

    def masked_vectors(self, clients: list[int]) -> list[int]:
        """Those who are not lost and could train."""
        session, asked = self._session, self._left(MASKED_VECTORS, clients)
        total, failures = self._engine.add_up(session.content, asked, session.terms)
        session.dropped.extend(Dropped(one.client, f"{MASKED_VECTORS}: {one.reason}") for one in failures)
        if total is None:
            return []
        self._sum = total.total[ENTRIES].numpy().astype(np.int64)  # float64 holds every sum of 32 bits
        return total.clients

    def unmask(self, senders: list[int], sharers: list[int]) -> Int64[np.ndarray, " entries"]:
        """The sum, if as many are left as it would take."""
        self._session.ring.must_hold(UNMASK, sharers, self._left(UNMASK, senders))
        return self._sum

    def _left(self, stage: str, clients: list[int]) -> list[int]:
        terms = self._session.terms
        stages = dropout_stages(terms, clients)
        gone = {c for c, at in zip(clients, stages.tolist(), strict=True) if at == STAGES.index(stage)}
        self._session.dropped.extend(Dropped(c, f"{stage}: {refusal(terms, c)}") for c in sorted(gone))
        return [c for c in clients if c not in gone]
