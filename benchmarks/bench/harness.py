"""How a system is run and measured: one process, one warm-up round, then rounds for some seconds, one line of JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.bench.processes import age_seconds, cpu_seconds, peak_megabytes
from benchmarks.bench.workload import WORKLOADS, Load

LEAST_ROUNDS = 2  # measured, however long they take


class System(Protocol):
    """Something that computes federated rounds; it is made from a ``Load`` and starts from its θ."""

    def round(self, round: int) -> Sequence[int]:
        """Compute round ``round`` = 1, 2, … to the end; who took part."""

    def parameters(self) -> Mapping[str, np.ndarray]:
        """θ as it is now."""


@dataclass(frozen=True)
class Job:
    """What a system's process was asked for.

    Args:
        load: the workload's numbers.
        seconds: how long to measure.
        out: folder for θ after the first round.
        options: words for the system itself.
    """

    load: Load
    seconds: float
    out: Path
    options: tuple[str, ...]


class Meter:
    """Collects the figures of one process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._figures: dict[str, Any] = {"workload": job.load.workload.name}

    def first(self) -> None:
        """The first round is over: the system is up."""
        self._figures["startup_s"] = age_seconds()

    def keep(self, theta: Mapping[str, np.ndarray], clients: Sequence[int]) -> None:
        """Leave θ after the first round, and whose it is, to be checked."""
        arrays: dict[str, Any] = dict(theta)
        np.savez(self._job.out / "first.npz", **arrays)
        self._figures["clients"] = [int(c) for c in clients]

    def start(self) -> None:
        """Begin to measure."""
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def over(self, rounds: int) -> bool:
        """Whether so many measured rounds are enough."""
        return rounds >= LEAST_ROUNDS and time.perf_counter() - self._wall >= self._job.seconds

    def stop(self, rounds: int) -> None:
        """End of measuring."""
        wall, cpu = time.perf_counter() - self._wall, cpu_seconds() - self._cpu
        updates = rounds * self._job.load.workload.cohort
        self._figures |= {
            "rounds": rounds,
            "wall_s": wall,
            "cpu_s": cpu,
            "updates_per_s": updates / wall,
            "updates_per_cpu_s": updates / cpu,
            "peak_mb": peak_megabytes(),
        }

    def report(self) -> None:
        """Print the figures."""
        print(json.dumps(self._figures), flush=True)


def read_job() -> Job:
    """The job on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--options", nargs="*", default=[])
    args = parser.parse_args()
    return Job(Load(WORKLOADS[args.workload], args.data), args.seconds, args.out, tuple(args.options))


def main(make: Callable[[Job], System]) -> None:
    """Run a system as asked on the command line.

    Args:
        make: builds it.
    """
    job = read_job()
    meter = Meter(job)
    system = make(job)
    clients = system.round(1)
    meter.first()
    meter.keep(system.parameters(), clients)
    rounds = 0
    meter.start()
    while not meter.over(rounds):
        rounds += 1
        system.round(1 + rounds)
    meter.stop(rounds)
    meter.report()
