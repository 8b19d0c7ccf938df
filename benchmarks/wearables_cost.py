"""What does a simulated wearer cost, with NumPy and in C, and a run on a thousand and on a million of them?

    python benchmarks/wearables_cost.py [--people 600] [--turns 9] [--rounds 300]

CPU seconds. NumPy and C take turns over the same clients, none of whom is asked twice, so that a slow phase of the
machine hits both. The runs draw 10 clients a round; with a thousand registered a client is met again and need not be
simulated anew, with a million hardly ever.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from unittest import mock

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.server.config import build_config  # noqa: E402
from metapulse.sim.experiment import run_experiment  # noqa: E402
from metapulse.sim.sources.wearables import Wearables, population  # noqa: E402
from metapulse.sim.sources.wearables.native import simulate  # noqa: E402


class Watch:
    """Notes the CPU seconds at the end of the first and of the last round."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over."""
        self.ends.append(time.process_time())

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def note(self, text: str) -> None:
        """Not shown."""


def person_ms(people: int, turns: int) -> tuple[float, float]:
    """Milliseconds of CPU for one client of any device, with NumPy and in C: medians over turns."""
    source = Wearables(users=10**6)
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        clients = [4 * (turn * people + n) + n % 4 for n in range(max(people // turns, 4))]
        for seconds, numpy in zip(spent, (True, False), strict=True):
            began = time.process_time()
            for client in clients:
                who = source.client(client)
                if numpy:
                    population.simulated(source, who.user, source.devices[client % 4])
                else:
                    source.samples(client)
            seconds.append((time.process_time() - began) / len(clients))
    return 1000 * median(spent[0]), 1000 * median(spent[1])


def run_s(clients: int, rounds: int, transform: str) -> float:
    """CPU seconds of the rounds of a run after its first."""
    watch = Watch()
    table = {
        "run": {"rounds": rounds},
        "source": {"name": "wearables", "users": clients // 4},
        "split": {"test": 0.1, "validation": 0.0},
        "transform": {"name": transform},
        "model": {"name": "mlp", "hidden": [32]},
        "learner": {"name": "reptile", "inner_lr": 0.05, "inner_steps": 5, "batch_size": 16},
        "strategy": {"name": "fedreptile", "cohort": 10},
        "evaluation": {"scenarios": []},
        "checkpoint": {"every": rounds},
    }
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(build_config(table), Path(folder) / "run", watch)
    return watch.ends[-1] - watch.ends[0]


def main() -> None:
    """Measure, print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=600)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=300)
    args = parser.parse_args()
    numpy, c = person_ms(args.people, args.turns)
    print(f"a client: NumPy {numpy:.2f} ms, C {c:.3f} ms, {numpy / c:.1f} x")
    print("| simulated | transform | 1 000 registered, CPU s | 1 000 000 | ratio |\n|---|---|---|---|---|")
    for transform in ("none", "standardise"):
        for how in ("NumPy", "C"):
            most = 0 if how == "NumPy" else simulate.MOST_EXECUTIONS
            with mock.patch.object(simulate, "MOST_EXECUTIONS", most):
                population._record.cache_clear()
                few, many = (run_s(clients, args.rounds, transform) for clients in (1_000, 1_000_000))
            print(f"| {how} | {transform} | {few:.2f} | {many:.2f} | {many / few:.2f} |", flush=True)


if __name__ == "__main__":
    main()
