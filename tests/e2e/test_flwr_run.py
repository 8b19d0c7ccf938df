"""``flwr run .`` from the checkout as it is, on a SuperLink that simulates the nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metapulse.server.folder import RunFolder
from tests.processes import ROOT, Program, connection, flwr, free_port, status


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A Flower home whose only connection is a SuperLink with simulated SuperNodes."""
    folder, port = tmp_path / "home", free_port()
    connection(folder, port)
    command = ["flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--isolation", "subprocess", "--disable-runtime-dependency-installation"]
    with Program(command, folder / "superlink.log", {"FLWR_HOME": str(folder)}) as superlink:
        superlink.listens(port)
        yield folder


def test_run(home: Path, tmp_path: Path) -> None:
    """The default configuration on three simulated nodes: the run is completed, and its folder holds all of it."""
    nodes = ["--federation-config", "num-supernodes=3 client-resources-num-cpus=1"]
    said = flwr("run", str(ROOT), "here", "--stream", *nodes, "-c", f"out='{tmp_path / 'run'}'", home=home)
    found = re.search(r"Successfully started run (\d+)", said)
    assert found, said
    assert status(home, found[1])["status"] == "finished:completed", said
    folder = RunFolder(tmp_path / "run")
    summary = json.loads((folder.path / "summary.json").read_text())
    assert summary["rounds"] == 3
    assert summary["dropped"] == 0
    rows = folder.metrics()
    assert len({row["client"] for row in rows}) == 2  # half of three people, rounded
    assert {row["step"] for row in rows} == {0, 1, 5}
    told = [event["kind"] for event in folder.events() if event["kind"] != "checkpoint"]
    assert told == ["round"] * 3 + ["meta-test"]
