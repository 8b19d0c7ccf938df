"""A configuration run on the engine it asks for, in its own folder: what the command line and Python both call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from metapulse.client.executor import ClientExecutor
from metapulse.errors import ConfigError
from metapulse.registry import resolve
from metapulse.server.config import Config, build_config
from metapulse.server.fingerprint import known_inputs
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone
from metapulse.server.progress import Progress
from metapulse.server.run import Run
from metapulse.sim.data_remarks import data_remarks, probed
from metapulse.sim.engines.cluster import check_workers
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.engines.settings import Cohort
from metapulse.sim.engines.sharing import SharingPool
from metapulse.sim.engines.workers import LocalPool, RayPool, WorkerPool
from metapulse.sim.population import Population, forget_jobs


def run_experiment(
    config: Config, path: Path, progress: Progress | None = None, resume: bool = False
) -> dict[str, Any]:
    """Run to the end, from the start or from the last checkpoint.

    Args:
        path: the run's folder; new for a fresh run, an interrupted run's for ``resume_experiment``.
        resume: go on where the folder's last checkpoint stands.

    Returns:
        The summary, as in summary.json.

    Raises:
        ConfigError: more workers than this machine can carry.
        RunError: another process works in the folder, or it holds a run already.
    """
    if not config.engine.address:
        check_workers(config.engine.workers)
    with alone(path):  # before anything is started
        runner = resolve(config.engine.runner, "engine.name")
        summary: dict[str, Any] = runner(config, config.engine, path, progress, resume)
        return summary


def run_cohort(
    config: Config, engine: Cohort, path: Path, progress: Progress | None = None, resume: bool = False
) -> dict[str, Any]:
    """Run to the end on the cohort engine; the summary.

    Args:
        config: what to do.
        engine: how.
        path: the run's folder.
        progress: told how it goes.
        resume: go on where the folder's last checkpoint stands.

    Raises:
        ConfigError: PyTorch cannot compute on the device.
    """
    forget_jobs()
    inputs = known_inputs(config, path if resume else None)
    work = ClientExecutor(config.client_config())
    source = work.source
    idle, population = probed(work, config), Population.of(config)
    pool = _pool(engine)
    grid = CohortGrid(len(source), pool, engine.chunk, path, engine.masks, population)
    try:
        directory = SourceDirectory(source, [*data_remarks(work, config), *idle])
        job = Run(config, grid, directory, path, progress, inputs)
        summary = job.resume() if resume else job.start()
    finally:
        grid.close()
    if progress and isinstance(pool, SharingPool) and (line := pool.told()):
        progress.note(line)
    return summary


def _pool(engine: Cohort) -> WorkerPool:
    try:
        torch.empty(1, device=engine.device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without it
        reason = str(error).splitlines()[0][:200]
        raise ConfigError("engine.device", engine.device, f"PyTorch cannot compute there: {reason}") from None
    if not engine.workers:
        return LocalPool(engine.device)
    workers = RayPool(engine.workers, engine.address, engine.device)
    elsewhere = engine.address or engine.device != "cpu"  # where the same chunk may come to other bits
    return workers if elsewhere else SharingPool(workers, LocalPool())


def resume_experiment(path: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Finish the interrupted run in a folder, to the same bits as if it had never stopped."""
    return run_experiment(build_config(RunFolder(path).config()[0]), path, progress, resume=True)
