"""SecAgg+ in the place of one round trip: what comes out is a weighted sum, or a round given up.

Source: Bell, Bonawitz, Gascón, Lepoint and Raykova 2020, ePrint 2020/704, Algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from flwr.app import Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from jaxtyping import Int64

from metapulse.client.privacy import read_guard, secret
from metapulse.client.secure.quantise import (
    CLIPPED,
    MASKED_VECTORS,
    SET_UP,
    SHARE_KEYS,
    UNMASK,
    ZEROED,
    SumTerms,
    levels,
    room,
    session_purpose,
    weighted_total,
)
from metapulse.client.wire import ARRAYS, CONFIG, ROUND, RUN, decode, read_text
from metapulse.errors import ReplyError
from metapulse.rng import generator
from metapulse.server.config import Config
from metapulse.server.secure.masked import MaskedParties
from metapulse.server.secure.session import Parties, RoundSession
from metapulse.server.secure.sessions import SessionCounter
from metapulse.server.secure.unmasked import SummingEngine, UnmaskedParties
from metapulse.strategies.registry import STRATEGIES
from metapulse.strategies.replies import CLIENT_FAILED, Dropped, Replies, UpdateSum
from metapulse.strategies.secure import SecureSettings, check_size, check_step, make_ring
from metapulse.trees import Params


class SecureAggregation:
    """Sends what a strategy asks for through the protocol.

    Args:
        weighting: of updates, "samples" or "uniform".
        seed: of the run; addresses rounding, drawn drop-outs and, where devices are simulated, neighbours; no secret.
        timeout: longest wait for each round trip, seconds.
        sessions: counts those of a round.
        rate: of an outer step that is proportional to the mean update.
    """

    def __init__(
        self,
        settings: SecureSettings,
        weighting: Literal["samples", "uniform"],
        seed: int,
        grid: Grid,
        timeout: float,
        sessions: SessionCounter | None = None,
        rate: float = 1.0,
    ) -> None:
        self.settings, self.weighting, self.seed, self.rate = settings, weighting, seed, rate
        self._grid, self._timeout, self.sessions = grid, timeout, sessions or SessionCounter(None)

    def check(self, clients: int, theta: Params | None = None) -> None:
        """Refuse settings that do not give rounds of so many clients the security that is asked for, or drown θ.

        Args:
            clients: n, of a round.
            theta: θ_0; None: noise is added that is larger than any rounding.

        Raises:
            ConfigError: names the setting and the bound.
        """
        check_size(self.settings, clients)
        if theta is not None:
            check_step(self.settings, clients, theta, self.rate)

    def collect(self, content: RecordDict, nodes: Mapping[int, int]) -> Replies:
        """The weighted sum of a round's updates; where the round was given up, failures only, the last with client −1.

        Args:
            content: what clients are told: θ, round, work.
            nodes: partition id → node of the round's clients.

        Raises:
            ConfigError: so many clients, or so much noise, cannot be added up modulo 2^bits.
        """
        session = self._begin(content, nodes)
        try:
            total = run_stages(self._parties(session), session)
        except ReplyError as error:
            reason = str(error).split(":")[0] if _private(session) else str(error)  # who is there is private then
            given_up = f"round given up: secure aggregation: {reason}"
            return Replies(None, session.dropped, _failures(session), given_up=given_up)
        return Replies(None, session.dropped, _failures(session), total)

    def _begin(self, content: RecordDict, nodes: Mapping[int, int]) -> RoundSession:
        s, config = self.settings, content.config_records[CONFIG]
        round, guard = int(str(config[ROUND])), read_guard(config)
        attempt = self.sessions.begin(round)
        place = secret() if self.sessions.counted else self.seed  # of a circle that colluders cannot know beforehand
        ring = make_ring(s, sorted(nodes), generator(place, session_purpose("secure/ring", attempt), round))
        most = levels(max(1, len(nodes)), s.bits, guard.noise / s.range if guard else 0.0)
        largest = s.max_weight if self.weighting == "samples" else 1.0
        terms = SumTerms(
            self.seed,
            round,
            self.weighting,
            s.range,
            largest,
            s.bits,
            most,
            ring.threshold,
            s.dropout,
            attempt,
            noisy=guard is not None and guard.fresh,
        )
        if guard is not None:
            room(guard, terms, sum(math.prod(array.shape) for array in content.array_records[ARRAYS].values()))
        return RoundSession(terms, ring, nodes, content, f"{read_text(config, RUN)}/{round}/{attempt}")

    def _parties(self, session: RoundSession) -> Parties:
        if isinstance(self._grid, SummingEngine) and not self._grid.masks:
            return UnmaskedParties(session, self._grid)
        return MaskedParties(session, self._grid, self._timeout)


def make_secure(config: Config, grid: Grid, folder: Path) -> SecureAggregation:
    """The protocol of a configuration that has it on, for a run in a folder."""
    strategy = STRATEGIES.make(config.strategy)
    rate = strategy.lr if strategy.outer in ("sgd", "momentum") else 1.0
    sessions = SessionCounter(None if getattr(grid, "simulated", False) else folder)
    asked, timeout = config.secure_aggregation, config.engine.timeout_s
    return SecureAggregation(asked, strategy.weighting, config.run.seed, grid, timeout, sessions, rate)


def run_stages(parties: Parties, session: RoundSession) -> UpdateSum:
    """Stage after stage, as long as enough are left around every client whose masks are in the sum.

    Before there are any, those with too few around them are left out; after, nothing is opened unless all of the sum
    can be, and nothing smaller.

    Raises:
        ReplyError: too few are left, or what came out is no sum.
    """
    ring = session.ring
    alive = _surrounded(SET_UP, parties.set_up(sorted(session.nodes)), session)
    sharers = _surrounded(SHARE_KEYS, parties.share_keys(alive), session)
    senders = parties.masked_vectors(sharers)
    ring.must_hold(MASKED_VECTORS, sharers, senders)
    ring.must_hide(MASKED_VECTORS, senders)
    return _read(parties.unmask(senders, sharers), senders, session)


def _surrounded(stage: str, clients: list[int], session: RoundSession) -> list[int]:
    """Those who have enough around them; the others are dropped."""
    left = session.ring.surrounded(stage, clients)
    reason = f"{stage}: too few neighbours are left"
    session.dropped.extend(Dropped(c, reason) for c in clients if c not in set(left))
    return left


def _read(entries: Int64[np.ndarray, " entries"], senders: list[int], session: RoundSession) -> UpdateSum:
    """What a sum says, once it is one that these clients can have made; a wrong mask leaves noise of all sizes."""
    terms, most = session.terms, session.terms.levels * len(senders)
    least = most if terms.weighting == "uniform" else len(senders)
    noisy = _private(session)
    if not least <= entries[0] <= most or (abs(entries[1:]).max() > entries[0] and not noisy):
        raise ReplyError(f"{UNMASK}: the sum is none of such vectors as were agreed on")
    total, shares = weighted_total(entries, terms, decode(session.content.array_records[ARRAYS]))
    nobodys = torch.ones(len(senders), dtype=torch.float64)  # of no client alone
    shares_of = {
        "clipped": entries[1] / len(senders),
        CLIPPED: entries[2] / entries[0],
        ZEROED: entries[3] / entries[0],
    }
    metrics = {} if noisy else {name: nobodys * float(share) for name, share in shares_of.items()}
    return UpdateSum(senders, total, shares, nobodys * math.nan, metrics)


def _private(session: RoundSession) -> bool:
    return read_guard(session.content.config_records[CONFIG]) is not None


def _failures(session: RoundSession) -> Callable[[int], Message]:
    """The message of a client that was lost, for strategies that look at single messages."""

    def message(index: int) -> Message:
        one = session.dropped[index]
        asked = Message(session.content, session.nodes.get(one.client, 0), MessageType.TRAIN)
        return Message(Error(CLIENT_FAILED, one.reason), reply_to=asked)

    return message
