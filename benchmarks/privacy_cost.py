"""What does differential privacy cost the machine? A round with each mechanism over the same round without.

    python benchmarks/privacy_cost.py [--rounds 22] [--repeats 5] [--cohort 1000] [--sources …] [--out FOLDER]

Workload W of the bench (64-64-32-6, five steps on batches of 32) on clients that are made when they are asked, which
costs less than any real data would; ``wearables`` are simulated people. Cases take turns, each in a process of its own.
Printed: medians over rounds and repeats of the CPU seconds of a round, and their ratio to the round without privacy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.rounds import Measured, measure, save, settled, workload  # noqa: E402

PEOPLE = 3.0  # registered clients over those in a round
CASES: dict[str, dict[str, Any]] = {
    "none": {"mechanism": "none"},
    "central, fixed": {"mechanism": "central", "sampling": "fixed"},
    "central, Poisson": {"mechanism": "central"},
    "central, adaptive": {"mechanism": "central", "sampling": "fixed", "adaptive": True},
    "client": {"mechanism": "client", "sampling": "fixed"},
}


def table(case: str, source: str, cohort: int, rounds: int) -> dict[str, Any]:
    """The configuration of a case; one meta-test of one person at the end, whom privacy does not cover."""
    people = int(PEOPLE * cohort)
    made = workload(people, cohort, rounds)
    if source == "wearables":
        made["source"] = {"name": "wearables", "users": people, "devices": ["watch"], "executions": 2, "windows": 3}
        made["learner"] = {"name": "reptile", "inner_steps": 5, "batch_size": 16}
    made["split"]["test"] = 0.01
    made["evaluation"]["scenarios"] = ["new_user"]
    noise = {} if case == "none" else {"noise_multiplier": 10.0}
    return {**made, "privacy": CASES[case] | noise}


def main() -> None:
    """Measure every case, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=22, help="of which the first two do not count")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cohort", type=int, default=1000)
    parser.add_argument("--sources", nargs="+", default=["crowd", "wearables"], choices=["crowd", "wearables"])
    parser.add_argument("--out", type=Path, default=Path(".bench/privacy"))
    args = parser.parse_args()
    cases = [(source, case) for source in args.sources for case in CASES]
    runs: dict[tuple[str, str], list[Measured]] = {key: [] for key in cases}
    for _ in range(args.repeats):
        for source, case in cases:
            print(source, case, file=sys.stderr, flush=True)
            runs[source, case].append(measure(table(case, source, args.cohort, args.rounds)))
    lines = ["| clients | privacy | CPU s a round | ratio, median (range) |", "|---|---|---|---|"]
    for source, case in cases:
        cost = [settled(one)["cpu_s"] for one in runs[source, case]]
        ratios = [a / settled(b)["cpu_s"] for a, b in zip(cost, runs[source, "none"], strict=True)]
        spread = f"{median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"
        lines.append(f"| {source} | {case} | {median(cost):.4f} | {spread} |")
    save(args.out, "privacy_cost", "\n".join(lines), [[*key, found] for key, found in runs.items()])


if __name__ == "__main__":
    main()
