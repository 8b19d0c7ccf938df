"""The engine on Flower's Simulation Runtime: a whole run, what fails in it, and what it refuses."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest
import ray
from flwr.serverapp import Grid

from metapulse.errors import ConfigError, EngineError, RunError
from metapulse.server.directory import handshake
from metapulse.server.folder import RunFolder
from metapulse.server.grid import PollingGrid
from metapulse.sim import experiment
from metapulse.sim.engines.flower import MOST_CLIENTS, simulate
from metapulse.sim.engines.settings import Flower
from metapulse.sim.engines.workers import RayPool
from tests.processes import PATIENCE
from tests.runs import CLIENTS, distance, make, read

ALL_TRAIN = {"split": {"test": 0.0}, "strategy": {"cohort": 0}, "evaluation": {"scenarios": ["known_user"]}}


def facts(path) -> list[dict[str, object]]:
    """The event log without the wall clock."""
    return [
        {k: v for k, v in event.items() if k not in ("seconds", "spent", "time")} for event in RunFolder(path).events()
    ]


@pytest.mark.ray
def test_a_run_with_failing_clients_is_the_cohort_engines(tmp_path) -> None:
    """Two rounds; clients without usable samples are dropped, named and counted alike."""
    results = {}
    for engine in ("cohort", "flower"):
        source = {"name": "tests.runs:Faulty", "clients": CLIENTS}
        config = make("maml", "fedmaml", "sine", 2, source=source, engine={"name": engine}, **ALL_TRAIN)
        results[engine] = read(tmp_path / engine, experiment.run_experiment(config, tmp_path / engine))
    ours, theirs = results["cohort"], results["flower"]
    assert all(distance(a, b) <= 1e-6 for a, b in zip(ours.thetas, theirs.thetas, strict=True))
    assert ours.summary["dropped"] == theirs.summary["dropped"] == 2 * 2 + 2  # two rounds and the meta-test
    dropped = [[event for event in facts(tmp_path / engine) if event["kind"] == "dropped"] for engine in results]
    assert [(e["round"], e["client"]) for e in dropped[0]] == [(e["round"], e["client"]) for e in dropped[1]]
    for ours_said, theirs_said in zip(*dropped, strict=True):
        assert str(ours_said["reason"]) in str(theirs_said["reason"])  # Flower wraps it in the exception's name
    assert "client 1 has no samples" in str(dropped[0][0]["reason"])
    assert "NaN" in str(dropped[0][1]["reason"])
    assert not ray.is_initialized()
    assert logging.getLogger("flwr").level < logging.CRITICAL


@pytest.mark.ray
def test_what_fails_on_the_server_is_raised_here() -> None:
    def job(grid: Grid, stopped: threading.Event) -> None:
        assert not stopped.is_set()
        raise RunError("the disk is full")

    before = dict(os.environ)
    with pytest.raises(RunError, match="the disk is full"):
        simulate(job, 1, Flower())
    assert not ray.is_initialized()
    kept = {
        "RAY_max_direct_call_object_size",
        "RAY_task_events_report_interval_ms",
        "PYTHONBREAKPOINT",
    }  # of Ray itself
    assert {k for k, v in os.environ.items() if before.get(k) != v} <= kept


@pytest.mark.ray
def test_an_interrupt_ends_everything_in_good_order() -> None:
    """Ctrl-C while replies are awaited: the server stops waiting, Flower and Ray end, and only then it is raised."""
    seen: list[BaseException] = []

    def job(grid: Grid, stopped: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            handshake(PollingGrid(grid, stopped), "{}", 2, PATIENCE)
        except EngineError as error:
            seen.append(error)
            raise

    with pytest.raises(KeyboardInterrupt):
        simulate(job, 1, Flower())
    assert "the engine stopped" in str(seen[0])
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_refusals(tmp_path) -> None:
    config = make("maml", "fedmaml", "sine", source={"clients": MOST_CLIENTS + 1}, engine={"name": "flower"})
    with pytest.raises(ConfigError, match=r"engine\.name = 'flower': serves at most 20000 clients, not 20001"):
        experiment.run_experiment(config, tmp_path / "a")
    many = make("maml", "fedmaml", "sine", engine={"name": "flower", "cpus_per_client": 3.0, "workers": 2})
    with pytest.raises(ConfigError, match=r"engine\.cpus_per_client = 3\.0: must be ≤ 2"):
        experiment.run_experiment(many, tmp_path / "b")
    unreachable = make("maml", "fedmaml", "sine", engine={"name": "flower", "address": "127.0.0.1:1"})
    for begin in (lambda: experiment.run_experiment(unreachable, tmp_path / "c"), lambda: RayPool(1, "127.0.0.1:1")):
        with pytest.raises(EngineError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
            begin()
    assert list(tmp_path.iterdir()) == []
