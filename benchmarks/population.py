"""What does a round cost when the population grows? 1 000 clients out of 1 000, 10 000, … 1 000 000 registered.

    python benchmarks/population.py [--cohort 1000] [--rounds 3]

Each size runs in a process of its own; sizes take turns, so that a slow phase of the machine hits all of them. Printed:
CPU seconds a round (median and range over all rounds after the first), peak memory of the process, and ratios to the
smallest population.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = (250, 2_500, 25_000, 250_000)  # people; each wears four devices


def measure(users: int, cohort: int, rounds: int) -> None:
    """Run a few rounds on ``users`` × 4 clients; print their CPU seconds and this process's peak memory."""
    from server.config import build_config
    from sim.experiment import run

    spent = [time.process_time()]

    class Watch:
        def round(self, round: int, rounds: int, clients: int, seconds: float) -> None:
            spent.append(time.process_time())

        def score(self, round: int, value: float | None) -> None:
            pass

    table = {
        "run": {"rounds": rounds},
        "source": {"name": "wearables", "users": users},
        "split": {"test": 0.0, "validation": 0.0},
        "model": {"name": "mlp", "hidden": [32]},
        "learner": {"name": "reptile", "inner_steps": 5, "batch_size": 16},
        "strategy": {"name": "fedreptile", "cohort": cohort},
        "evaluation": {"scenarios": ["known_user"], "clients": 1, "episodes": 1},
        "checkpoint": {"every": rounds},
    }
    with tempfile.TemporaryDirectory() as folder:
        run(build_config(table), Path(folder) / "run", Watch())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": np.diff(spent).tolist(), "peak_mb": peak_mb}))


def main() -> None:
    """Measure every size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--users", type=int, help="measure this size only, in this process")
    args = parser.parse_args()
    if args.users:
        return measure(args.users, args.cohort, args.rounds)
    found: dict[int, list[dict[str, list[float]]]] = {users: [] for users in SIZES}
    for _ in range(args.repeats):
        for users in SIZES:
            command = [
                sys.executable,
                __file__,
                f"--users={users}",
                f"--cohort={args.cohort}",
                f"--rounds={args.rounds}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[users].append(json.loads(done.stdout.splitlines()[-1]))
    print(
        "| registered clients | CPU s a round (median, range) | ratio | peak memory MB | ratio |\n|---|---|---|---|---|"
    )
    first: tuple[float, float] | None = None
    for users, runs in found.items():
        cpu = [s for one in runs for s in one["cpu_s"][1:]]
        peak = float(np.median([one["peak_mb"] for one in runs]))
        median = float(np.median(cpu))
        first = first or (median, peak)
        print(
            f"| {4 * users:,} | {median:.2f} ({min(cpu):.2f} – {max(cpu):.2f}) | {median / first[0]:.2f} "
            f"| {peak:.0f} | {peak / first[1]:.2f} |"
        )
    return None


if __name__ == "__main__":
    main()
