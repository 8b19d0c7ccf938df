"""What a directory of clients is; and that of real nodes: each is asked who it is, and all answers are checked."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from metapulse.client.wire import CONFIG, VERSION, WIRE, WORK, check_stamp, read_task
from metapulse.data import Client, Clients, Task
from metapulse.errors import EngineError, ReplyError
from metapulse.server.grid import PollingGrid
from metapulse.strategies.replies import first_line

LARGEST_ID = 2**40  # populations stay below it: the bits above it address episodes
LONGEST_NAME = 200


@runtime_checkable
class Directory(Clients, Protocol):
    """The clients and their nodes; a data source serves as one, and so do the answers of real nodes."""

    def partition_ids(self) -> Sequence[int]:
        """Partition ids, ascending; a range where they are all there, so that a million cost nothing."""

    def node(self, index: int) -> int:
        """Where a client is."""

    def nodes_of(self, clients: Sequence[int]) -> list[int]:
        """Where some clients are."""


@dataclass(frozen=True)
class QueriedDirectory:
    """The directory of nodes that answered.

    Args:
        task: what all of them predict.
        nodes: partition id → node id.
        clients: partition id → who it is.
        refused: node id → why it does not take part.
        said: what is to be said of the data before a run, where they are known here.
    """

    task: Task
    nodes: Mapping[int, int]
    clients: Mapping[int, Client]
    refused: Mapping[int, str] = field(default_factory=dict)
    said: Sequence[str] = ()

    @property
    def users(self) -> int:
        """One more than the largest user there is: the split must not depend on who else is connected today."""
        return 1 + max(client.user for client in self.clients.values())

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device model that occurs."""
        return tuple(sorted({client.device for client in self.clients.values()}))

    @cached_property
    def _everyone(self) -> list[int]:
        return sorted(self.clients)

    def __len__(self) -> int:
        return len(self.clients)

    def partition_ids(self) -> Sequence[int]:
        """Partition ids, ascending; there may be gaps."""
        return self._everyone

    def client(self, index: int) -> Client:
        """Who a client is."""
        return self.clients[index]

    @cached_property
    def _worn(self) -> dict[int, list[int]]:
        worn: dict[int, list[int]] = {}
        for index in self._everyone:
            worn.setdefault(self.clients[index].user, []).append(index)
        return worn

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices."""
        return self._worn.get(user, [])

    def nodes_of(self, clients: Sequence[int]) -> list[int]:
        """Where some clients are."""
        return [self.node(client) for client in clients]

    def node(self, index: int) -> int:
        """Where a client is."""
        return self.nodes[index]

    def remarks(self) -> Sequence[str]:
        """What is said of the data, which nodes do not take part, and why."""
        return [*self.said] + [f"node {node} refused: {reason}" for node, reason in sorted(self.refused.items())]


def handshake(grid: PollingGrid, work: str, least: int, wait_s: float) -> QueriedDirectory:
    """Ask every node that is, or comes, within ``wait_s`` seconds who it is.

    Ends as soon as at least ``least`` usable nodes have answered, none is owed an answer and none has newly come.

    Args:
        work: specification of the work, as clients get it.
        least: usable nodes needed, ≥ 1.
        wait_s: longest wait, seconds.

    Raises:
        EngineError: fewer than ``least`` usable nodes; names those refused.
    """
    content = RecordDict({CONFIG: ConfigRecord({WIRE: VERSION, WORK: work})})
    deadline = time.monotonic() + wait_s
    answers: dict[int, tuple[Client, Task] | str] = {}
    asked: set[int] = set()
    waiting: set[str] = set()
    while True:
        new = sorted(set(grid.get_node_ids()) - asked)
        if new:
            asked.update(new)
            waiting |= {i for i in grid.push_messages([Message(content, n, MessageType.QUERY) for n in new]) if i}
        for reply in list(grid.pull_messages(waiting)) if waiting else []:
            waiting.discard(reply.metadata.reply_to_message_id)
            node = reply.metadata.src_node_id
            if node in asked and node not in answers:
                answers[node] = _read(reply)
        if not new and not waiting and len(_usable(answers)[0]) >= least:
            break
        if time.monotonic() >= deadline:
            break
        grid.pause()
    return _directory(answers, len(asked), least, wait_s)


def _directory(
    answers: Mapping[int, tuple[Client, Task] | str], asked: int, least: int, wait_s: float
) -> QueriedDirectory:
    usable, refused = _usable(answers)
    if len(usable) < max(least, 1):
        reasons = "; ".join(f"node {node}: {reason}" for node, reason in sorted(refused.items())[:3])
        raise EngineError(
            f"{len(usable)} usable of {asked} nodes after {wait_s:g} s, at least {max(least, 1)} are needed"
            + (f" ({reasons})" if reasons else "")
        )
    task = next(iter(usable.values()))[1]
    nodes = {client.index: node for node, (client, _) in usable.items()}
    return QueriedDirectory(task, nodes, {client.index: client for client, _ in usable.values()}, refused)


def _usable(answers: Mapping[int, tuple[Client, Task] | str]) -> tuple[dict[int, tuple[Client, Task]], dict[int, str]]:
    """Those who may take part, in order of partition id, and those who may not and why."""
    told = {node: answer for node, answer in answers.items() if not isinstance(answer, str)}
    refused = {node: answer for node, answer in answers.items() if isinstance(answer, str)}
    claims = Counter(client.index for client, _ in told.values())
    tasks = Counter(task for client, task in told.values() if claims[client.index] == 1)
    usual = max(tasks, key=lambda task: (tasks[task], repr(task))) if tasks else None
    usable = {}
    for node, (client, task) in sorted(told.items(), key=lambda item: item[1][0].index):
        if claims[client.index] > 1:
            refused[node] = f"partition id {client.index} is claimed by {claims[client.index]} nodes"
        elif task != usual:
            refused[node] = f"{client.label} predicts something else than most nodes do: {_difference(task, usual)}"
        else:
            usable[node] = (client, task)
    return usable, refused


def _difference(task: Task, usual: Task | None) -> str:
    """In what a task differs from the usual one."""
    told, expected = asdict(task), asdict(usual or task)
    parts = []
    for key in ("kind", "labels", "names", "features", "outputs", "unit"):
        here, there = told[key], expected[key]
        if here == there:
            continue
        if key in ("labels", "names") and set(here) != set(there):
            what = {"labels": "classes", "names": "inputs"}[key]
            lacks = (
                [f"without {', '.join(map(repr, sorted(set(there) - set(here))))}"] if set(there) - set(here) else []
            )
            more = [f"with {', '.join(map(repr, sorted(set(here) - set(there))))}"] if set(here) - set(there) else []
            parts.append(f"{what} {' and '.join(lacks + more)}")
        elif not parts:
            parts.append(f"{key} {here!r} for {there!r}")
    return "; ".join(parts)[:400]


def _read(reply: Message) -> tuple[Client, Task] | str:
    """Who a node says it is, or why that cannot be."""
    try:
        if reply.has_error():
            raise ReplyError(first_line(reply.error.reason))
        if list(reply.content.config_records) != [CONFIG]:
            raise ReplyError("an answer has one configuration record 'config'")
        record = reply.content.config_records[CONFIG]
        check_stamp(reply.content, {WIRE: VERSION})
        client = Client(
            _number(record, "partition-id"), _number(record, "user"), _name(record, "device"), _name(record, "label")
        )
        return client, read_task(record)
    except ReplyError as error:
        return str(error)


def _number(record: ConfigRecord, key: str) -> int:
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LARGEST_ID:
        raise ReplyError(f"{key} = {str(value)[:40]!r}; allowed are integers from 0 to {LARGEST_ID - 1}")
    return value


def _name(record: ConfigRecord, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise ReplyError(f"{key} = {json.dumps(str(value)[:40])}; allowed are 1 to {LONGEST_NAME} printable characters")
    return value
