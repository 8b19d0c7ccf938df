"""One round of secure aggregation: who takes part on what terms, and what the parties can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from flwr.app import RecordDict
from jaxtyping import Int64

from metapulse.client.secure.quantise import SumTerms
from metapulse.strategies.replies import Dropped
from metapulse.strategies.ring import Ring


@dataclass(frozen=True)
class RoundSession:
    """Settings that the parties of one round share.

    Args:
        ring: who shares secrets with whom.
        nodes: partition id → node.
        content: the instruction that a round without secure aggregation would send: θ, round, work.
        identity: RUN/ROUND/ATTEMPT.
        dropped: who is lost on the way, and why.
    """

    terms: SumTerms
    ring: Ring
    nodes: Mapping[int, int]
    content: RecordDict
    identity: str
    dropped: list[Dropped] = field(default_factory=list)


@runtime_checkable
class Parties(Protocol):
    """The clients of a round; each call is a round trip."""

    def set_up(self, clients: list[int]) -> list[int]:
        """Fresh keys of ``clients``; those who gave some."""

    def share_keys(self, clients: list[int]) -> list[int]:
        """Shares of their secrets; those who gave them."""

    def masked_vectors(self, clients: list[int]) -> list[int]:
        """Training, and what is to be added up; those who gave a vector."""

    def unmask(self, senders: list[int], sharers: list[int]) -> Int64[np.ndarray, " entries"]:
        """The sum of the entries of ``senders``; the other ``sharers`` are gone, but their masks are in it.

        Raises:
            ReplyError: too few are left for that.
        """
