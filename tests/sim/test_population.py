"""A simulated population: engines give it to their clients; instructions and real devices know nothing of it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from metapulse.client.executor import ClientExecutor
from metapulse.client.scaling import ScalingExecutor
from metapulse.client.spec import to_json
from metapulse.client.wire import ARRAYS, CONFIG, ROUND, RUN, VERSION, WIRE, WORK, encode
from metapulse.server.config import Config
from metapulse.server.directory import QueriedDirectory, handshake
from metapulse.server.grid import PollingGrid
from metapulse.sim.engines.resent import ResendingGrid
from metapulse.sim.population import SOUND, ClientJob, FaultyClients, Population
from tests.direct import Direct
from tests.runs import CLIENTS, make

NODES = {1000 - 7 * i: {"partition-id": i, "num-partitions": CLIENTS} for i in range(CLIENTS)}
FLIP = {"name": "sign_flip", "fraction": 0.5}


def config(**sections: Any) -> Config:
    return make("fedavg", "fedavg", "sine", **sections)


def job(made: Config) -> ClientJob:
    return ClientJob(to_json(made.client_config()), Population.of(made))


@pytest.mark.parametrize(
    "sections",
    [
        {"attack": FLIP},
        {"faults": {"outage": 0.1}},
        {"faults": {"duplicate": 0.5}},
        {"faults": {"hours_per_round": 2.0}, "attack": {"name": "alie"}},
    ],
)
def test_an_instruction_says_nothing_of_it(sections: dict[str, Any]) -> None:
    made = config(**sections)
    assert to_json(made.client_config()) == to_json(config().client_config())
    assert Population.of(made) != SOUND
    assert isinstance(job(made).work, FaultyClients)


def test_of_a_sound_population_the_work_is_the_ordinary_one() -> None:
    for sections in ({}, {"attack": {"name": "none"}}, {"faults": {"over_selection": 0.5}}):
        assert Population.of(config(**sections)) == SOUND
        assert type(job(config(**sections)).work) is ClientExecutor


def test_the_question_before_round_one_is_asked_of_everybody_alike() -> None:
    made = config(attack=FLIP, transform={"name": "global"})
    assert type(job(made).work) is ScalingExecutor
    assert job(made).faulty is None


def test_work_is_made_once_for_equal_jobs() -> None:
    """Also for one that has travelled to another process."""
    made = config(attack=FLIP, faults={"deadline_s": 1.0, "speed": {"watch": 2.0}})
    assert pickle.loads(pickle.dumps(job(made))).work is job(made).work
    assert job(made).work is not job(config(attack=FLIP)).work


def grid() -> tuple[PollingGrid, QueriedDirectory]:
    prompt = PollingGrid(Direct(NODES))
    return prompt, handshake(prompt, to_json(config().client_config()), CLIENTS, 60.0)


def asked(made: Config) -> list[Message]:
    """All clients are to train."""
    told: dict[str, Any] = {WIRE: VERSION, ROUND: 1, RUN: "a1", WORK: to_json(made.client_config())}
    content = RecordDict({CONFIG: ConfigRecord(told), ARRAYS: encode(job(made).work.init())})
    return [Message(content, node, MessageType.TRAIN) for node in NODES]


def test_some_replies_come_twice() -> None:
    """Those of the same people as on the cohort engine, at the end, and as they were."""
    made = config(faults={"duplicate": 0.5})
    prompt, directory = grid()
    replies = ResendingGrid(prompt, directory, Population.of(made)).send_and_receive(asked(made))
    first, again = replies[:CLIENTS], replies[CLIENTS:]
    assert {m.metadata.src_node_id for m in first} == set(NODES)
    expected = job(made).faulty.twice(1, range(CLIENTS))
    assert sorted(NODES[m.metadata.src_node_id]["partition-id"] for m in again) == expected
    assert 0 < len(expected) < CLIENTS
    assert all(message in first for message in again)


def test_answers_before_round_one_come_once() -> None:
    made = config(faults={"duplicate": 1.0}, transform={"name": "global"})
    prompt, directory = grid()
    assert len(ResendingGrid(prompt, directory, Population.of(made)).send_and_receive(asked(made))) == CLIENTS


@pytest.mark.long
def test_a_device_has_no_code_for_it() -> None:
    """Nothing of the simulation is imported where a ClientApp answers an instruction."""
    code = (
        "import json, sys\n"
        "from metapulse.client.app import app\n"
        "from metapulse.client.make import make_executor\n"
        "from metapulse.client.spec import client_config_from_json\n"
        f"make_executor(client_config_from_json(json.loads({to_json(config().client_config())!r})))\n"
        "print(json.dumps([name for name in sys.modules if name.startswith(('metapulse.sim.', 'metapulse.server'))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    data = ("metapulse.sim.sources", "metapulse.sim.importers")  # how data is read is a device's own business
    assert [name for name in found if not name.startswith(data)] == []
