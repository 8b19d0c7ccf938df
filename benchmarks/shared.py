"""What the benchmarks share: runs that are not done twice, and what they ended with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from metapulse.server.config import Config
from metapulse.sim.experiment import resume_experiment, run_experiment


def finished(config: Config, folder: Path) -> Path:
    """The folder of a finished run, running or resuming it where needed."""
    if not (folder / "summary.json").exists():
        if (folder / "config.json").exists():
            resume_experiment(folder)
        else:
            run_experiment(config, folder)
    return folder


def last_rows(folder: Path, tests: int = 1) -> list[dict[str, Any]]:
    """Rows of metrics.parquet of the last meta-tests, as many as ``tests`` says (0: of all)."""
    rows = pq.read_table(folder / "metrics.parquet").to_pylist()
    last = sorted({row["round"] for row in rows})[-tests:]
    return [row for row in rows if row["round"] in last]
