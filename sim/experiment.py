"""A configuration run on the engine it asks for, in its own folder: what the command line and a notebook both call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from client.work import Work, work_from_json
from server.config import Config, build_config
from server.folder import RunFolder
from server.run import Progress, Run
from sim.engines.cohort import CohortGrid, SourceDirectory
from sim.engines.workers import RayPool


def run(config: Config, path: Path, progress: Progress | None = None, resume: bool = False) -> dict[str, Any]:
    """Run to the end, from the start or from the last checkpoint.

    Args:
        config: what to do.
        path: the run's folder; new for a fresh run, an interrupted run's for ``resume``.
        progress: told how it goes.
        resume: go on where the folder's last checkpoint stands.

    Returns:
        The summary, as in summary.json.
    """
    if config.engine.name == "flower":
        from sim.engines.flower import run_flower

        return run_flower(config, path, progress, resume)
    work_from_json.cache_clear()  # a file of one's own may have changed since this process last ran
    source = Work(config.work()).source
    pool = RayPool(config.engine.workers, config.engine.address) if config.engine.workers else None
    grid = CohortGrid(len(source), pool, config.engine.chunk, path)
    try:
        job = Run(config, grid, SourceDirectory(source), path, progress)
        return job.resume() if resume else job.start()
    finally:
        grid.close()


def resume(path: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Finish the interrupted run in a folder, to the same bits as if it had never stopped."""
    return run(build_config(RunFolder(path).config()[0]), path, progress, resume=True)
