"""The cohort engine: a Grid that runs all addressed clients as stacks, in this process or in Ray actors.

Clients are cut into chunks of fixed size in order of partition id, whatever the number of workers, so every chunk is
the same computation wherever it runs, and the numbers do not depend on who ran it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.flower_compat import NodeInfo, Run, act_as_server
from metapulse.client.privacy import read_guard
from metapulse.client.secure.device import SECURE
from metapulse.client.secure.quantise import SumTerms
from metapulse.client.spec import trial_from_json
from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    REPLY,
    ROUND,
    TRIAL,
    WORK,
    Instructions,
    decode,
    read_text,
    reply_stamp,
)
from metapulse.data import Client, Source, Task
from metapulse.errors import EngineError
from metapulse.outcome import Outcome
from metapulse.server.answers import ScoreReplies
from metapulse.server.client_sampler import LISTED
from metapulse.server.grid import Engine
from metapulse.sim.engines.answers import failed_reply, join_outcomes, replies_of, score_message
from metapulse.sim.engines.chunks import comfortable
from metapulse.sim.engines.device_states import DeviceStates
from metapulse.sim.engines.resent import resent
from metapulse.sim.engines.secure import SecureDevices
from metapulse.sim.engines.workers import LocalPool, WorkerPool
from metapulse.sim.population import SOUND, ClientJob, FaultyClients, Population
from metapulse.strategies.aggregate import AggregationSpec, join_sums
from metapulse.strategies.replies import Dropped, Replies, UpdateSum
from metapulse.trees import Params, Stacked

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

    def partition_ids(self) -> Sequence[int]:
        """Every partition id."""
        return range(len(self.source))

    @cached_property
    def _who(self) -> Callable[[int], Client]:
        return lru_cache(maxsize=LISTED)(self.source.client)

    def client(self, index: int) -> Client:
        """Who a client is; runs that share a directory ask for the same ones again and again."""
        return self._who(index)

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices."""
        return self.source.clients_of(user)

    def node(self, index: int) -> int:
        """Where a client is."""
        return index + FIRST_NODE

    def nodes_of(self, clients: Sequence[int]) -> list[int]:
        """Where some clients are."""
        return [client + FIRST_NODE for client in clients]

    def remarks(self) -> Sequence[str]:
        """What is to be said of its data before a run."""
        return self.said


class CohortGrid(Engine):
    """Runs clients by the stack.

    Args:
        size: number of clients of the population.
        pool: runs chunks: ``LocalPool`` here, or Ray actors.
        chunk: clients stacked at once; 0: see ``metapulse.sim.engines.chunks``.
        folder: where what devices keep is put down while the grid lives (None: the system's place for such).
        masks: whether secure aggregation masks here, as devices do, or leaves masks out.
        population: who of the clients attack, and what goes wrong with their devices.
    """

    simulated = True
    keeps = True

    def __init__(
        self,
        size: int,
        pool: WorkerPool | None = None,
        chunk: int = 0,
        folder: Path | None = None,
        masks: bool = False,
        population: Population = SOUND,
    ) -> None:
        act_as_server()
        self._size, self._pool, self._chunk = size, pool or LocalPool(), chunk
        self._population = population
        self._run = Run.create_empty(run_id=1)
        self._job: ClientJob | None = None  # of the last instruction
        self._work: ClientExecutor | None = None  # of that job
        self._sizes: dict[int, int] = {}  # clients of it that are stacked at once, by the size of the cohort
        self._folder = folder
        self._devices: DeviceStates | None = None  # None: no device has kept anything yet
        self.masks, self._secure = masks, SecureDevices(self._report)
        self.spent = []

    def get_node_ids(self) -> Iterable[int]:
        """Every client's node; a range, so that a million cost nothing."""
        return range(FIRST_NODE, FIRST_NODE + self._size)

    def client_of(self, node: int) -> int:
        """Partition id of a node."""
        return node - FIRST_NODE

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Sequence[Message]:
        """Replies to all messages, in order of partition id; instructions with the same content run as one stack.

        Raises:
            EngineError: a message is neither for training nor for evaluation, or goes to no client.
        """
        self.spent = []
        if isinstance(messages, Instructions):
            nodes = sorted(messages.nodes)
            for node in (nodes[0], nodes[-1]) if nodes else ():
                self._known(node)
            content, kind = messages.content, messages.kind
            clients = [node - FIRST_NODE for node in nodes]
            return self._answer(
                content, kind, clients, lambda c: Message(content, c + FIRST_NODE, kind), messages.theta
            )
        groups: dict[int, list[Message]] = {}
        for message in messages:
            self._known(message.metadata.dst_node_id)
            own = SECURE in message.content  # no two alike, yet to be trained together
            groups.setdefault(0 if own else id(message.content), []).append(message)
        answers: list[Sequence[Message]] = []
        for group in groups.values():
            asked = {_client(message): message for message in sorted(group, key=_client)}
            first = group[0]
            if SECURE in first.content:
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
        self,
        content: RecordDict,
        kind: str,
        clients: list[int],
        asked: Callable[[int], Message],
        theta: Params | None = None,
    ) -> Sequence[Message]:
        """Replies of clients in ascending order to one content; ``asked`` gives the message one of them got."""
        config = _told(content)
        if kind == MessageType.EVALUATE:
            return self._evaluate(content, clients, asked)
        if kind != MessageType.TRAIN:
            raise EngineError(f"the cohort engine has no answer to messages of type {kind!r}")
        aggregation, (_, work) = AggregationSpec.asked(config), self._asked(config)
        faulty = work if isinstance(work, FaultyClients) else None
        if faulty is not None and faulty.apart:
            aggregation = replace(aggregation, weighting="")
        outcomes = self._train(content, clients, aggregation, theta)
        if aggregation.weighting:
            total, failures = join_sums(outcomes, aggregation.weighting)
            return Replies(None, failures, lambda i: failed_reply(asked, failures[i]), total)
        outcome = join_outcomes(outcomes)
        round = int(str(config[ROUND]))
        if faulty is not None and faulty.attack.omniscient:
            outcome = faulty.forged(outcome, round)
        meta = decode(content.array_records[ARRAYS]) if config.get(REPLY) == "weights" else None
        replies = replies_of(asked, outcome, meta, reply_stamp(config))
        return replies if faulty is None else resent(replies, faulty.twice(round, clients))

    def _evaluate(self, content: RecordDict, clients: list[int], asked: Callable[[int], Message]) -> Sequence[Message]:
        job, meta, round, chunks = self._read(content, clients, None)
        trial = trial_from_json(read_text(_told(content), TRIAL))
        scores = self._pool.evaluate(job, meta, round, chunks, trial, self.states_of(clients))
        told = {CONFIG: ConfigRecord(reply_stamp(_told(content)))}
        return ScoreReplies(scores, lambda part, i: score_message(asked, part, i, told))

    def _train(
        self, content: RecordDict, clients: list[int], aggregation: AggregationSpec, theta: Params | None = None
    ) -> list[Outcome]:
        job, meta, round, chunks = self._read(content, clients, theta)
        outcomes = self._pool.train(job, meta, round, chunks, self.states_of(clients), aggregation)
        self.spent = [*self.spent, *self._pool.spent]  # content after content
        for outcome in outcomes:
            self.keep_states(outcome.keepers, outcome.state)
        return outcomes

    def states_of(self, clients: Sequence[int]) -> dict[int, dict[str, Tensor]]:
        """What devices kept; those that kept nothing are left out."""
        return {} if self._devices is None else self._devices.of(clients)

    def keep_states(self, clients: Sequence[int], state: Stacked) -> None:
        """From now on these devices keep these states."""
        if clients:
            self._devices = self._devices or DeviceStates(self._folder)
            self._devices.keep(clients, state)

    def _asked(self, config: ConfigRecord) -> tuple[ClientJob, ClientExecutor]:
        """What an instruction asks for, which is the same round after round."""
        if self._job is None or self._work is None or config.get(WORK) != self._job.text:
            self._job = ClientJob(read_text(config, WORK), self._population)
            self._work, self._sizes = self._executor(self._job), {}
        return self._job, self._work

    def _executor(self, job: ClientJob) -> ClientExecutor:
        """What tells of a job's model and clients; the pool has its own that do the work."""
        return job.work

    def _read(
        self, content: RecordDict, clients: list[int], theta: Params | None
    ) -> tuple[ClientJob, Params, int, list[list[int]]]:
        """ClientJob, θ, round and chunks of an instruction."""
        config = _told(content)
        meta = decode(content.array_records[ARRAYS]) if theta is None else theta
        job, work = self._asked(config)
        size = self._chunk or self._sizes.get(len(clients), 0)
        if not size:
            size = self._sizes[len(clients)] = comfortable(work.model, meta, len(clients))
        return job, meta, int(str(config[ROUND])), [clients[i : i + size] for i in range(0, len(clients), size)]

    def add_up(
        self, content: RecordDict, clients: list[int], terms: SumTerms
    ) -> tuple[UpdateSum | None, list[Dropped]]:
        """The sum of the entries that clients would mask under secure aggregation, and who could not train."""
        self.spent = []
        guard = read_guard(_told(content))
        aggregation = AggregationSpec(terms.weighting, guard=guard, terms=terms)
        return join_sums(self._train(content, clients, aggregation), terms.weighting)

    def _report(self, content: RecordDict, clients: list[int]) -> Outcome:
        """Updates of clients one by one, for devices that mask."""
        return join_outcomes(self._train(content, clients, AggregationSpec()))

    def save_devices(self, folder: Path) -> None:
        """Write what devices keep into a new folder; no folder where they keep nothing."""
        if self._devices is not None:
            self._devices.save(folder)

    def load_devices(self, folder: Path) -> None:
        """Devices keep what was written there; nothing if there is no such folder."""
        self._devices = self._devices or DeviceStates(self._folder)
        self._devices.load(folder)

    def close(self) -> None:
        """End the workers, and forget what devices keep."""
        self._pool.close()
        if self._devices is not None:
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


def _told(content: RecordDict) -> ConfigRecord:
    """What an instruction says; ``config_records`` would look at all that it holds."""
    return cast(ConfigRecord, content[CONFIG])


def _client(message: Message) -> int:
    return message.metadata.dst_node_id - FIRST_NODE
