"""Runs of one method that differ in their seed: done as one, beside one after the other, in CPU seconds a run.

    python benchmarks/runs_together.py [--runs 15] [--rounds 400] [--turns 3]

Both ways take turns in one process, after a warm-up. Everything is alike: each run has its folder, its event log, its
checkpoints (ten) and its meta-tests. ``few``: 1 000 sine tasks, a net of 40-40, cohorts of ten; ``wide``: 120 simulated
wearers, windows of 384 numbers, a net of 64-32, and a meta-test of three scenarios every hundred rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from metapulse.server.config import Config, build_config  # noqa: E402
from metapulse.sim.experiment import run_experiment  # noqa: E402
from metapulse.sim.lockstep import run_together  # noqa: E402

SINE: dict[str, Any] = {
    "source": {"name": "sine", "clients": 1000},
    "model": {"name": "mlp", "hidden": [40, 40]},
    "evaluation": {"every": 0, "shots": [5], "steps": [0, 1], "clients": 20},
}
WEARABLES: dict[str, Any] = {
    "source": {
        "name": "wearables",
        "users": 120,
        "devices": ["phone", "watch", "band", "ring"],
        "executions": 3,
        "windows": 4,
    },
    "split": {"validation": 0.2, "test": 0.3, "train_devices": ["phone", "watch"]},
    "model": {"name": "mlp", "hidden": [64, 32]},
    "evaluation": {
        "every": 100,
        "scenarios": ["new_user", "new_device", "new_device_history"],
        "shots": [1, 5],
        "steps": [0, 1, 5, 20],
        "history_steps": 10,
        "clients": 36,
        "episodes": 2,
    },
}
FT: dict[str, Any] = {
    "learner": {"name": "fedavg_ft", "inner_steps": 5, "inner_lr": 0.05},
    "strategy": {"name": "fedavg", "cohort": 10},
}
MAML: dict[str, Any] = {
    "learner": {"name": "maml", "inner_steps": 3, "inner_lr": 0.05},
    "strategy": {"name": "fedmaml", "cohort": 10, "lr": 0.006},
}
CASES = {
    "few, fedavg_ft": SINE | FT,
    "few, maml": SINE | MAML,
    "wide, fedavg_ft": WEARABLES | FT,
    "wide, maml": WEARABLES | MAML,
}


def main() -> None:
    """Print a row per case: seconds a run, and the ratio of each turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print("| case | alone, CPU s a run | together | ratio (range of turns) |\n|---|---:|---:|---:|")
    for name, sections in CASES.items():
        if options.only not in name:
            continue

        def config(seed: int, rounds: int = options.rounds, table: dict[str, Any] = sections) -> Config:
            return build_config({**table, "run": {"name": "one", "rounds": rounds, "seed": seed}})

        measure([config(99, 2)], 0)  # warm
        alone, together = [], []
        for turn in range(options.turns):
            some = [config(seed) for seed in range(turn, turn + 3)]
            alone.append(measure(some, 1))
            together.append(measure([config(seed) for seed in range(options.runs)], 2))
        ratios = [a / b for a, b in zip(alone, together, strict=True)]
        said = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(f"| {name} | {statistics.median(alone):.3f} | {statistics.median(together):.3f} | {said} |", flush=True)


def measure(configs: list[Config], how: int) -> float:
    """CPU seconds a run: one after the other (0, 1), or as one (2)."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / str(i) for i in range(len(configs))]
        began = time.process_time()
        if how < 2:
            for config, folder in zip(configs, folders, strict=True):
                run_experiment(config, folder)
        else:
            for ended in run_together(configs, folders, [None] * len(configs), [False] * len(configs)):
                if isinstance(ended, Exception):
                    raise ended
        return (time.process_time() - began) / len(configs)


if __name__ == "__main__":
    main()
