"""The cohort engine: a Grid that runs all addressed clients as stacks, in this process or in Ray actors.

Clients are cut into chunks of fixed size in order of partition id, whatever the number of workers, so every chunk is
the same computation wherever it runs, and the numbers do not depend on who ran it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from metapulse.client.flower_compat import NodeInfo, Run, act_as_server
from metapulse.client.privacy import read_guard
from metapulse.client.secure.device import SECURE
from metapulse.client.secure.quantise import Terms
from metapulse.client.spec import trial_from_json
from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    METRICS,
    REPLY,
    ROUND,
    TRIAL,
    WORK,
    decode,
    metric_record,
    read_text,
    stamp,
)
from metapulse.data import Client, Source, Task
from metapulse.errors import EngineError
from metapulse.methods.base import Report
from metapulse.outcome import Outcome, Scores
from metapulse.server.stages import add_up
from metapulse.sim.engines.chunks import comfortable
from metapulse.sim.engines.devices import Devices
from metapulse.sim.engines.resent import resent
from metapulse.sim.engines.secure import SecureDevices
from metapulse.sim.engines.workers import Local, Pool
from metapulse.sim.population import SOUND, ClientJob, Population
from metapulse.strategies.aggregate import Handover, join
from metapulse.strategies.instructions import Instructions
from metapulse.strategies.replies import CLIENT_FAILED, Dropped, Replies, Stack, Total, contents
from metapulse.trees import Params, sub

FIRST_NODE = 2  # Flower keeps 0 and 1 for itself


@dataclass(frozen=True)
class SourceDirectory:
    """A data source as the directory of clients; a client's node is its index plus two.

    Args:
        source: the data.
        said: what is to be said of it before a run.
    """

    source: Source
    said: Sequence[str] = ()

    @property
    def task(self) -> Task:
        """What is predicted from what."""
        return self.source.task

    @property
    def users(self) -> int:
        """Number of people."""
        return self.source.users

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device model that occurs."""
        return self.source.devices

    def __len__(self) -> int:
        return len(self.source)

    def everyone(self) -> Sequence[int]:
        """Every partition id."""
        return range(len(self.source))

    def client(self, index: int) -> Client:
        """Who a client is."""
        return self.source.client(index)

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices."""
        return self.source.clients_of(user)

    def node(self, index: int) -> int:
        """Where a client is."""
        return index + FIRST_NODE

    def remarks(self) -> Sequence[str]:
        """What is to be said of its data before a run."""
        return self.said


class CohortGrid(Grid):
    """Runs clients by the stack.

    Args:
        size: number of clients of the population.
        pool: runs chunks: ``Local`` here, or Ray actors.
        chunk: clients stacked at once; 0: see ``metapulse.sim.engines.chunks``.
        folder: where what devices keep is put down while the grid lives (None: the system's place for such).
        masks: whether secure aggregation masks here, as devices do, or leaves masks out.
        population: who of the clients attack, and what goes wrong with their devices.
    """

    simulated = True  # its devices end with this process

    def __init__(
        self,
        size: int,
        pool: Pool | None = None,
        chunk: int = 0,
        folder: Path | None = None,
        masks: bool = False,
        population: Population = SOUND,
    ) -> None:
        act_as_server()
        self._size, self._pool, self._chunk = size, pool or Local(), chunk
        self._population = population
        self._run = Run.create_empty(run_id=1)
        self._devices = Devices(folder)
        self.masks, self._secure = masks, SecureDevices(self._report)
        self.spent: Mapping[str, float] = {}  # seconds of the last round by stage, of the busiest worker

    def get_node_ids(self) -> Iterable[int]:
        """Every client's node; a range, so that a million cost nothing."""
        return range(FIRST_NODE, FIRST_NODE + self._size)

    def client_of(self, node: int) -> int:
        """Partition id of a node."""
        return node - FIRST_NODE

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Sequence[Message]:
        """Replies to all messages, in order of partition id; instructions with the same content run as one stack.

        Raises:
            EngineError: a message is neither for training nor for evaluation, or goes to nobody.
        """
        self.spent = {}
        if isinstance(messages, Instructions):
            nodes = sorted(messages.nodes)
            for node in (nodes[0], nodes[-1]) if nodes else ():
                self._known(node)
            content, kind = messages.content, messages.kind
            clients = [node - FIRST_NODE for node in nodes]
            return self._answer(content, kind, clients, lambda c: Message(content, c + FIRST_NODE, kind))
        groups: dict[int, list[Message]] = {}
        for message in messages:
            self._known(message.metadata.dst_node_id)
            own = SECURE in message.content.config_records  # no two alike, yet to be trained together
            groups.setdefault(0 if own else id(message.content), []).append(message)
        answers: list[Sequence[Message]] = []
        for group in groups.values():
            asked = {_client(message): message for message in sorted(group, key=_client)}
            first = group[0]
            if SECURE in first.content.config_records:
                answers.append(self._secure.answer(asked))
                continue
            answers.append(self._answer(first.content, first.metadata.message_type, list(asked), asked.__getitem__))
        if len(answers) == 1:
            return answers[0]
        return sorted((reply for part in answers for reply in part), key=lambda m: m.metadata.src_node_id)

    def _known(self, node: int) -> None:
        if not FIRST_NODE <= node < FIRST_NODE + self._size:
            raise EngineError(f"node {node} does not exist; there are {self._size} clients")

    def _answer(
        self, content: RecordDict, kind: str, clients: list[int], asked: Callable[[int], Message]
    ) -> Sequence[Message]:
        """Replies of clients in ascending order to one content; ``asked`` gives the message one of them got."""
        config = content.config_records[CONFIG]
        if kind == MessageType.EVALUATE:
            return self._evaluate(content, clients, asked)
        if kind != MessageType.TRAIN:
            raise EngineError(f"the cohort engine has no answer to messages of type {kind!r}")
        handover, faulty = Handover.asked(config), self._job(config).faulty
        if faulty is not None and faulty.apart:
            handover = replace(handover, weighting="")
        outcomes = self._train(content, clients, handover)
        if handover.weighting:
            total, failures = join(outcomes, handover.weighting)
            return Replies(None, failures, lambda i: _failure(asked, failures[i]), total)
        outcome = join_outcomes(outcomes)
        round = int(str(config[ROUND]))
        if faulty is not None and faulty.attack.omniscient:
            outcome = faulty.forged(outcome, round)
        meta = decode(content.array_records[ARRAYS]) if config.get(REPLY) == "weights" else None
        replies = _replies(asked, outcome, meta, stamp(config))
        return replies if faulty is None else resent(replies, faulty.twice(round, clients))

    def _evaluate(self, content: RecordDict, clients: list[int], asked: Callable[[int], Message]) -> Sequence[Message]:
        job, meta, round, chunks = self._asked(content, clients)
        trial = trial_from_json(read_text(content.config_records[CONFIG], TRIAL))
        scores = self._pool.evaluate(job, meta, round, chunks, trial, self._devices.of(clients))
        told = {CONFIG: ConfigRecord(stamp(content.config_records[CONFIG]))}
        return [_score_message(asked, s, i, told) for s in scores for i in range(len(s.clients) + len(s.failures))]

    def _train(self, content: RecordDict, clients: list[int], handover: Handover) -> list[Outcome]:
        job, meta, round, chunks = self._asked(content, clients)
        outcomes = self._pool.train(job, meta, round, chunks, self._devices.of(clients), handover)
        self.spent = add_up([self.spent, self._pool.spent])  # content after content
        for outcome in outcomes:
            self._devices.keep(outcome.keepers, outcome.state)
        return outcomes

    def _job(self, config: ConfigRecord) -> ClientJob:
        return ClientJob(read_text(config, WORK), self._population)

    def _asked(self, content: RecordDict, clients: list[int]) -> tuple[ClientJob, Params, int, list[list[int]]]:
        """ClientJob, θ, round and chunks of an instruction."""
        config, meta = content.config_records[CONFIG], decode(content.array_records[ARRAYS])
        job, round = self._job(config), int(str(config[ROUND]))
        size = self._chunk or comfortable(job.work.model, meta, len(clients))
        return job, meta, round, [clients[i : i + size] for i in range(0, len(clients), size)]

    def add_up(self, content: RecordDict, clients: list[int], terms: Terms) -> tuple[Total | None, list[Dropped]]:
        """The sum of the entries that clients would mask under secure aggregation, and who could not train."""
        self.spent = {}
        guard = read_guard(content.config_records[CONFIG])
        handover = Handover(terms.weighting, guard=guard, terms=terms)
        return join(self._train(content, clients, handover), terms.weighting)

    def _report(self, content: RecordDict, clients: list[int]) -> Outcome:
        """Updates of clients one by one, for devices that mask."""
        return join_outcomes(self._train(content, clients, Handover()))

    def save_devices(self, folder: Path) -> None:
        """Write what devices keep into a new folder; no folder where they keep nothing."""
        self._devices.save(folder)

    def load_devices(self, folder: Path) -> None:
        """Devices keep what was written there; nothing if there is no such folder."""
        self._devices.load(folder)

    def close(self) -> None:
        """End the workers, and forget what devices keep."""
        self._pool.close()
        self._devices.close()

    def set_run(self, run: Run) -> None:
        """Remember the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Every client's node."""
        return (NodeInfo(node_id=node) for node in self.get_node_ids())

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """An instruction."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not offered: the engine answers at once."""
        raise EngineError("the cohort engine answers at once; use send_and_receive")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not offered: the engine answers at once."""
        raise EngineError("the cohort engine answers at once; use send_and_receive")


def join_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """The outcomes of several chunks as one."""
    failures = {c: reason for part in parts for c, reason in part.failures.items()}
    good = [(part.clients, part.report) for part in parts if part.report is not None]
    if not good:
        return Outcome([], None, failures)
    reports = [report for _, report in good]
    joined = Report(
        {name: torch.cat([r.update[name] for r in reports]) for name in reports[0].update},
        torch.cat([r.weight for r in reports]),
        {},
        {name: torch.cat([r.metrics[name] for r in reports]) for name in reports[0].metrics},
    )
    return Outcome([c for clients, _ in good for c in clients], joined, failures)


def _client(message: Message) -> int:
    return message.metadata.dst_node_id - FIRST_NODE


def _failure(asked: Callable[[int], Message], failed: Dropped) -> Message:
    return Message(Error(CLIENT_FAILED, failed.reason), reply_to=asked(failed.client))


def _replies(
    asked: Callable[[int], Message], outcome: Outcome, meta: Params | None, told: Mapping[str, Any]
) -> Replies:
    """The stack, and how any one of its messages is made; with ``meta``, they carry weights θ − update."""
    failures = [Dropped(client, reason) for client, reason in sorted(outcome.failures.items())]
    report = outcome.report
    if report is None:
        return Replies(None, failures, lambda i: _failure(asked, failures[i]))
    sent = report.update if meta is None else sub(meta, report.update)
    stack = Stack(outcome.clients, sent, report.weight, report.metrics)
    content = contents(stack, told)

    def message(index: int) -> Message:
        if index >= len(stack.clients):
            return _failure(asked, failures[index - len(stack.clients)])
        return Message(content(index), reply_to=asked(stack.clients[index]))

    return Replies(stack, failures, message)


def _score_message(
    asked: Callable[[int], Message], scores: Scores, index: int, told: Mapping[str, ConfigRecord]
) -> Message:
    if index >= len(scores.clients):
        client, reason = sorted(scores.failures.items())[index - len(scores.clients)]
        return _failure(asked, Dropped(client, reason))
    numbers: dict[str, float | list[float]] = {n: m[index].flatten().tolist() for n, m in scores.metrics.items()}
    episodes = next(iter(scores.metrics.values())).shape[1]
    content = RecordDict({METRICS: metric_record(float(episodes), numbers), **told})
    return Message(content, reply_to=asked(scores.clients[index]))
