"""One round on the cohort engine, asked as a server asks it, and replies held to the same bits."""

from __future__ import annotations

import torch
from flwr.app import ConfigRecord, Message, RecordDict

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import to_json
from metapulse.client.wire import ARRAYS, CONFIG, ROUND, WORK, encode
from metapulse.server.config import Config
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.replies import Replies
from tests.runs import CLIENTS

EVERYONE = list(range(CLIENTS))


def instructions(config: Config, clients: list[int] = EVERYONE, kind: str = "train", **extra: str) -> list[Message]:
    """One round's messages, sharing one content."""
    work = ClientExecutor(config.client_config())
    record = ConfigRecord({ROUND: 1, WORK: to_json(config.client_config()), **extra})
    content = RecordDict({ARRAYS: encode(work.init()), CONFIG: record})
    return [Message(content, client + FIRST_NODE, kind) for client in clients]


def answer(config: Config, chunk: int = 50, pool: object = None, **options) -> Replies:
    """All clients' replies."""
    grid = CohortGrid(CLIENTS, pool, chunk)
    replies = grid.send_and_receive(instructions(config, **options))
    assert isinstance(replies, Replies)
    return replies


def same_bits(a: Replies, b: Replies) -> None:
    assert a.stack.clients == b.stack.clients
    for name, update in a.stack.update.items():
        assert torch.equal(update, b.stack.update[name])
    assert torch.equal(a.stack.weight, b.stack.weight)
    assert all(torch.equal(a.stack.metrics[name], b.stack.metrics[name]) for name in a.stack.metrics)
