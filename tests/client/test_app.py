"""The ClientApp: what one device answers, which is what its entry of a stack would be."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

from metapulse.client.app import app
from metapulse.client.executor import ClientExecutor
from metapulse.client.memory import ContextMemory, FolderMemory
from metapulse.client.one_client_source import OneClientSource
from metapulse.client.spec import Trial, to_json
from metapulse.client.wire import (
    ARRAYS,
    CHECKPOINT,
    CONFIG,
    EXAMPLES,
    METRICS,
    REPLY,
    ROUND,
    RUN,
    TRIAL,
    VERSION,
    WIRE,
    WORK,
    decode,
    encode,
    read_task,
)
from metapulse.data import Client
from metapulse.errors import ConfigError, DataError, InstructionError, RunError
from metapulse.record.clock import DAY, MINUTE
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.registry import LEARNERS
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.trees import pick, sub
from tests.runs import CURVES, KINDS, distance, make
from tests.thorough import THOROUGH

NODE = 77


def ask(
    config: Any, kind: str, node: dict[str, Any], round: int = 2, state: RecordDict | None = None, **extra: str | int
) -> RecordDict:
    """What a device with this configuration answers; ``state`` is what Flower keeps for it."""
    CohortGrid(1)  # gives this process the identity that messages need
    spec = config.client_config()
    record = ConfigRecord({WIRE: VERSION, ROUND: round, WORK: to_json(spec), **extra})
    content = RecordDict({ARRAYS: encode(ClientExecutor(spec).init()), CONFIG: record})
    context = Context(
        run_id=1, node_id=NODE, node_config=node, state=RecordDict() if state is None else state, run_config={}
    )
    answer: Message = app(Message(content, NODE, kind), context)
    assert answer.metadata.src_node_id == NODE
    return answer.content


@pytest.mark.parametrize("learner", LEARNERS if THOROUGH else (*KINDS, *CURVES, "ditto"))
def test_an_update_is_that_of_the_stack(learner: str) -> None:
    """One learner of each kind: that a client is the same alone is a law of all (tests/laws/test_cohorts.py)."""
    config = make(learner, "fedmaml")
    work = ClientExecutor(config.client_config())
    report = work.train(work.init(), 2, [1, 3, 4]).report
    assert report is not None
    found = ask(config, MessageType.TRAIN, {"partition-id": 3})
    theta = work.init()
    update, expected = decode(found.array_records[ARRAYS]), pick(report.update, 1)
    assert list(update) == list(theta)
    assert distance(sub(theta, update), sub(theta, expected)) <= 1e-6
    numbers = found.metric_records[METRICS]
    assert numbers[EXAMPLES] == pytest.approx(float(report.weight[1]), rel=1e-5)
    assert numbers["loss"] == pytest.approx(float(report.metrics["loss"][1]), rel=1e-5)


def test_weights_where_they_are_asked_for() -> None:
    config = make("fedavg", "fedavg")
    theta = ClientExecutor(config.client_config()).init()
    update = decode(ask(config, MessageType.TRAIN, {"partition-id": 0}).array_records[ARRAYS])
    weights = decode(ask(config, MessageType.TRAIN, {"partition-id": 0}, **{REPLY: "weights"}).array_records[ARRAYS])
    assert all(torch.equal(weights[name], theta[name] - update[name]) for name in theta)


@pytest.mark.parametrize("where", ["folder", "context"])
def test_what_a_device_keeps_stays_there_and_is_what_the_stack_would_keep(where: str, tmp_path: Path) -> None:
    """Three rounds and a meta-test, and no answer holds more than those of learners that keep nothing."""
    config = make("ditto", "fedavg")
    work, flower = ClientExecutor(config.client_config()), RecordDict()
    node = {"partition-id": 3} | ({"state": str(tmp_path)} if where == "folder" else {})
    trial = Trial(plan=config.episodes, steps=(0, 1), episodes=2)
    states: dict[int, Any] = {}
    for round in (1, 2, 5):
        outcome = work.train(work.init(), round, [3], states)
        states = {3: pick(outcome.state, 0)}
        found = ask(config, MessageType.TRAIN, node, round, flower, **{RUN: "a1", CHECKPOINT: 1})
        assert list(found) == [ARRAYS, METRICS, CONFIG]
        assert dict(found.config_records[CONFIG]) == {WIRE: VERSION, RUN: "a1", ROUND: round}
        assert list(found.array_records[ARRAYS]) == list(work.init())
    memory = FolderMemory(tmp_path, "a1") if where == "folder" else ContextMemory(flower)
    assert memory.rounds() == [1, 5]
    assert bool(list(tmp_path.iterdir())) is (where == "folder")
    assert all(torch.equal(memory.read(5)[name], p) for name, p in states[3].items())
    expected = work.evaluate(work.init(), 5, [3], trial, states).metrics
    asked = {TRIAL: to_json(trial), RUN: "a1"}
    answer = ask(config, MessageType.EVALUATE, node, 5, flower, **asked)
    assert list(answer) == [METRICS, CONFIG]
    stranger = ask(config, MessageType.EVALUATE, {"partition-id": 3}, 5, **asked).metric_records[METRICS]
    for name, values in expected.items():
        assert answer.metric_records[METRICS][name] == values[0].flatten().tolist()
    assert stranger["loss"] != answer.metric_records[METRICS]["loss"]


def test_two_processes_on_one_folder_do_not_work_on_a_run_together(tmp_path: Path) -> None:
    """The second is refused in one line, before anything is trained; another run of the same device goes on."""
    config, node = make("ditto", "fedavg"), {"partition-id": 3, "state": str(tmp_path)}
    told: list[str] = []

    def other() -> None:
        try:
            ask(config, MessageType.TRAIN, node, 1, **{RUN: "a1"})
        except RunError as error:
            told.append(str(error))

    with FolderMemory(tmp_path, "a1").alone():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        ask(config, MessageType.TRAIN, node, 1, **{RUN: "b2"})
    where = f"{tmp_path / 'a1'} is in use by process {os.getpid()} on this device"
    assert told == [f"{where}; one at a time works on a run's rounds"]
    assert FolderMemory(tmp_path, "a1").rounds() == []
    ask(config, MessageType.TRAIN, node, 1, **{RUN: "a1"})
    assert [FolderMemory(tmp_path, run).rounds() for run in ("a1", "b2")] == [[1], [1]]


def test_scores_are_those_of_the_stack() -> None:
    config = make("maml", "fedmaml")
    trial = Trial(plan=config.episodes, steps=(0, 1, 3), episodes=2)
    work = ClientExecutor(config.client_config())
    expected = work.evaluate(work.init(), 0, [0, 5], trial)
    found = ask(config, MessageType.EVALUATE, {"partition-id": 5}, **{TRIAL: to_json(trial)}).metric_records[METRICS]
    assert found[EXAMPLES] == 2
    for name, values in expected.metrics.items():
        np.testing.assert_allclose(found[name], values[1].flatten(), rtol=1e-5, atol=1e-6)


def test_who_is_there() -> None:
    config = make("maml", "fedmaml")
    found = ask(config, MessageType.QUERY, {"partition-id": 4}).config_records[CONFIG]
    expected = ClientExecutor(config.client_config()).source.client(4)
    assert (found["partition-id"], found["user"], found["device"]) == (4, expected.user, "watch")
    assert found["label"] == expected.label
    assert read_task(found) == ClientExecutor(config.client_config()).source.task


def test_a_device_without_a_partition_id_says_so() -> None:
    with pytest.raises(ConfigError, match="partition-id = None"):
        ask(make("maml", "fedmaml"), MessageType.QUERY, {})
    with pytest.raises(ConfigError, match="partition-id = '3'"):
        ask(make("maml", "fedmaml"), MessageType.QUERY, {"partition-id": "3"})


def test_a_client_that_cannot_train_says_why() -> None:
    config = make("maml", "fedmaml", "sine", source={"name": "tests.runs:Faulty"})
    node = {"partition-id": 1, "allow": "tests.runs:Faulty"}
    with pytest.raises(InstructionError, match="round 2, client 1, episode: client 1 has no samples"):
        ask(config, MessageType.TRAIN, node)
    with pytest.raises(InstructionError, match="round 2, client 1, evaluate: client 1 has no samples"):
        ask(config, MessageType.EVALUATE, node, **{TRIAL: to_json(Trial())})


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    """Two people's samples in a file; the settings of the source."""
    draw = np.random.default_rng(1)
    lines = ["a,b,y,user"]
    lines += [f"{draw.normal():.4f},{draw.normal():.4f},{'uv'[n % 2]},{n // 12}" for n in range(24)]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    return {"name": "own", "path": str(tmp_path / "mine.csv")}


def test_a_device_serves_its_own_data_under_its_partition_id(own: dict[str, Any]) -> None:
    """Whatever source the instruction names; draws are addressed by the partition id."""
    config = make(
        "maml",
        "fedmaml",
        model={"name": "mlp", "hidden": [4]},
        transform={"name": "none"},
        episodes={"split": "samples"},
    )
    node = {"partition-id": 41, "source": json.dumps(own), "client": 1, "user": 9, "device": "ring", "label": "anna"}
    who = ask(make("maml", "fedmaml", "sine"), MessageType.QUERY, node).config_records[CONFIG]
    assert [who[key] for key in ("partition-id", "user", "device", "label")] == [41, 9, "ring", "anna"]
    task = read_task(who)
    assert (task.kind, task.features, task.labels) == ("classification", (2,), ("u", "v"))
    spec = config.client_config()
    work = ClientExecutor(
        type(spec)(
            **{
                **vars(spec),
                "source": {
                    "name": "metapulse.client.one_client_source:OneClientSource",
                    "inner": own,
                    "index": 41,
                    "which": 1,
                },
            }
        )
    )
    report = work.train(work.init(), 2, [41]).report
    CohortGrid(1)
    record = ConfigRecord({WIRE: VERSION, ROUND: 2, WORK: to_json(spec)})
    content = RecordDict({ARRAYS: encode(work.init()), CONFIG: record})
    context = Context(run_id=1, node_id=NODE, node_config=node, state=RecordDict(), run_config={})
    found = decode(app(Message(content, NODE, MessageType.TRAIN), context).content.array_records[ARRAYS])
    assert report is not None
    assert all(torch.equal(found[name], p[0]) for name, p in report.update.items())


def test_a_device_serves_its_persons_record_whatever_path_an_instruction_names(tmp_path: Path) -> None:
    """The same work as on the source itself; of two devices in the record the one that the node names."""
    rows = [
        Row(
            "glucose",
            19_800 * DAY + (5 * i + k) * MINUTE,
            100.0 + (3 + k) * (i % 7),
            row=2 * i + k,
            device=Device(model=model),
        )
        for i in range(100)
        for k, model in enumerate(("Sensor A", "Sensor B"))
    ]
    write_rows(rows, tmp_path / "person.parquet", FileTally("test", "test"))
    inner = {
        "name": "records",
        "path": str(tmp_path / "person.parquet"),
        "recipe": "glucose_30min",
        "device": "Sensor B",
    }
    node = {"partition-id": 41, "source": json.dumps(inner)}
    more = {"transform": {"name": "none"}, "model": {"name": "mlp", "hidden": [4]}, "episodes": {"split": "forward"}}
    told = make("maml", "fedmaml", "sine", source={"name": "records", "path": "/etc", "recipe": "activity"}, **more)
    who = ask(told, MessageType.QUERY, node).config_records[CONFIG]
    assert (who["device"], read_task(who).features) == ("Sensor B", (1, 24))
    same_source = {"name": "metapulse.client.one_client_source:OneClientSource", "inner": inner, "index": 41}
    work = ClientExecutor(replace(told.client_config(), source=same_source))
    report = work.train(work.init(), 2, [41]).report
    assert report is not None
    CohortGrid(1)
    record = ConfigRecord({WIRE: VERSION, ROUND: 2, WORK: to_json(told.client_config())})
    content = RecordDict({ARRAYS: encode(work.init()), CONFIG: record})
    context = Context(run_id=1, node_id=NODE, node_config=node, state=RecordDict(), run_config={})
    found = decode(app(Message(content, NODE, MessageType.TRAIN), context).content.array_records[ARRAYS])
    assert all(torch.equal(found[name], p[0]) for name, p in report.update.items())
    with pytest.raises(InstructionError, match=r"source\.name = 'records': this device's own"):
        ask(told, MessageType.QUERY, {"partition-id": 41})


def test_a_malformed_own_source_is_named(own: dict[str, Any]) -> None:
    config = make("maml", "fedmaml")
    with pytest.raises(ConfigError, match="source = 'own'"):
        ask(config, MessageType.QUERY, {"partition-id": 0, "source": "own"})
    with pytest.raises(ConfigError, match=r"source\.name = 'mine'"):
        ask(config, MessageType.QUERY, {"partition-id": 0, "source": '{"name": "mine"}'})


def test_a_device_is_one_client(own: dict[str, Any]) -> None:
    device = OneClientSource(own, index=7, which=1)
    assert device.client(7) == Client(7, 7, device.client(7).device, "7")
    assert list(device.clients_of(7)) == [7]
    assert (len(device), device.users, device.devices) == (8, 8, (device.client(7).device,))
    assert len(device.samples(7)) == 12
    for ask_for in (device.client, device.samples):
        with pytest.raises(DataError, match="this device is client 7, not 0"):
            ask_for(0)
