"""One round of secure aggregation on the cohort engine, its server's side recorded and its messages tampered with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from metapulse.client.executor import ClientExecutor
from metapulse.client.secure.device import SECURE, STAGE
from metapulse.client.spec import to_json
from metapulse.client.wire import ARRAYS, CONFIG, ROUND, RUN, WORK, encode
from metapulse.server.grid import GridWrapper
from metapulse.server.secure.aggregation import SecureAggregation
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.replies import Replies
from metapulse.strategies.secure import SecureSettings
from tests.runs import CLIENTS, make

CONFIGURATION = make("maml", "fedmaml", "sine")
EVERYONE = list(range(CLIENTS))
NODES = {c: c + FIRST_NODE for c in EVERYONE}

#: Changes an answer on its way to the server: (stage, client, message) → message, or None for silence.
Tamper = Callable[[str, int, Message], Message | None]


@dataclass
class Recording(GridWrapper):
    """Everything the server sends and gets, and a hand in between."""

    grid: CohortGrid
    tamper: Tamper = lambda stage, client, message: message
    sent: list[Message] = field(default_factory=list)
    got: list[tuple[str, int, Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.grid)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        asked = list(messages)
        self.sent += asked
        replies = []
        for reply in self.grid.send_and_receive(asked, timeout=timeout):
            stage, client = str(asked[0].content.config_records[SECURE][STAGE]), reply.metadata.src_node_id - FIRST_NODE
            changed = self.tamper(stage, client, reply)
            if changed is not None:
                self.got.append((stage, client, changed))
                replies.append(changed)
        return replies

    def vectors(self) -> dict[int, np.ndarray]:
        """What each client sent in the third stage."""
        return {c: m.content.array_records[ARRAYS]["entries"].numpy() for s, c, m in self.got if s == "masked vectors"}


def content(round: int = 1, **extra: Any) -> RecordDict:
    """The instruction of a round without secure aggregation."""
    spec = CONFIGURATION.client_config()
    record = ConfigRecord({ROUND: round, WORK: to_json(spec), RUN: "abc", **extra})
    return RecordDict({ARRAYS: encode(ClientExecutor(spec).init()), CONFIG: record})


def silent(*lost: tuple[str, int]) -> Tamper:
    """Clients that do not answer at a stage."""
    return lambda stage, client, message: None if (stage, client) in lost else message


def collect(grid: Any, settings: SecureSettings, weighting: Any = "samples", **extra: Any) -> Replies:
    """One round of all clients."""
    return SecureAggregation(settings, weighting, 5, grid, 60.0).collect(content(**extra), NODES)
