"""What does a round of ten small clients cost that has hardly any work to do?

    python benchmarks/fixed_cost.py [--rounds 3000]

CPU milliseconds a round (the least and the lower quartile of blocks of 150 rounds; a busy machine only adds) and the
lower quartile of each stage's seconds, of 1 000 sine tasks, a net of 40-40, five steps, cohorts of ten, no meta-test.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.server.config import build_config  # noqa: E402
from metapulse.sim.experiment import run_experiment  # noqa: E402

BLOCK = 150


class Watch:
    """Notes the CPU seconds after every block of rounds, and the stages of every round."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.stages: dict[str, list[float]] = {}

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over; asking for the CPU's seconds takes long, so that it is not done every time."""
        if round % BLOCK == 0:
            self.ends.append(time.process_time())
        for stage, seconds in spent.items():
            self.stages.setdefault(stage, []).append(seconds)

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def note(self, text: str) -> None:
        """Not shown."""


def quarter(values: Sequence[float]) -> float:
    """The lower quartile, of seconds, in milliseconds."""
    return 1000 * sorted(values)[len(values) // 4]


def main() -> None:
    """Measure, print two lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    table = {
        "run": {"rounds": rounds},
        "source": {"name": "sine", "clients": 1000},
        "split": {"test": 0.1, "validation": 0.0},
        "transform": {"name": "none"},
        "model": {"name": "mlp", "hidden": [40, 40]},
        "learner": {"name": "fedavg_ft", "inner_steps": 5, "inner_lr": 0.01},
        "strategy": {"name": "fedavg", "cohort": 10},
        "evaluation": {"scenarios": []},
        "checkpoint": {"every": rounds},
    }
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="metapulse-bench-") as folder:
        run_experiment(build_config(table), Path(folder) / "run", watch)
    blocks = [(after - before) / BLOCK for before, after in pairwise(watch.ends)]
    print(f"CPU ms a round: {1000 * min(blocks):.3f} at least, {quarter(blocks):.3f} lower quartile")
    print(", ".join(f"{stage} {quarter(seconds):.3f}" for stage, seconds in watch.stages.items()))


if __name__ == "__main__":
    main()
