"""What does differential privacy cost accuracy? Three methods, budgets from ε = 0.5 to none, five seeds.

    python benchmarks/utility.py [--methods …] [--epsilons …] [--populations …] [--seeds 5] [--out FOLDER] [--workers 1]

Simulated people, each with a watch, drawn for every round by independent coins (200 expected); C follows the median
norm; σ is the smallest that keeps ε over all rounds at δ = 1 / (10 N). Held-out people adapt on five shots a class.
Settings other than ε are the same for every ε and were not tuned for any. A finished run is a line of
FOLDER/utility.jsonl and is not done again; the table is of all lines there. A run takes about 40 CPU seconds whatever
the population, all 180 of them two hours of one core.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

COHORT, ROUNDS, HELD_OUT, STEPS = 200, 100, 100, 5
METHODS: dict[str, dict[str, Any]] = {
    "fedreptile": {
        "learner": {"name": "reptile", "inner_lr": 0.1, "inner_steps": 5},
        "strategy": {"name": "fedreptile", "cohort": COHORT},
    },
    "fomaml": {
        "learner": {"name": "fomaml", "inner_lr": 0.1, "inner_steps": 3},
        "strategy": {"name": "fedmaml", "cohort": COHORT, "weighting": "uniform", "lr": 0.01},
    },
    "fedavg_ft": {
        "learner": {"name": "fedavg_ft", "inner_lr": 0.1, "inner_steps": 5},
        "strategy": {"name": "fedavg", "cohort": COHORT, "weighting": "uniform"},
    },
}
#: Method, ε (infinity: no privacy), people in training, seed.
Key = tuple[str, float, int, int]


def table(key: Key) -> dict[str, Any]:
    """The configuration of one run."""
    method, epsilon, people, seed = key
    private = {"mechanism": "central", "epsilon": epsilon, "delta": 0.1 / people, "clip": 1.0, "adaptive": True}
    users = people + HELD_OUT
    return {
        **METHODS[method],
        "run": {"rounds": ROUNDS, "seed": seed},
        "source": {"name": "wearables", "users": users, "devices": ["watch"], "executions": 2, "windows": 4},
        "split": {"test": HELD_OUT / users, "validation": 0.0},
        "transform": {"name": "standardise"},
        "model": {"name": "cnn1d", "channels": [16], "kernel": 5},
        "episodes": {"shots": 5},
        "evaluation": {"clients": HELD_OUT, "episodes": 2, "shots": [5], "steps": [0, STEPS]},
        "privacy": private if math.isfinite(epsilon) else {},
    }


def one(key: Key) -> dict[str, Any]:
    """Run it: balanced accuracy before and after adaptation, σ, and the CPU seconds it took."""
    from server.config import build_config
    from server.folder import RunFolder
    from server.run import last_scores
    from sim.experiment import run

    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        summary = run(build_config(table(key)), Path(folder) / "run")
        plans = [event for event in RunFolder(Path(folder) / "run").events() if event["kind"] == "privacy"]
    scores = {s["step"]: s["mean"] for s in last_scores(summary) if s["metric"] == "balanced_accuracy"}
    spent = summary.get("privacy", {}).get("epsilon")
    sigma = plans[0]["noise_multiplier"] if plans else 0.0
    cpu = time.process_time() - began
    return {"key": list(key), "before": scores[0], "after": scores[STEPS], "sigma": sigma, "spent": spent, "cpu_s": cpu}


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """Balanced accuracy after adaptation (before it): mean over seeds ± their standard deviation."""
    epsilons = sorted({f["key"][1] for f in found})
    head = ["people", "method", *("no privacy" if math.isinf(e) else f"ε = {e:g}" for e in epsilons)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for people, method in sorted({(f["key"][2], f["key"][0]) for f in found}):
        cells = [f"{people:,}", method]
        for epsilon in epsilons:
            same = [f for f in found if f["key"][:3] == [method, epsilon, people]]
            after, before = ([f[side] for f in same] for side in ("after", "before"))
            spread = f" ± {np.std(after, ddof=1):.3f}" if len(after) > 1 else ""
            cells.append(f"{np.mean(after):.3f}{spread} ({np.mean(before):.3f})" if same else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Do what is not done yet, print the table of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[0.5, 1.0, 2.0, 4.0, 8.0, math.inf])
    parser.add_argument("--populations", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(".bench/privacy"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines = args.out / "utility.jsonl"
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    done = {tuple(f["key"]) for f in found}
    todo: list[Key] = [
        (method, epsilon, people, seed)
        for seed in range(args.seeds)
        for people in args.populations
        for epsilon in args.epsilons
        for method in args.methods
        if (method, epsilon, people, seed) not in done
    ]
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool, lines.open("a") as stream:
        for result in pool.map(one, todo):
            print(json.dumps(result), file=stream, flush=True)
            print(*result["key"], f"{result['after']:.3f}", f"{result['cpu_s']:.0f} CPU s", file=sys.stderr, flush=True)
            found.append(result)
    print(markdown(found))


if __name__ == "__main__":
    main()
