"""A grid whose nodes answer at once, each through the ClientApp, as Flower would call it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from metapulse.client.app import app as client_app
from metapulse.client.flower_compat import NodeInfo, Run
from metapulse.sim.engines.cohort import CohortGrid

ALLOW = {"allow": "tests.runs:Faulty"}  # what these nodes' own configuration adds to the registered names


class Polled(Grid):
    """A grid of which only pushing and pulling are used."""

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        return Run.create_empty(1)

    def get_nodes(self) -> Iterable[NodeInfo]:
        return []

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError


class Direct(Polled):
    """Nodes that answer when a message is pushed, each through the ClientApp.

    Args:
        nodes: node id → node configuration.
        lives: messages after which the coordinator's grid breaks down.
    """

    def __init__(self, nodes: dict[int, dict[str, Any]], lives: int = 10**9) -> None:
        CohortGrid(1)  # gives this process the identity that messages need
        self._contexts = {n: Context(1, n, ALLOW | config, RecordDict(), {}) for n, config in nodes.items()}
        self._replies: dict[str, Message] = {}
        self._lives = lives

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            self._lives -= 1
            if self._lives < 0:
                raise ConnectionError("the SuperLink is gone")
            name = f"m{id(self)}-{self._lives}"
            message.metadata.__dict__["_message_id"] = name
            try:
                reply = client_app(message, self._contexts[message.metadata.dst_node_id])
            except Exception as error:
                reply = Message(Error(2, str(error)), reply_to=message)
            self._replies[name] = reply
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(name) for name in sorted(message_ids, reverse=True) if name in self._replies]
