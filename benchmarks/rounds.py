"""One run in a process of its own, round by round: seconds by stage, CPU, memory, bytes over the loopback device.

The benchmarks beside this file call ``measure``; run as a program, this file is the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose names are common ones

from benchmarks.bench.launch import VARIABLES  # noqa: E402
from benchmarks.bench.processes import age_seconds, cpu_seconds, peak_megabytes, pss_megabytes  # noqa: E402

#: What ``measure`` gives: ``startup_s``, ``peak_mb``, and ``rounds``, a list of ``Watch.round``'s entries.
Measured = dict[str, Any]


class Watch:
    """Writes down every round.

    Args:
        memory: measure the memory after every so many rounds.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self.found: Measured = {"rounds": []}
        self._began = self._now()

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over."""
        if round == 1:
            self.found["startup_s"] = age_seconds()
        entry = {
            key: now - before for (key, now), before in zip(self._now().items(), self._began.values(), strict=True)
        }
        if round % self._memory == 0:
            entry["pss_mb"] = pss_megabytes()
        if round == rounds:
            self.found["peak_mb"] = peak_megabytes()
        self.found["rounds"].append({**entry, "round": round, "clients": clients, "spent": dict(spent)})
        self._began = self._now()

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def _now(self) -> dict[str, float]:
        return {"wall_s": time.perf_counter(), "cpu_s": cpu_seconds(), "lo_bytes": loopback_bytes()}


def loopback_bytes() -> int:
    """What the loopback device has carried since the machine started; whatever process it was for."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[0])
    return 0


def measure(table: Mapping[str, Any], memory: int = 10**9) -> Measured:
    """Run a configuration in a fresh process.

    Args:
        table: the configuration, as tables.
        memory: measure the memory after every so many rounds.

    Raises:
        RuntimeError: the process failed; its last words.
    """
    order = json.dumps({"table": table, "memory": memory})
    environment = {**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).resolve())]
    done = subprocess.run(command, input=order, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-3:]))
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def workload(
    clients: int, cohort: int, rounds: int, model: str = "mlp", workers: int = 0, **engine: Any
) -> dict[str, Any]:
    """Workload W of ``benchmarks.bench`` on a population of any size: its models, its five steps of SGD, its mean."""
    sections = {"mlp": {"name": "mlp", "hidden": [64, 32]}, "cnn": {"name": "cnn1d", "channels": [32, 64], "kernel": 5}}
    return {
        "run": {"rounds": rounds},
        "source": {"name": "benchmarks.crowd:Crowd", "clients": clients, "model": model},
        "split": {"test": 0.0, "validation": 0.0},
        "transform": {"name": "none"},
        "model": sections[model],
        "learner": {
            "name": "reptile",
            "inner_lr": 0.01,
            "inner_steps": 5,
            "batch_size": 32,
            "order": "sequential",
        },
        "strategy": {"name": "fedavg", "weighting": "uniform", "cohort": cohort},
        "evaluation": {"scenarios": ["known_user"], "clients": 1, "episodes": 1, "steps": [0], "split": "samples"},
        "checkpoint": {"every": rounds},
        "engine": {"workers": workers, **engine},
    }


def main() -> None:
    """Read an order, run it, print what was found."""
    from server.config import build_config
    from sim.experiment import run

    order = json.load(sys.stdin)
    watch = Watch(order["memory"])
    with tempfile.TemporaryDirectory() as folder:
        run(build_config(order["table"]), Path(folder) / "run", watch)
    print(json.dumps(watch.found))


if __name__ == "__main__":
    main()
