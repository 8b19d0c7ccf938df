"""A hostile coordinator against one device: no instruction runs foreign code, none ends the device, each is refused."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from torch import nn

from metapulse.client.app import app
from metapulse.client.make import make_executor
from metapulse.client.spec import client_config_from_json
from metapulse.client.wire import (
    ARRAYS,
    ATTEMPT,
    CHECKPOINT,
    CONFIG,
    METRICS,
    ROUND,
    RUN,
    TRIAL,
    VERSION,
    WIRE,
    WORK,
    encode,
)
from metapulse.errors import InstructionError, MetapulseError
from metapulse.sim.engines.cohort import CohortGrid

HERE = "tests.client.test_hostile_instructions"
RAN: list[str] = []  # what foreign code leaves behind
NODE = {"partition-id": 1}
SPEC: dict[str, Any] = {
    "source": {"name": "sine", "clients": 3},
    "transform": {"name": "none"},
    "model": {"name": "mlp", "hidden": [4]},
    "learner": {"name": "maml", "inner_steps": 2},
    "episodes": {"split": "samples", "shots": 4},
}
QUESTION = {"plan": SPEC["episodes"], "steps": [0, 1]}
TRAIN, EVALUATE, QUERY = MessageType.TRAIN, MessageType.EVALUATE, MessageType.QUERY


def foreign(*args: Any, **kwargs: Any) -> nn.Module:
    """What must not run on a device that does not allow it."""
    RAN.append("function")
    return nn.Linear(1, 1)


class Foreign(nn.Module):
    """What a device may allow."""

    def __init__(self, width: int = 1) -> None:
        RAN.append("class")
        super().__init__()
        self.end = nn.Linear(1, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One line."""
        made: torch.Tensor = self.end(x)
        return made


def theta() -> ArrayRecord:
    return encode(make_executor(client_config_from_json(SPEC)).init())


def changed(**sections: Any) -> str:
    """The work with other sections."""
    return json.dumps({**SPEC, **sections})


def raw(data: bytes) -> ArrayRecord:
    """θ whose first array has these bytes."""
    record = theta()
    record[next(iter(record))] = Array("float32", (4, 1), "numpy.ndarray", data)
    return record


def first(values: np.ndarray) -> ArrayRecord:
    """θ with another first array."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=values.dtype.hasobject)
    return raw(stream.getvalue())


def header(shape: str) -> bytes:
    """A header that claims a shape, and no data."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def more(count: int, name: str = "x") -> ArrayRecord:
    """θ with further arrays."""
    record = theta()
    for i in range(count):
        record[f"{name}{i}"] = Array(np.zeros(1, np.float32))
    return record


def tell(
    kind: str = TRAIN,
    arrays: ArrayRecord | None = None,
    node: dict[str, Any] | None = None,
    state: RecordDict | None = None,
    flower: int = 1,
    **changes: Any,
) -> RecordDict:
    """What the device answers to a sound instruction with changes (None: left out).

    Args:
        kind: of the message.
        arrays: θ (None: the model's own).
        node: the node's configuration.
        state: what Flower keeps for it.
        flower: the run that Flower's context is of.
        changes: of the instruction's configuration.
    """
    CohortGrid(1)  # gives this process the identity that messages need
    own: dict[str, Any] = {WIRE: VERSION, ROUND: 2, WORK: json.dumps(SPEC), RUN: "a1", CHECKPOINT: 0, ATTEMPT: 1}
    own |= {TRIAL: json.dumps(QUESTION)} if kind == EVALUATE else {}
    own |= {key.replace("_", "-"): value for key, value in changes.items()}
    config = ConfigRecord({key: value for key, value in own.items() if value is not None})
    content = RecordDict({ARRAYS: theta() if arrays is None else arrays, CONFIG: config})
    context = Context(flower, 7, node or NODE, RecordDict() if state is None else state, {})
    answer: Message = app(Message(content, 7, kind), context)
    return answer.content


def model(**settings: Any) -> dict[str, Any]:
    return {"work": changed(model=settings)}


def learner(**settings: Any) -> dict[str, Any]:
    return {"work": changed(learner=settings)}


def source(**settings: Any) -> dict[str, Any]:
    return {"work": changed(source=settings)}


def asked(**settings: Any) -> dict[str, Any]:
    return {"kind": EVALUATE, "trial": json.dumps(QUESTION | settings)}


SPEAKS = f"speaks version {VERSION}"
#: What is told, and words of the reason with which it is refused.
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    # names become code
    "print as a model": (model(name="module", factory="builtins:print"), "does not allow it"),
    "eval as a model": (model(name="module", factory="builtins:eval", options={"source": "1"}), "does not allow it"),
    "a shell as a model": (model(name="module", factory="os:system", options={"command": "true"}), "does not allow"),
    "a function as a model": (model(name="module", factory=f"{HERE}:foreign"), "does not allow it"),
    "a class as a model": (model(name="module", factory=f"{HERE}:Foreign"), "does not allow it"),
    "a module of torch": (model(name="module", factory="torch.nn:Linear"), "does not allow it"),
    "a model by dotted name": (model(name=f"{HERE}:foreign"), "does not allow it"),
    "a module that is imported": (model(name="antigravity:fly"), "does not allow it"),
    "a learner by dotted name": (learner(name=f"{HERE}:foreign"), "does not allow it"),
    "a registered class by dotted name": (learner(name="metapulse.methods.maml:MAML"), "does not allow it"),
    "a transform by dotted name": ({"work": changed(transform={"name": "this:s"})}, "does not allow it"),
    "an attack": ({"work": changed(attack={"name": "sign_flip"})}, "work.attack = {'name': 'sign_flip'}: unknown key"),
    "an attack by dotted name": ({"work": changed(attack={"name": "this:s"})}, "unknown key"),
    "faults": ({"work": changed(faults={"outage": 0.5})}, "work.faults = {'outage': 0.5}: unknown key"),
    "a metric by dotted name": (asked(metrics=[f"{HERE}:foreign"]), "does not allow it"),
    "a metric that is imported": (asked(metrics=["rmse", "antigravity:fly"]), "does not allow it"),
    "an unknown metric": (asked(metrics=["mape"]), "evaluation.metrics = 'mape': must be one of"),
    "a metric of classes": (asked(metrics=["auroc"]), "is for classification"),
    "a metric of values": (asked(metrics=["mard"]), "this source has none"),
    "metrics without end": (asked(metrics=["rmse"] * 11), "must have at most 10 entries"),
    "a source by dotted name": (source(name="tests.runs:Faulty"), "names its data"),
    "a device in the device": (
        source(name="metapulse.client.one_client_source:OneClientSource", inner={"name": "this:s"}),
        "names its data",
    ),
    "a file of the device": (source(name="own", path="/etc/passwd"), "names its data"),
    "a record of the device": (source(name="records", path="person.parquet", recipe="glucose_30min"), "names its data"),
    "a data set of the device": (source(name="uci_har"), "names its data"),
    "a name that is a list": (model(name=["mlp"]), "model.name"),
    "no name": (learner(), "learner.name"),
    "an unknown name": (learner(name="mmal"), "must be one of"),
    # sizes
    "a width of a thousand million": (model(name="mlp", hidden=[10**9]), "at most 8192"),
    "many widths": (model(name="mlp", hidden=[4000] * 60), "at most 67108864"),
    "more layers than that": (model(name="mlp", hidden=[1] * 1000), "more than 64 entries"),
    "a hidden state": ({"work": changed(model={"name": "gru", "hidden": 10**12})}, "at most 8192"),
    "copies of the model": (learner(name="fedem", components=10**7), "at most 8192"),
    "slots of a memory": (learner(name="mann", slots=8192, width=8192, decay=0.5), "must be ≥ 1"),
    "steps without end": (learner(name="maml", inner_steps=10**9), "at most 1000"),
    "loops in loops": (learner(name="pfedme", inner_steps=1000, local_steps=1000), "at most 100000"),
    "epochs without end": (learner(name="fedprox", epochs=10**6), "at most 1000"),
    "a million points": (source(name="sine", clients=10**6, points=10**6), "at most 67108864"),
    "a long text": ({"work": changed(model={"name": "mlp", "activation": "x" * 200_000})}, "characters; at most"),
    "a deep text": ({"work": "[" * 50_000}, "expected a JSON table"),
    "a deep table": ({"work": changed(model={"options": json.loads("[" * 40 + "]" * 40)})}, "levels deep"),
    "a long number": ({"work": '{"seed": ' + "9" * 5000 + "}"}, "expected a JSON table"),
    "episodes without end": (asked(episodes=10**9), "at most 1000"),
    "a step too far": (asked(steps=[0, 10**9]), "at most 1000"),
    "a history without end": (asked(history=["watch"], history_steps=10**9), "at most 1000"),
    "other steps at test time": (asked(adapt={"inner_steps": 10**9}), "at most 1000"),
    "all of them together": (asked(episodes=1000, steps=[1000], history_steps=1000), "at most 100000"),
    "a path beyond memory": (
        {"work": changed(model={"name": "mlp", "hidden": [3900, 3900]}, learner={"name": "maml", "inner_steps": 1000})},
        "memory_mb",
    ),
    "windows beyond memory": (source(name="wearables", windows=2**20, executions=32), "memory_mb"),
    "arrays without end": ({"arrays": more(5000)}, "5004 arrays"),
    "an array too many": ({"arrays": more(1)}, "not asked for"),
    "a name of a million": ({"arrays": more(1, "x" * 10**6)}, "not asked for"),
    "a shape claimed": ({"arrays": raw(header(f"({10**12}, {10**12})"))}, "expected float32"),
    "a negative shape": ({"arrays": raw(header("(-4, -1)"))}, "expected float32"),
    "16 MB sent": ({"arrays": first(np.zeros(2**22, np.float32))}, "bytes; at most"),
    # wrong types
    "a pickle": ({"arrays": first(np.array([[foreign]] * 4, dtype=object))}, "expected float32|bytes"),
    "float64": ({"arrays": first(np.zeros((4, 1)))}, "float64"),
    "NaN in θ": ({"arrays": first(np.full((4, 1), np.nan, np.float32))}, "NaN or infinity"),
    "θ of another model": ({"arrays": encode({"w": torch.zeros(2)})}, "array names differ"),
    "no θ": ({"arrays": ArrayRecord()}, "array names differ"),
    "no work": ({"work": None}, "without 'work'"),
    "work that is a number": ({"work": 3}, "without 'work'"),
    "work that is a list": ({"work": "[]"}, "expected a JSON table"),
    "NaN in the work": ({"work": changed(learner={"name": "maml", "inner_lr": math.nan})}, "without NaN"),
    "infinity written out": ({"work": json.dumps(SPEC)[:-1] + ', "seed": 1e999}'}, "not finite"),
    "a section that is a number": ({"work": changed(model=3)}, "expected a table"),
    "an unknown section": ({"work": changed(shell="true")}, "unknown key"),
    "a round in words": ({"server_round": "two"}, "expected an integer"),
    "a negative round": ({"server_round": -1}, "expected an integer"),
    "a round of 10^18": ({"server_round": 10**18}, "expected an integer"),
    "a checkpoint in words": ({"checkpoint": "one"}, "expected an integer"),
    "a run that is a path": ({"run": "../../x"}, "letters and digits"),
    "a long run": ({"run": "a" * 1000}, "letters and digits"),
    "another kind of reply": ({"reply": "data"}, "must be one of update, weights"),
    "a guard that is a list": ({"guard": "[]"}, "expected a JSON table"),
    "negative noise": ({"guard": '{"clip": 1.0, "noise": -1.0}'}, "must be ≥ 0"),
    "no question": ({"kind": EVALUATE, "trial": None}, "without 'trial'"),
    "a question in words": ({"kind": EVALUATE, "trial": "who?"}, "expected a JSON table"),
    "settings without end": ({f"k{i}": i for i in range(1000)}, "settings; at most"),
    # other versions, other runs
    "no version": ({"wire": None}, SPEAKS),
    "the last version": ({"wire": VERSION - 1}, SPEAKS),
    "the next version": ({"wire": VERSION + 1}, SPEAKS),
    "a version in words": ({"wire": str(VERSION)}, SPEAKS),
    "true for a version": ({"wire": True}, SPEAKS),
    "the next version asks who": ({"kind": QUERY, "wire": VERSION + 1}, SPEAKS),
    "another run of Flower's": ({"flower": 2}, "this is run 2"),
}


def refused(**told: Any) -> str:
    """The reason, which is one line."""
    with pytest.raises(MetapulseError) as caught:
        tell(**told)
    reason = str(caught.value)
    assert reason.isprintable()
    assert len(reason) <= 500
    return reason


@pytest.mark.parametrize("offence", HOSTILE)
def test_a_hostile_instruction_is_refused_in_one_line_and_runs_nothing(
    offence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    RAN.clear()
    told, words = HOSTILE[offence]
    reason = refused(**told)
    assert any(one in reason for one in words.split("|")), reason
    assert RAN == []
    assert capfd.readouterr() == ("", "")
    assert not {"this", "antigravity"} & set(sys.modules)


def test_there_are_fifty_of_them() -> None:
    assert len(HOSTILE) >= 50


def test_what_a_device_allows_is_what_it_imports() -> None:
    """Its own configuration lists it; what it makes is counted before there is memory for it."""
    RAN.clear()
    node = NODE | {"allow": f"{HERE}:Foreign {HERE}:nothing"}
    settings = {"name": "module", "factory": f"{HERE}:Foreign"}
    own = encode(make_executor(client_config_from_json({**SPEC, "model": settings})).init())
    assert list(tell(node=node, arrays=own, **model(**settings))) == [ARRAYS, METRICS, CONFIG]
    assert "class" in RAN
    assert "does not allow" in refused(node=node, **model(name="module", factory=f"{HERE}:foreign"))
    wide = {**settings, "options": {"width": 10**12}}
    assert "at most" in refused(node=node, arrays=own, **model(**wide))
    assert "allow = 'print'" in refused(node=NODE | {"allow": "print"})


def test_a_device_sets_its_own_limits() -> None:
    small = NODE | {"limits": '{"width": 3, "loop": 1}'}
    assert "this device allows at most 3" in refused(node=small)
    assert "limits.width = 0" in refused(node=NODE | {"limits": '{"width": 0}'})
    assert "unknown key" in refused(node=NODE | {"limits": '{"wdith": 3}'})
    tell(node=NODE | {"limits": '{"width": 4}'})


@pytest.mark.parametrize("where", ["folder", "context"])
def test_no_training_instruction_is_answered_twice(where: str, tmp_path: Path) -> None:
    """Nor one of an earlier round or attempt; a coordinator that was killed goes on behind its last checkpoint."""
    node = NODE | ({"state": str(tmp_path / "device")} if where == "folder" else {})
    kept, reasons = RecordDict(), list[str]()

    def answered(attempt: int, round: int, checkpoint: int = 0, run: str = "a1") -> bool:
        state = kept if where == "context" else RecordDict()  # another process each time
        told = {"attempt": attempt, "server_round": round, "checkpoint": checkpoint, "run": run}
        try:
            tell(node=node, state=state, **told)
        except InstructionError as error:
            reasons.append(str(error))
            return False
        return True

    assert answered(1, 1)
    assert answered(1, 4, 2)
    assert not answered(1, 4, 2)
    assert not answered(1, 3)
    assert answered(2, 3, 2)  # killed after round 4, begun again at the checkpoint of round 2
    assert not answered(1, 5)
    assert not answered(3, 2)
    assert answered(1, 1, run="b2")
    assert ["answered before" in reason for reason in reasons] == [True, True, True, False]
    assert "goes on after it" in reasons[3]


def test_private_answers_are_counted_over_all_runs(tmp_path: Path) -> None:
    node = NODE | {"state": str(tmp_path), "limits": '{"private_answers": 2}'}
    guard = '{"clip": 1.0, "noise": 1.0}'
    for run in ("a1", "b2"):
        tell(node=node, run=run, guard=guard)
    assert "has given 2 private answers; it allows 2" in refused(node=node, run="c3", guard=guard)
    tell(node=node, run="c3", guard='{"clip": 1.0}')
    (tmp_path / "journal.json").write_text('{"answers": "none"}')
    assert "is damaged" in refused(node=node, run="d4", guard=guard)


def test_a_reply_says_of_which_version_run_and_round_it_is() -> None:
    for kind in (TRAIN, EVALUATE):
        assert dict(tell(kind).config_records[CONFIG]) == {WIRE: VERSION, RUN: "a1", ROUND: 2}
    assert tell(QUERY).config_records[CONFIG][WIRE] == VERSION
