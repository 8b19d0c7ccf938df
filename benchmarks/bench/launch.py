"""Starts a system's process, bound to its core, and reads what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import environments
from benchmarks.bench.processes import tree
from benchmarks.bench.systems import Entry
from benchmarks.bench.workload import Workload

#: One thread per process; nothing leaves the machine.
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


@dataclass(frozen=True)
class Done:
    """What a process left: its figures and θ after its first round, or a problem."""

    figures: dict[str, Any] = field(default_factory=dict)
    theta: dict[str, np.ndarray] = field(default_factory=dict)
    problem: str = ""


class Launcher:
    """Runs systems, each in a process of its own.

    Args:
        root: of the repository.
        work: of the bench.
        data: the workloads' files.
        seconds: measured per process.
        core: of systems that use one.
        timeout: of a process, seconds.
    """

    def __init__(self, root: Path, work: Path, data: Path, seconds: float, core: int, timeout: float) -> None:
        self._root, self._work, self._data = root, work, data
        self._seconds, self._core, self._timeout = seconds, core, timeout
        self.variables = {**os.environ, **VARIABLES, "PYTHONPATH": str(root)}

    def run(self, entry: Entry, workload: Workload) -> Done:
        """One process from start to end."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            command = [
                str(environments.python(self._work, entry.environment)),
                "-m",
                f"benchmarks.bench.{entry.module}",
            ]
            command += [workload.name, "--data", str(self._data), "--out", folder, "--seconds", str(self._seconds)]
            if entry.options:
                command += ["--options", *entry.options]
            with (out / "stdout").open("w") as said, (out / "stderr").open("w") as complained:
                problem = self._wait(command, entry.parallel, said, complained)
            if problem:
                return Done(problem=f"{problem}: {_reason((out / 'stderr').read_text())}")
            figures = json.loads(_last((out / "stdout").read_text()))
            with np.load(out / "first.npz", allow_pickle=False) as saved:
                return Done(figures, {name: saved[name] for name in saved.files})

    def _wait(self, command: list[str], parallel: bool, said: Any, complained: Any) -> str:
        cores = set(range(os.cpu_count() or 1)) if parallel else {self._core}
        process = subprocess.Popen(command, stdout=said, stderr=complained, env=self.variables, cwd=self._root)
        try:
            os.sched_setaffinity(process.pid, cores)  # before it has threads, which inherit it
            code = process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            _end(process.pid)
            process.wait()
            return f"took more than {self._timeout:.0f} s"
        except BaseException:
            _end(process.pid)
            raise
        return f"failed ({code})" if code else ""


def _end(root: int) -> None:
    """End a process and all that it started."""
    for pid in tree(root):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "said nothing"


def _reason(text: str) -> str:
    """The last line that looks like an exception's, without the folder that Python was in."""
    return _last("\n".join(line for line in text.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)) or text)
