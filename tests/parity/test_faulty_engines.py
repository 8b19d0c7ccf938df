"""Attackers and faults on the cohort engine and on Flower's: the same people, the same losses, the same numbers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from metapulse.client.spec import to_json
from metapulse.server.config import Config
from metapulse.server.directory import handshake
from metapulse.server.folder import RunFolder
from metapulse.server.grid import PollingGrid
from metapulse.server.run import Run
from metapulse.sim import experiment
from metapulse.sim.engines.flower import SimulatedApp, simulate
from metapulse.sim.engines.resent import ResendingGrid
from metapulse.sim.engines.settings import Flower
from metapulse.sim.population import Population
from metapulse.strategies.replies import SECOND
from metapulse.trees import norm, sub
from tests.parity.conftest import Runtime
from tests.processes import PATIENCE
from tests.runs import CLIENTS, Result, distance, make, read

ENGINE = Flower(cpus_per_client=1.0)
FAULTS = {"partial": 0.6, "deadline_s": 0.2, "samples_per_s": 200.0, "outage": 0.3, "duplicate": 0.7}
CASES: dict[str, dict[str, Any]] = {
    "sign_flip": {"attack": {"name": "sign_flip", "fraction": 0.5}},
    "free_rider": {"attack": {"name": "free_rider", "fraction": 0.5, "noise": 0.1}},
    "nan": {"attack": {"name": "nan", "fraction": 0.5}},
    "label_flip": {"attack": {"name": "label_flip", "fraction": 0.5}},
    "replacement": {"attack": {"name": "replacement", "fraction": 0.5}},
    "faults": {"faults": FAULTS},
    "both": {"faults": FAULTS, "attack": {"name": "label_flip", "fraction": 0.5}},
}


def cases() -> dict[str, Config]:
    """One round each, with four of the six people in it."""
    return {name: make("fedavg", "fedavg", strategy={"cohort": 0}, **section) for name, section in CASES.items()}


class Named(ClientApp):
    """Simulated devices of the case that a file names, so that one simulation serves all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    @staticmethod
    def say(folder: Path, name: str) -> None:
        (folder / "case").write_text(name)

    def __call__(self, message: Message, context: Context) -> Message:
        name = (self._folder / "case").read_text()
        return SimulatedApp(self._folder / f"devices of {name}", Population.of(cases()[name]))(message, context)


def told(path: Path) -> list[tuple[int, str]]:
    """Who was dropped, and why."""
    return [(e["client"], e["reason"]) for e in RunFolder(path).events() if e["kind"] == "dropped" and e["round"] == 1]


@pytest.fixture(scope="module")
def flower(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Result], Path]:
    runtime.close()  # here a simulation has devices of its own
    folder = tmp_path_factory.mktemp("flower")

    def job(grid: Grid, stopped: threading.Event) -> dict[str, Result]:
        prompt, results = PollingGrid(grid, stopped), {}
        Named.say(folder, "nan")
        directory = handshake(prompt, to_json(cases()["nan"].client_config()), CLIENTS, PATIENCE)
        for name, config in cases().items():
            Named.say(folder, name)
            network = ResendingGrid(prompt, directory, Population.of(config))
            results[name] = read(folder / name, Run(config, network, directory, folder / name).start())
        return results

    return simulate(job, CLIENTS, ENGINE, Named(folder)), folder


@pytest.mark.ray
@pytest.mark.parametrize("name", CASES)
def test_the_first_round_is_the_same(name: str, flower: tuple[dict[str, Result], Path], tmp_path: Path) -> None:
    ours, theirs = read(tmp_path / name, experiment.run_experiment(cases()[name], tmp_path / name)), flower[0][name]
    steps = [sub(result.thetas[1], result.thetas[0]) for result in (ours, theirs)]
    assert norm(steps[0]) > 0
    assert distance(*steps) <= 1e-5
    lost, theirs_lost = sorted(told(tmp_path / name)), sorted(told(flower[1] / name))
    assert [client for client, _ in lost] == [client for client, _ in theirs_lost]
    if name != "nan":  # a reply by itself says which array is at fault, a stack does not; Flower adds words of its own
        assert all(reason in said for (_, reason), (_, said) in zip(lost, theirs_lost, strict=True))
    values = [[row["value"] for row in result.rows] for result in (ours, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6)


@pytest.mark.ray
def test_the_faults_of_that_round_do_strike(flower: tuple[dict[str, Result], Path]) -> None:
    reasons = [reason for _, reason in told(flower[1] / "faults")]
    assert SECOND in reasons
    assert any("late" in reason or "dropped out" in reason for reason in reasons)
