"""The same work on metapulse and on its peers, in one run.

    make bench [ARGS=…], or
    python benchmarks/bench/run.py [--only NAME …] [--skip NAME …] [--repeats 5] [--seconds 2] [--publish]

NAME is a system or a workload (``--list`` shows them). Systems take turns, so that a slow phase of the machine hits all
of them; beside every figure stands a matrix product measured on the same core just before and after. Every system's θ
after its first round is held against a float64 reference; one that differs by more than 1e-3 of the step is reported as
wrong, and not timed. Peers live in environments of their own, made on first use under ``--work``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # not this folder, whose names are common ones

from benchmarks.bench import environments, publish  # noqa: E402
from benchmarks.bench.launch import Launcher  # noqa: E402
from benchmarks.bench.reference import Reference  # noqa: E402
from benchmarks.bench.sgemm import Yardstick  # noqa: E402
from benchmarks.bench.systems import SYSTEMS, Entry, chosen  # noqa: E402
from benchmarks.bench.workload import WORKLOADS, Load, Workload, write  # noqa: E402

#: Of the norm of the first round's step, which is 6e-4 to 4e-3 of θ's. Float32 alone makes 3e-4 where 1000 weights are
#: added one by one, as in Flower's FedAvg; another order of the samples makes 2e-2 to 1e-1.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Measurement:
    """One system on one workload, once.

    Args:
        figures: what its process printed (``harness.Meter``); empty where it failed.
        sgemm: GFLOP/s of one core, mean of just before and just after.
        error: ‖θ − θ_ref‖/‖θ_ref‖ after the first round; step_error: relative to ‖θ_ref − θ₀‖.
        problem: why there are no figures, "" if there are.
    """

    repeat: int
    workload: str
    system: str
    sgemm: float
    figures: dict[str, Any]
    error: float | None = None
    step_error: float | None = None
    problem: str = ""


class Bench:
    """Measures one system after another.

    Args:
        launcher: starts processes.
        yardstick: the matrix product.
        data: folder of the workloads' files.
    """

    def __init__(self, launcher: Launcher, yardstick: Yardstick, data: Path) -> None:
        self._launcher, self._yardstick, self._data = launcher, yardstick, data
        self._references: dict[str, Reference] = {}
        self._given_up: dict[tuple[str, str], str] = {}

    def turn(self, repeat: int, plan: list[tuple[Workload, list[Entry]]]) -> Iterator[Measurement]:
        """Every system of every workload once; one that was wrong, or failed, is not asked again."""
        for workload, entries in plan:
            for entry in entries:
                if (workload.name, entry.name) not in self._given_up:
                    yield self._measure(repeat, workload, entry)

    def _measure(self, repeat: int, workload: Workload, entry: Entry) -> Measurement:
        before = self._yardstick.gflops()
        done = self._launcher.run(entry, workload)
        sgemm = (before + self._yardstick.gflops()) / 2
        result = Measurement(repeat, workload.name, entry.name, sgemm, {}, problem=done.problem)
        if not done.problem:
            clients = done.figures.pop("clients")
            error, step = self._reference(workload).error(done.theta, clients, entry.aggregate)
            result = replace(result, figures=done.figures, error=error, step_error=step)
            if not step <= TOLERANCE:
                problem = f"wrong: the first step differs from the reference by {step:.1e} of its norm"
                result = replace(result, figures={}, problem=problem)
        if result.problem:
            self._given_up[workload.name, entry.name] = result.problem
        return result

    def _reference(self, workload: Workload) -> Reference:
        return self._references.setdefault(workload.model, Reference(Load(workload, self._data)))


def tell(one: Measurement) -> None:
    """One line about a measurement."""
    head = f"{one.repeat}  {one.workload:10} {one.system:18}"
    if one.problem:
        print(f"{head} {one.problem}", flush=True)
        return
    f = one.figures
    print(
        f"{head} {f['updates_per_s']:9.0f}/s {f['updates_per_cpu_s']:9.0f}/CPU-s  up in {f['startup_s']:5.1f} s "
        f"{f['peak_mb']:6.0f} MB  sgemm {one.sgemm:4.0f}  error {one.error:.0e} (of the step {one.step_error:.0e})",
        flush=True,
    )


def measure(args: argparse.Namespace) -> list[Measurement]:
    """Prepare what is missing, and measure."""
    plan = chosen(args.only, args.skip)
    data = args.work / "data"
    environments.make(args.work, {entry.environment for _, entries in plan for entry in entries} | {"plot"})
    write(data)
    from benchmarks.bench.experiment import write_theta

    write_theta(data)
    launcher = Launcher(ROOT, args.work, data, args.seconds, args.core, args.timeout)
    found = []
    with Yardstick(args.core, launcher.variables) as yardstick:
        bench = Bench(launcher, yardstick, data)
        for repeat in range(args.repeats):
            for one in bench.turn(repeat, plan):
                tell(one)
                found.append(one)
                settings = {"seconds": args.seconds, "core": args.core}
                publish.save(args.work, [asdict(m) for m in found], settings)  # a run cut short is not lost
    return found


def main() -> int:
    """Measure, and write JSON, table and plot; 1 if any system failed or was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="measured per system and turn")
    parser.add_argument("--core", type=int, default=(os.cpu_count() or 1) - 1, help="of systems that use one")
    parser.add_argument("--timeout", type=float, default=600.0, help="of one process, seconds")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="environments, data and results")
    parser.add_argument("--publish", action="store_true", help="write docs/bench.json, .md and .svg as well")
    parser.add_argument("--list", action="store_true", help="names of workloads and systems")
    args = parser.parse_args()
    args.work = args.work.absolute()
    if args.list:
        print("\n".join([*WORKLOADS, "", *(f"{e.name:20}{e.title}: {' '.join(e.workloads)}" for e in SYSTEMS)]))
        return 0
    try:
        found = measure(args)
    except ValueError as error:
        parser.error(str(error))
    publish.publish(args.work, ROOT / "docs" if args.publish else None)
    return int(any(one.problem for one in found))


if __name__ == "__main__":
    sys.exit(main())
