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
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose names are common ones

from benchmarks.bench.launch import VARIABLES  # noqa: E402
from benchmarks.bench.processes import age_seconds, cpu_seconds, own_megabytes, peak_megabytes  # noqa: E402
from benchmarks.bench.publish import processor  # noqa: E402

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
            entry["own_mb"] = own_megabytes()
        if round == rounds:
            self.found["peak_mb"] = peak_megabytes()
        self.found["rounds"].append({**entry, "round": round, "clients": clients, "spent": dict(spent)})
        self._began = self._now()

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def note(self, text: str) -> None:
        """Not shown."""

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


def chunk_size(table: Mapping[str, Any]) -> int:
    """How many clients the engine stacks in a round of a configuration that leaves it open."""
    from metapulse.client.executor import ClientExecutor
    from metapulse.server.config import build_config
    from metapulse.sim.engines.chunks import comfortable

    work = ClientExecutor(build_config(table).client_config())
    return comfortable(work.model, work.init(), table["strategy"]["cohort"])


def settled(found: Measured, skip: int = 2) -> dict[str, float]:
    """Medians over the rounds after the first few: wall and CPU seconds, loopback bytes, and seconds by stage.

    ``data_cpu_s`` is the share of ``data`` in the round, of its CPU seconds: the clock on the wall runs on while
    another process has the core.

    Args:
        found: of one run.
        skip: rounds left out.
    """
    rounds = found["rounds"][skip:]
    made = {key: median(r[key] for r in rounds) for key in ("wall_s", "cpu_s", "lo_bytes")}
    made |= {stage: median(r["spent"].get(stage, 0.0) for r in rounds) for stage in rounds[0]["spent"]}
    made["data_cpu_s"] = median(r["cpu_s"] * r["spent"]["data"] / sum(r["spent"].values()) for r in rounds)
    return made | {"startup_s": found["startup_s"], "peak_mb": found["peak_mb"], "clients": rounds[0]["clients"]}


def over(runs: Sequence[Measured], skip: int = 2) -> dict[str, float]:
    """Medians of ``settled`` over several runs of the same configuration."""
    each = [settled(one, skip) for one in runs]
    return {key: median(one[key] for one in each) for key in each[0]}


def save(folder: Path, name: str, text: str, result: Any) -> None:
    """Print a table, and write it and what it was made of as NAME.md and NAME.json."""
    cores = f"{processor()}, {os.cpu_count()} cores"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(f"{cores}\n\n{text}\n")
    (folder / f"{name}.json").write_text(json.dumps({"machine": cores, "result": result}, indent=1) + "\n")
    print(f"{cores}\n\n{text}")


def workload(clients: int, cohort: int, rounds: int, model: str = "mlp", **engine: Any) -> dict[str, Any]:
    """Workload W of ``benchmarks.bench`` on a population of any size: its models, its five steps of SGD, its mean.

    Args:
        clients: registered.
        cohort: C.
        rounds: how many.
        model: "mlp" or "cnn".
        engine: settings of the engine.
    """
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
        "evaluation": {"scenarios": []},
        "checkpoint": {"every": rounds},
        "engine": engine,
    }


def main() -> None:
    """Read an order, run it, print what was found."""
    from metapulse.server.config import build_config
    from metapulse.sim.experiment import run_experiment

    order = json.load(sys.stdin)
    watch = Watch(order["memory"])
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(build_config(order["table"]), Path(folder) / "run", watch)
    print(json.dumps(watch.found))


if __name__ == "__main__":
    main()
