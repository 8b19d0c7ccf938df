"""Flower's private parts: one file names them, they are where it says, and they do what it relies on."""

from __future__ import annotations

import ast
import importlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from metapulse.client import flower_compat as compat
from metapulse.client.wire import LazyArray

ROOT = Path(__file__).parents[2]
FILE = ROOT / "client" / "flower_compat.py"
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")
FOLDERS = ("metapulse", "client", "strategies", "server", "sim", "tests", "benchmarks", "examples")


def private_imports(path: Path) -> list[tuple[str, str, int]]:
    """Module, name and line of everything that a file imports from Flower's private modules."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name, alias.lineno) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "", alias.lineno) for alias in node.names]
    return [one for one in found if f"{one[0]}.".startswith("flwr.") and not one[0].startswith(PUBLIC)]


def reasons() -> list[tuple[str, str, str]]:
    """Module and name of each private part, and what it is for: the comment beside it."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [(module, name, lines[at - 1].partition("#")[2].strip()) for module, name, at in private_imports(FILE)]


@pytest.mark.parametrize(("module", "name", "why"), reasons(), ids=[name for _, name, _ in reasons()])
def test_it_is_where_it_was(module: str, name: str, why: str) -> None:
    assert why, f"{name} has no reason beside it"
    moved = f"flwr {version('flwr')} has no {module}.{name}, which flwr {compat.READ_FROM} had: {why}"
    try:
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.import_module(f"{module}.{name}"), moved
    except ImportError:
        pytest.fail(moved)


def test_the_version_is_the_one_it_was_read_from() -> None:
    installed = version("flwr")
    told = f"flwr is {installed}: look at every part in {FILE.name} again, then state the new version there"
    assert installed.split(".")[:2] == compat.READ_FROM.split("."), told


def test_no_other_file_uses_them() -> None:
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != FILE)
    found = {path.relative_to(ROOT).as_posix(): private_imports(path) for path in paths if not _linked(path)}
    assert {name: parts for name, parts in found.items() if parts} == {}


def _linked(path: Path) -> bool:
    return any(parent.is_symlink() for parent in (path, *path.parents) if parent.is_relative_to(ROOT))


def test_a_message_can_be_made_and_answered_in_this_process() -> None:
    compat.act_as_server()
    message = Message(RecordDict({"config": ConfigRecord({"a": 1})}), 7, MessageType.TRAIN)
    reply = Message(RecordDict(), reply_to=message)
    assert (message.metadata.src_node_id, message.metadata.dst_node_id) == (1, 7)
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (7, 1)


def test_numbers_travel_as_an_array() -> None:
    """What is deflated under the name of Flower's own class is inflated as one."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    sent, plain = ArrayRecord({"w": LazyArray(values)}), ArrayRecord({"w": Array(values)})
    assert sent.object_id == plain.object_id
    assert LazyArray(values).deflate() == Array(values).deflate()
    assert type(Array.inflate(LazyArray(values).deflate(), children=dict(LazyArray(values).children or {}))) is Array


def test_nothing_is_reported_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = compat.telemetry
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    monkeypatch.setattr(telemetry, "FLWR_TELEMETRY_ENABLED", "1")
    with compat.without_telemetry():
        assert telemetry.FLWR_TELEMETRY_ENABLED == "0"
    assert telemetry.FLWR_TELEMETRY_ENABLED == "1"
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    with compat.without_telemetry():
        assert telemetry.FLWR_TELEMETRY_ENABLED == "1"


def test_a_secret_comes_back_from_enough_shares() -> None:
    secret = bytes(range(32))
    shares = compat.create_shares(secret, 3, 5)
    assert compat.combine_shares(shares[1:4]) == secret
