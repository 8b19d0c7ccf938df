"""Flower's Simulation Runtime on Ray, in this process: one ClientApp per client, every message a real one.

Slow next to the cohort engine, and therefore the reference: here stock Flower calls the clients. Both give the same
numbers.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from metapulse.client.app import app as client_app
from metapulse.client.app import device_app
from metapulse.client.executor import ClientExecutor
from metapulse.client.flower_compat import without_telemetry
from metapulse.client.spec import to_json
from metapulse.client.wire import WORK, read_text
from metapulse.errors import ConfigError, EngineError
from metapulse.registry import ATTACKS
from metapulse.server.config import Config
from metapulse.server.directory import handshake
from metapulse.server.fingerprint import known_inputs
from metapulse.server.grid import PollingGrid
from metapulse.server.progress import Progress
from metapulse.server.run import Run
from metapulse.sim.data_remarks import data_remarks, probed
from metapulse.sim.engines.cluster import interrupt_sets, ray_session, start_ray, sweep
from metapulse.sim.engines.resent import ResendingGrid
from metapulse.sim.engines.settings import Flower
from metapulse.sim.population import ClientJob, Population

T = TypeVar("T")
MOST_CLIENTS = 20_000  # Flower sweeps all nodes for every message
START_S = 300.0  # longest wait for Ray's workers and for all nodes' answers who they are


def run_flower(
    config: Config, engine: Flower, path: Path, progress: Progress | None = None, resume: bool = False
) -> dict[str, Any]:
    """Run to the end on Flower's Simulation Runtime; the summary.

    Args:
        config: what to do.
        engine: how.
        path: the run's folder.
        progress: told how it goes.
        resume: go on where the folder's last checkpoint stands.

    Raises:
        ConfigError: more clients than Flower can serve, more cores per client than there are, or attackers who collude.
        EngineError: the runtime broke down.
    """
    _refuse_colluders(config)
    inputs = known_inputs(config, path if resume else None)
    work = ClientExecutor(config.client_config())
    size = len(work.source)
    idle, population = probed(work, config), Population.of(config)
    said = [*data_remarks(work, config), *idle]

    def job(grid: Grid, stopped: threading.Event) -> dict[str, Any]:
        prompt = PollingGrid(grid, stopped)
        directory = replace(handshake(prompt, to_json(config.client_config()), size, START_S), said=said)
        network = ResendingGrid(prompt, directory, population) if config.faults.duplicate else prompt
        run = Run(config, network, directory, path, progress, inputs)
        return run.resume() if resume else run.start()

    return simulate(job, size, engine, SimulatedApp(path / "devices", population))


def _refuse_colluders(config: Config) -> None:
    """Only the cohort engine, which calls all clients at once, can make an attack of all clients' updates.

    Raises:
        ConfigError: the configuration has such an attack.
    """
    if ATTACKS.make(config.attack).omniscient:
        name = config.attack["name"]
        raise ConfigError("attack.name", name, "knows all clients' updates, which only the cohort engine has together")


class SimulatedApp(ClientApp):
    """The ClientApp of the devices of a simulated population.

    Args:
        folder: holds a folder for every partition id, in which its device keeps its state, as a real one does.
        population: who attacks, and what goes wrong with devices.
    """

    def __init__(self, folder: Path, population: Population) -> None:
        super().__init__()
        self._folder, self._population = folder.resolve(), population

    def __call__(self, message: Message, context: Context) -> Message:
        """What the device answers."""
        own = {"state": str(self._folder / str(context.node_config["partition-id"]))}
        node = {**context.node_config, **own}
        asked = Context(context.run_id, context.node_id, node, context.state, context.run_config)
        return _app(self._population)(message, asked)


@lru_cache(maxsize=8)
def _app(population: Population) -> ClientApp:
    """Devices that do what such a population does."""
    return device_app(lambda config, policy: ClientJob(read_text(config, WORK), population).work)


def simulate(job: Callable[[Grid, threading.Event], T], clients: int, engine: Flower, app: ClientApp = client_app) -> T:
    """Start Flower's Simulation Runtime, let ``job`` use its grid, end it; what ``job`` returned or raised.

    Args:
        job: gets Flower's grid, and an event that is set when no more answers will come.
        clients: nodes of the simulation; node i has the partition id i.
        engine: cores per client, cores in all (``workers``), or an existing cluster.
        app: of the devices.
    """
    cores = engine.workers or os.cpu_count() or 1
    if clients > MOST_CLIENTS:
        raise ConfigError("engine.name", "flower", f"serves at most {MOST_CLIENTS} clients, not {clients}; use cohort")
    if not engine.address and engine.cpus_per_client > cores:
        raise ConfigError("engine.cpus_per_client", engine.cpus_per_client, f"must be ≤ {cores}, the cores there are")
    results: list[T] = []
    failures: list[BaseException] = []
    stopped = threading.Event()
    server = ServerApp()
    held = copy_context()  # the locks of the caller, for the thread that Flower makes

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            results.append(held.run(job, grid, stopped))
        except BaseException as error:  # Flower would only log it
            failures.append(error)

    backend: Any = {"client_resources": {"num_cpus": engine.cpus_per_client, "num_gpus": 0.0}}
    start_ray(cores, engine.address)  # Flower uses the Ray it finds, and ends it
    session = ray_session()
    try:
        with _quiet(), without_telemetry(), interrupt_sets(stopped):
            run_simulation(server, app, clients, backend_config=backend)
    except RuntimeError as error:
        if not failures and not results:
            raise EngineError(f"Flower's Simulation Runtime ended early: {error.__cause__ or error}") from None
    finally:
        stopped.set()
        if session is not None:
            sweep(session)
    if failures:
        raise failures[0]
    return results[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Flower's log says nothing: failures of clients stand in events.jsonl."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
