"""Does memory grow with the rounds? 500 rounds of 1 000 clients out of a million, memory every 25.

    python benchmarks/memory.py [--rounds 500] [--workers 0 2] [--bound 10]
    python benchmarks/memory.py --by-process 60

Measured is what the process and all its descendants hold: proportional set size (a page that k processes share counts
1/k) of all that is not a file. The slope is that of a straight line through the second half of the run (the first fills
caches, which have limits). It is called a leak, and ends the program with 1, if it is more than ``--bound`` kB a round
(5 MB in 500 rounds) by more than two standard errors. Both ways in which updates are combined are run: FedAvg adds them
up in the workers, Flower's FedMedian looks at each.

``--by-process`` asks who grows: each program of a cluster with two workers, idle for so many seconds, and then busy
with rounds of 100 clients for as many.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.bench.processes import own_kilobytes, tree  # noqa: E402
from benchmarks.rounds import Measured, measure, save, workload  # noqa: E402

STRATEGIES = {
    "FedAvg": {"name": "fedavg", "weighting": "uniform"},
    "FedMedian (Flower's)": {"name": "stock", "reference": "flwr.serverapp.strategy:FedMedian"},
}
HEAD = "| Ray workers | strategy | MB, first | half-way | last | kB a round, second half |\n|---|---|---|---|---|---|"


def table(strategy: str, cohort: int, rounds: int, workers: int) -> dict[str, Any]:
    """The configuration of a case: memory is asked about, whatever algorithm the pair is."""
    made = workload(1_000_000, cohort, rounds, workers=workers)
    return {**made, "strategy": {**STRATEGIES[strategy], "cohort": cohort}, "method": {"free": True}}


def line(found: Measured) -> tuple[list[tuple[int, float]], float, float]:
    """(round, MB) as measured; slope of the second half in kB a round, and its standard error."""
    points = [(r["round"], r["own_mb"]) for r in found["rounds"] if "own_mb" in r]
    x, y = np.array(points[len(points) // 2 :]).T
    if len(x) < 4:
        raise SystemExit("too few rounds for a slope: at least eight measurements are needed")
    x, y = x - x.mean(), 1024 * (y - y.mean())
    slope = float(x @ y / (x @ x))
    spread = float(np.sqrt(np.sum((y - slope * x) ** 2) / (len(x) - 2) / (x @ x)))
    return points, slope, spread


def by_process(seconds: float) -> None:
    """Print what each program grows by, idle and busy."""
    from metapulse.client.spec import to_json
    from metapulse.server.config import build_config
    from metapulse.sim.engines.workers import RayPool
    from metapulse.sim.population import ClientJob
    from metapulse.strategies.aggregate import AggregationSpec

    job = ClientJob(to_json(build_config(workload(1_000_000, 100, 10, workers=2)).client_config()))
    theta, pool, chunks = job.work.init(), RayPool(2), [list(range(i, i + 50)) for i in (0, 50)]

    def busy(rounds: int, until: float) -> int:
        done = 0
        while done < rounds or time.monotonic() < until:
            done += 1
            pool.train(job, theta, 1, chunks, {}, AggregationSpec("uniform"))
        return done

    busy(400, 0.0)
    held = [{pid: own_kilobytes(pid) for pid in tree(os.getpid())}]
    time.sleep(seconds)
    held.append({pid: own_kilobytes(pid) for pid in held[0]})
    rounds = busy(0, time.monotonic() + seconds)
    held.append({pid: own_kilobytes(pid) for pid in held[0]})
    print(f"| program | idle, kB/s | busy, kB/s | busy, kB a round ({rounds} rounds) |\n|---|---|---|---|")
    for pid in held[0]:
        idle, more = (after[pid] - before[pid] for before, after in pairwise(held))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        name = " ".join(word.decode(errors="replace").rsplit("/")[-1] for word in words if not word.startswith(b"-"))
        print(f"| {name[:40]} | {idle / seconds:+.1f} | {more / seconds:+.1f} | {more / rounds:+.2f} |")
    pool.close()


def main() -> int:
    """Measure every case; 1 if one grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--cohort", type=int, default=1000)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--bound", type=float, default=10.0, help="kB a round")
    parser.add_argument("--out", type=Path, default=Path(".bench/scale"))
    parser.add_argument("--by-process", type=float, default=0.0, help="seconds, see above")
    args = parser.parse_args()
    if args.by_process:
        by_process(args.by_process)
        return 0
    rows, result, worst = [], [], 0.0
    for workers in args.workers:
        for strategy in STRATEGIES:
            asked = table(strategy, args.cohort, args.rounds, workers) | {"checkpoint": {"every": args.every}}
            points, slope, spread = line(measure(asked, args.every))
            worst = max(worst, slope - 2 * spread)
            rows.append(
                f"| {workers or 'in process'} | {strategy} | {points[0][1]:.0f} | {points[len(points) // 2][1]:.0f} "
                f"| {points[-1][1]:.0f} | {slope:+.1f} ± {spread:.1f} |"
            )
            result.append({"workers": workers, "strategy": strategy, "points": points, "kb_per_round": slope})
            print(rows[-1], file=sys.stderr, flush=True)
    save(args.out, "memory", "\n".join([HEAD, *rows]), result)
    return int(worst > args.bound)


if __name__ == "__main__":
    sys.exit(main())
