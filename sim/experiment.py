"""A configuration run on the engine it asks for, in its own folder: what the command line and Python both call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metapulse.server.config import Config, build_config
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone
from metapulse.server.progress import Progress
from metapulse.sim.engines.cluster import check_workers


def run(config: Config, path: Path, progress: Progress | None = None, resume: bool = False) -> dict[str, Any]:
    """Run to the end, from the start or from the last checkpoint.

    Args:
        config: what to do.
        path: the run's folder; new for a fresh run, an interrupted run's for ``resume``.
        progress: told how it goes.
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
        return config.engine.run(config, path, progress, resume)


def resume(path: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Finish the interrupted run in a folder, to the same bits as if it had never stopped."""
    return run(build_config(RunFolder(path).config()[0]), path, progress, resume=True)
