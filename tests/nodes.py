"""A grid over ordinary ClientApps in one process, each node with its own context: what ``Strategy.start`` needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Strategy

from metapulse.sim.engines.cohort import CohortGrid
from tests.direct import Polled


class Nodes(Polled):
    """Nodes 1 … n that answer when they are asked.

    Args:
        apps: one for all, or one for each node.
        count: n.
        late: node → how often the grid is asked who is connected before this one is.
        silent: nodes whose reply never comes.
    """

    def __init__(
        self,
        apps: ClientApp | Mapping[int, ClientApp],
        count: int = 4,
        late: Mapping[int, int] | None = None,
        silent: Iterable[int] = (),
        run_config: Mapping[str, Any] | None = None,
    ) -> None:
        CohortGrid(1)  # gives this process the identity that messages need
        self._apps = apps if isinstance(apps, Mapping) else dict.fromkeys(range(1, count + 1), apps)
        given = dict(run_config or {})
        self.contexts = {
            node: Context(1, node, {"partition-id": node - 1, "num-partitions": count}, RecordDict(), given)
            for node in self._apps
        }
        self._late, self._silent, self._looks = dict(late or {}), set(silent), 0
        self.asked: list[list[Message]] = []  # of every call that asked a client

    def get_node_ids(self) -> Iterable[int]:
        self._looks += 1
        return [node for node in self._apps if self._late.get(node, 0) < self._looks]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        sent = list(messages)
        if sent:
            self.asked.append(sent)
        return [self._answer(m) for m in sent if m.metadata.dst_node_id not in self._silent]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        try:
            return self._apps[node](message, self.contexts[node])
        except Exception as error:
            return Message(Error(0, str(error)), reply_to=message)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


Arrays = dict[str, np.ndarray]
Change = Callable[[Arrays, int], Arrays]


def client(change: Change, metrics: Callable[[int], dict[str, Any]] = lambda node: {"num-examples": 10}) -> ClientApp:
    """An ordinary ClientApp without a model: it changes the arrays it is sent, and reports numbers of its node's.

    Args:
        change: from arrays and node id to arrays.
        metrics: by node id, of training and of evaluation.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        told = numbers(message.content.array_records["arrays"])
        sent = record(change(told, context.node_id))
        return Message(
            RecordDict({"arrays": sent, "metrics": MetricRecord(metrics(context.node_id))}), reply_to=message
        )

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return Message(RecordDict({"metrics": MetricRecord(metrics(context.node_id))}), reply_to=message)

    return app


def plus(amount: float) -> Change:
    """Adds a number to every floating-point array, and one to all others."""

    def change(arrays: Arrays, node: int) -> Arrays:
        return {name: a + np.asarray(amount if a.dtype.kind == "f" else 1, a.dtype) for name, a in arrays.items()}

    return change


def record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Arrays as a record of Flower's own."""
    return ArrayRecord({name: Array(np.asarray(values)) for name, values in arrays.items()})


def numbers(arrays: ArrayRecord) -> Arrays:
    """A record's arrays."""
    return {name: array.numpy() for name, array in arrays.items()}


#: A small θ of numbers that float32 adds up exactly.
THETA: Arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3) / 4, "b": np.array(0.5, np.float32)}


def run(strategy: Strategy, nodes: Nodes, rounds: int = 2, theta: Arrays | None = None, **given: Any) -> Any:
    """What a strategy makes of some rounds."""
    return strategy.start(nodes, record(THETA if theta is None else theta), rounds, **given)


def by_node(amounts: dict[int, float], examples: dict[int, float] | None = None) -> Any:
    """Clients that each add a number of their own."""
    weights = examples or dict.fromkeys(amounts, 1)
    return client(
        lambda arrays, node: {k: (a + np.float32(amounts[node])).astype(a.dtype) for k, a in arrays.items()},
        lambda node: {"num-examples": weights[node], "own": float(node)},
    )


def warned(said: pytest.LogCaptureFixture) -> str:
    """The warnings among what Flower's logger was told."""
    return "\n".join(r.getMessage() for r in said.records if r.levelno >= logging.WARNING)
