"""Flower's Simulation Runtime, started once for all files of this folder."""

from __future__ import annotations

import queue
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from flwr.serverapp import Grid

from metapulse.client.flower_compat import TaskIdentity
from metapulse.client.spec import to_json
from metapulse.server.config import Config
from metapulse.server.directory import QueriedDirectory, handshake
from metapulse.server.grid import PollingGrid
from metapulse.server.run import Run
from metapulse.sim.engines.flower import simulate
from metapulse.sim.engines.settings import Flower
from tests.processes import PATIENCE
from tests.runs import CLIENTS, Result, read

K = TypeVar("K", bound=Hashable)
ENGINE = Flower(cpus_per_client=1.0)


class Runtime:
    """One simulation, which does runs as they are asked for; it starts with the first, and again after ``close``."""

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[Config, Path] | None] = queue.Queue()
        self._done: queue.Queue[Result | BaseException] = queue.Queue()
        self._thread: threading.Thread | None = None

    def __call__(self, configs: Mapping[K, Config], folder: Path) -> dict[K, Result]:
        """What every configuration leaves behind."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
        found: dict[K, Result] = {}
        for key, config in configs.items():
            self._asked.put((config, folder / ("-".join(key) if isinstance(key, tuple) else str(key))))
            done = self._done.get(timeout=PATIENCE)
            if isinstance(done, BaseException):
                raise done
            found[key] = done
        return found

    def close(self) -> None:
        """End the simulation."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(PATIENCE)
            self._thread = None

    def _serve(self) -> None:
        try:
            simulate(self._job, CLIENTS, ENGINE)
        except BaseException as error:  # the thread that waits for a result gets the reason
            self._done.put(error)

    def _job(self, grid: Grid, stopped: threading.Event) -> None:
        prompt, identity = PollingGrid(grid, stopped), (TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id)
        directories: dict[str, QueriedDirectory] = {}
        while (asked := self._asked.get()) is not None:
            config, path = asked
            # Flower keeps who a process is in one place, and the cohort engine, run meanwhile, is another one.
            TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = identity
            try:
                people = str(config.source)
                if people not in directories:
                    directories[people] = handshake(prompt, to_json(config.client_config()), CLIENTS, PATIENCE)
                self._done.put(read(path, Run(config, prompt, directories[people], path).start()))
            except Exception as error:
                self._done.put(error)


RUNTIME = Runtime()


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """Flower's runtime with six clients; a test that starts an engine of its own closes it before: it has all cores."""
    return RUNTIME


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """The tests of other folders start engines of their own."""
    if nextitem is None or nextitem.path.parent != Path(__file__).parent:
        RUNTIME.close()
