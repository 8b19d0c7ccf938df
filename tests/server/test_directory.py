"""The handshake: every node is asked who it is, and no answer is believed before it is checked."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict

from metapulse.client.wire import CONFIG, TASK, VERSION, WIRE, WORK, write_task
from metapulse.data import Client, Task
from metapulse.errors import EngineError
from metapulse.server import grid as waiting
from metapulse.server.client_sampler import ClientSampler, SubsetGrid
from metapulse.server.config import build_config
from metapulse.server.directory import LARGEST_ID, QueriedDirectory, handshake
from metapulse.server.grid import PollingGrid
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.replies import Dropped, sift
from tests.direct import Polled

THING = Task("classification", (6, 8), 3, ("a", "b", "c"))
Answer = RecordDict | Error | None


def answer(index: Any, about: Task = THING, **changes: Any) -> RecordDict:
    """What an honest node says; ``None`` leaves a key out."""
    said = {
        WIRE: VERSION,
        "partition-id": index,
        "user": index,
        "device": "watch",
        "label": f"p{index}",
        TASK: write_task(about),
    }
    return RecordDict({CONFIG: ConfigRecord({k: v for k, v in (said | changes).items() if v is not None})})


class Nodes(Polled):
    """Nodes that answer a question as they are told to, some polls later; messages are answered once.

    Args:
        answers: by node; None never answers.
        late: nodes that register only at this poll.
        delay: polls before an answer comes.
    """

    def __init__(self, answers: dict[int, Answer], late: dict[int, int] | None = None, delay: int = 1) -> None:
        CohortGrid(1)  # gives this process the identity that messages need
        self.answers, self.late, self.delay = answers, late or {}, delay
        self.polls, self.asked = 0, []
        self._pending: dict[str, tuple[int, Message]] = {}

    def get_node_ids(self) -> Iterable[int]:
        self.polls += 1
        return [node for node in self.answers if self.late.get(node, 0) < self.polls]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            assert message.metadata.message_type == MessageType.QUERY
            self.asked.append(message.metadata.dst_node_id)
            name = f"m{len(self.asked)}"
            message.metadata.__dict__["_message_id"] = name
            self._pending[name] = (self.polls + self.delay, message)
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        come = []
        for name in list(message_ids):
            due, message = self._pending[name]
            content = self.answers[message.metadata.dst_node_id]
            if content is not None and due <= self.polls:
                come.append(Message(content, reply_to=message))
        return come


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only the polls move: a tenth of a second each."""
    now = [0.0]
    monkeypatch.setattr("metapulse.server.directory.time.monotonic", lambda: now[0])

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        now[0] += timeout or 0.0
        return self.is_set()

    monkeypatch.setattr(waiting.threading.Event, "wait", wait)


def shake(answers: dict[int, Answer], least: int = 1, wait_s: float = 5.0, **options: Any) -> QueriedDirectory:
    return handshake(PollingGrid(Nodes(answers, **options)), "{}", least, wait_s)


def test_everybody_who_answers_is_in_the_directory() -> None:
    nodes = Nodes({900: answer(3), 17: answer(0), 5555: answer(8)}, delay=3)
    found = handshake(PollingGrid(nodes), '{"work": 1}', 3, 5.0)
    assert list(found.partition_ids()) == [0, 3, 8]
    assert {index: found.node(index) for index in found.partition_ids()} == {0: 17, 3: 900, 8: 5555}
    assert found.client(8) == Client(8, 8, "watch", "p8")
    assert (len(found), found.users, found.devices, found.task) == (3, 9, ("watch",), THING)
    assert sorted(nodes.asked) == [17, 900, 5555], "asked once each"


def test_it_waits_for_those_who_come_later_but_not_for_ever() -> None:
    slow = {2: answer(0), 3: answer(1), 4: answer(2)}
    assert len(shake(slow, least=3, late={3: 10, 4: 20})) == 3
    assert len(shake(slow, least=2, late={4: 10_000})) == 2
    with pytest.raises(EngineError, match=r"^2 usable of 2 nodes after 5 s, at least 3 are needed$"):
        shake(slow, least=3, late={4: 10_000})
    with pytest.raises(EngineError, match=r"^0 usable of 0 nodes after 5 s, at least 1 are needed$"):
        shake({})


def test_a_silent_node_costs_the_wait_and_nothing_else() -> None:
    nodes = Nodes({2: answer(0), 3: None})
    assert list(handshake(PollingGrid(nodes), "{}", 1, 5.0).partition_ids()) == [0]
    assert nodes.polls >= 50


LIES: dict[str, tuple[Answer, str]] = {
    "an error": (Error(2, "Traceback\nDataError: sine has no client 9"), "DataError: sine has no client 9"),
    "nothing": (RecordDict(), "one configuration record"),
    "another version": (answer(7, **{WIRE: VERSION + 1}), f"wire = {VERSION + 1}"),
    "another record": (RecordDict({"c": ConfigRecord()}), "one configuration record"),
    "no partition id": (answer(1, **{"partition-id": None}), "partition-id = 'None'"),
    "a name for a partition id": (answer("one"), "partition-id = 'one'"),
    "a negative partition id": (answer(-1), "partition-id = '-1'"),
    "a huge partition id": (answer(LARGEST_ID), "allowed are integers from 0 to 1099511627775"),
    "a broken partition id": (answer(1.0), "partition-id = '1.0'"),
    "true for a partition id": (answer(True), "partition-id = 'True'"),
    "no user": (answer(1, user=None), "user = 'None'"),
    "a negative user": (answer(1, user=-1), "user = '-1'"),
    "not a number": (answer(1, user=math.nan), "user = 'nan'"),
    "no device": (answer(1, device=None), "device = "),
    "an empty device": (answer(1, device=""), "device = "),
    "a long device": (answer(1, device="x" * 300), "allowed are 1 to 200 printable characters"),
    "a label of two lines": (answer(1, label="a\nb"), "label = "),
    "an escape in a label": (answer(1, label="\x1b[31mred"), "label = "),
    "bytes for a label": (answer(1, label=b"anna"), "label = "),
    "no task": (answer(1, **{TASK: None}), "without 'task'"),
    "a strange task": (answer(1, **{TASK: json.dumps({"kind": "ranking"})}), "not a description of a task"),
    "a huge task": (answer(1, Task("classification", (10**9,), 2)), "not one that a model could be built for"),
    "another task": (answer(1, Task("regression", (1,), 1)), "predicts something else than most nodes do"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_named(name: str) -> None:
    lie, words = LIES[name]
    found = shake({2: answer(0), 3: lie, 4: answer(2)}, least=2)
    assert list(found.partition_ids()) == [0, 2]
    assert set(found.refused) == {3}
    assert words in found.refused[3]
    assert "\n" not in found.refused[3]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Task("classification", (6, 8), 2, ("a", "b")), "classes without 'c'"),
        (Task("classification", (6, 8), 3, ("a", "b", "d")), "classes without 'c' and with 'd'"),
        (Task("classification", (6, 8), 3, ("b", "a", "c")), "labels ('b', 'a', 'c') for ('a', 'b', 'c')"),
        (Task("classification", (6, 8), 3, ("a", "b", "c"), names=("hr",)), "inputs with 'hr'"),
        (Task("classification", (6, 9), 3, ("a", "b", "c")), "features (6, 9) for (6, 8)"),
        (Task("regression", (6, 8), 3, (), "bpm"), "kind 'regression' for 'classification'"),
    ],
)
def test_a_node_with_another_task_is_told_in_what_it_differs(other: Task, words: str) -> None:
    found = shake({2: answer(0), 3: answer(1, other), 4: answer(2)}, least=2)
    assert words in found.refused[3]
    assert list(found.remarks()) == [f"node 3 refused: {found.refused[3]}"]


def test_a_partition_id_that_two_claim_belongs_to_neither() -> None:
    found = shake({2: answer(0), 3: answer(1), 4: answer(1)})
    assert list(found.partition_ids()) == [0]
    assert found.refused == dict.fromkeys((3, 4), "partition id 1 is claimed by 2 nodes")


def test_too_many_lies_are_an_error_that_says_which() -> None:
    with pytest.raises(EngineError, match=r"1 usable of 2 nodes after 5 s, at least 2 .*node 3: user = '-1'"):
        shake({2: answer(0), 3: answer(1, user=-1)}, least=2)


def test_the_roster_draws_from_a_directory_with_gaps() -> None:
    """By partition id: node ids, which Flower makes up anew, change nothing."""
    table = {"source": {"name": "sine"}, "split": {"test": 0.0, "validation": 0.0}, "method": {"name": "fedavg"}}
    config = build_config(table)
    indices = [1, 4, 5, 9, 30]
    drawn = []
    for first in (100, 7000):
        found = shake({first - 13 * i: answer(i) for i in indices}, least=5)
        sampler = ClientSampler(found, config)
        assert sampler.cohort(1, 0) == indices
        drawn.append([sampler.cohort(t, 2) for t in range(1, 9)])
        view = SubsetGrid(Nodes({}), drawn[-1][0], found)
        assert [view.client_of(node) for node in view.get_node_ids()] == drawn[-1][0]
    assert drawn[0] == drawn[1]
    assert {i for pair in drawn[0] for i in pair} <= set(indices)


class Instant(Nodes):
    """A grid whose messages may be of any kind."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        kept = [
            Message(RecordDict({CONFIG: ConfigRecord({WORK: ""})}), m.metadata.dst_node_id, "query") for m in messages
        ]
        return super().push_messages(kept)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.polls += 1
        return super().pull_messages(message_ids)


def prompt(delay: int, stopped: threading.Event | None = None) -> tuple[PollingGrid, list[Message]]:
    grid = Instant({2: answer(0), 3: answer(1), 4: None}, delay=delay)
    return PollingGrid(grid, stopped), [Message(RecordDict(), node, "train") for node in (2, 3, 4)]


def waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    now = [0.0]
    monkeypatch.setattr("metapulse.server.grid.time.monotonic", lambda: now[0])

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        now[0] += timeout or 0.0
        return self.is_set()

    monkeypatch.setattr(waiting.threading.Event, "wait", wait)
    return lambda: now[0]


def test_replies_come_as_soon_as_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = waits(monkeypatch)
    grid, messages = prompt(delay=1)
    assert len(grid.send_and_receive(messages[:2], timeout=60.0)) == 2
    assert now() < 0.5


def test_waiting_for_replies_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = waits(monkeypatch)
    grid, messages = prompt(delay=3)
    assert len(grid.send_and_receive(messages, timeout=7.0)) == 2
    assert 7.0 <= now() < 7.5
    assert grid.send_and_receive([], timeout=7.0) == []


def test_an_engine_that_stops_is_an_error_not_a_wait() -> None:
    stopped = threading.Event()
    stopped.set()
    grid, messages = prompt(delay=3, stopped=stopped)
    with pytest.raises(EngineError, match="the engine stopped before all replies had come"):
        grid.send_and_receive(messages)


class Bereaved(Instant):
    """A grid of which node 4 is gone: the SuperLink answers in its name, as node 1."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            if reply.metadata.src_node_id == 4:
                reply.metadata.__dict__["_src_node_id"] = 1
        return replies


def test_a_dead_node_is_missed_once_and_by_its_own_name() -> None:
    grid = PollingGrid(Bereaved({2: answer(0), 3: answer(1), 4: Error(3, "node unavailable")}))
    messages = [Message(RecordDict(), node, "train") for node in (2, 3, 4)]
    accepted, dropped = sift(grid.send_and_receive(messages), {2: 0, 3: 1, 4: 2}, lambda client, reply: client)
    assert list(accepted) == [0, 1]
    assert dropped == [Dropped(2, "node unavailable")]
