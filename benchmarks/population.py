"""What does a round cost when the population grows? 1 000 clients of 1 000, 10 000, a million; and 10 000 of them.

    python benchmarks/population.py [--rounds 12] [--repeats 3] [--out FOLDER]

Two populations whose clients are made when they are asked: ``crowd`` (workload W's MLP; making a client costs little)
and ``wearables`` (making a client costs more than training on it). Each case runs in a process of its own; cases take
turns, so that a slow phase of the machine hits all of them. Printed: seconds of sampling, CPU seconds of a round (in
all, and without making data) and peak memory, with ratios to the smallest population.

A process keeps the samples of clients that it has met, up to a limit (``metapulse/sample_cache.py``). 1 000 of 1 000
meet again in every round, 1 000 of a million never do; ``data`` shows that, and ``without data`` what the size itself
costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.rounds import Measured, measure, over, save, workload  # noqa: E402

#: Source, clients a round, registered clients.
Case = tuple[str, int, int]
CASES: tuple[Case, ...] = (
    *(("crowd", 1_000, size) for size in (1_000, 10_000, 1_000_000)),
    *(("crowd", 10_000, size) for size in (10_000, 1_000_000)),
    *(("wearables", 1_000, size) for size in (1_000, 10_000, 1_000_000)),
)
HEAD = (
    "| population | clients a round | registered | sampling ms | data CPU s | round CPU s | ratio | without data "
    "| ratio | peak MB | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def table(case: Case, rounds: int) -> dict[str, Any]:
    """The configuration of a case; where there is room a tenth of the people are held out: drawing has to ask who."""
    source, cohort, size = case
    made = workload(size, cohort, rounds)
    if source == "wearables":
        made["source"] = {"name": "wearables", "users": size // 4}
        made["model"] = {"name": "mlp", "hidden": [32]}
        made["learner"] = {"name": "reptile", "inner_steps": 5, "batch_size": 16}
    made["split"]["test"] = 0.1 if size > cohort else 0.0
    return made


def rows(found: Mapping[Case, Mapping[str, float]]) -> list[str]:
    """The table's lines; ratios are to the smallest population of the same cohort."""
    out: list[str] = []
    first: dict[tuple[str, int], tuple[float, ...]] = {}
    for (source, cohort, size), f in found.items():
        figures = (f["cpu_s"], f["cpu_s"] - f["data_cpu_s"], f["peak_mb"])
        cpu, bare, mb = (a / b for a, b in zip(figures, first.setdefault((source, cohort), figures), strict=True))
        out.append(
            f"| {source} | {cohort:,} | {size:,} | {1000 * f['sampling']:.2f} | {f['data_cpu_s']:.3f} "
            f"| {figures[0]:.3f} | {cpu:.2f} | {figures[1]:.3f} | {bare:.2f} | {figures[2]:.0f} | {mb:.2f} |"
        )
    return out


def main() -> None:
    """Measure every case, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="of 1 000 clients; a third as many of 10 000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(".bench/scale"))
    args = parser.parse_args()
    runs: dict[Case, list[Measured]] = {case: [] for case in CASES}
    for _ in range(args.repeats):
        for case in CASES:
            print(*case, file=sys.stderr, flush=True)
            rounds = args.rounds if case[1] == 1_000 else max(5, args.rounds // 3)
            runs[case].append(measure(table(case, rounds)))
    found = {case: over(measured) for case, measured in runs.items()}
    save(args.out, "population", "\n".join([HEAD, *rows(found)]), [[*case, f] for case, f in found.items()])


if __name__ == "__main__":
    main()
