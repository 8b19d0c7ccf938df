"""From measurements to figures: medians with their range, and ratios taken within a repetition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.bench.systems import SYSTEMS
from benchmarks.bench.workload import WORKLOADS

#: A measurement as ``run.Measurement`` becomes in JSON.
Row = Mapping[str, Any]
#: Median, least and largest.
Spread = dict[str, float]

FIGURES: Mapping[str, Callable[[Row], float]] = {
    "updates_per_s": lambda row: row["figures"]["updates_per_s"],
    "updates_per_cpu_s": lambda row: row["figures"]["updates_per_cpu_s"],
    "updates_per_cpu_s_per_gflops": lambda row: row["figures"]["updates_per_cpu_s"] / row["sgemm"],
    "share_of_ceiling": lambda row: (
        row["figures"]["updates_per_cpu_s"] * WORKLOADS[row["workload"]].flops / (row["sgemm"] * 1e9)
    ),
    "startup_s": lambda row: row["figures"]["startup_s"],
    "peak_mb": lambda row: row["figures"]["peak_mb"],
    "sgemm": lambda row: row["sgemm"],
    "error": lambda row: row["error"],
    "step_error": lambda row: row["step_error"],
}
#: What ratios are taken of: as it was measured, and after division by the matrix product of the same moment.
RATIOS = ("updates_per_s", "updates_per_cpu_s", "updates_per_cpu_s_per_gflops")


def spread(values: Iterable[float]) -> Spread:
    """Median and range."""
    array = np.array(list(values))
    return {"median": float(np.median(array)), "min": float(array.min()), "max": float(array.max())}


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One entry per workload and system, in the order of the registry: its figures, or its problem."""
    found = []
    for workload in WORKLOADS:
        for entry in SYSTEMS:
            own = [row for row in rows if (row["workload"], row["system"]) == (workload, entry.name)]
            if not own:
                continue
            good = [row for row in own if not row["problem"]]
            figures = {name: spread(map(figure, good)) for name, figure in FIGURES.items()} if good else {}
            problem = next((row["problem"] for row in own if row["problem"]), "")
            found.append(
                {"workload": workload, "system": entry.name, "repeats": len(good), "problem": problem, **figures}
            )
    return found


def ratios(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every form of metapulse over every other system of its workload, repetition by repetition."""
    by_turn = {(row["workload"], row["system"], row["repeat"]): row for row in rows if not row["problem"]}
    turns = sorted({turn for *_, turn in by_turn})
    found = []
    for workload in WORKLOADS:
        for over in (entry for entry in SYSTEMS if entry.ours):
            for under in SYSTEMS:
                keys = [((workload, over.name, t), (workload, under.name, t)) for t in turns]
                pairs = [(by_turn[a], by_turn[b]) for a, b in keys if a in by_turn and b in by_turn]
                if pairs and over is not under:
                    figures = {n: spread(FIGURES[n](a) / FIGURES[n](b) for a, b in pairs) for n in RATIOS}
                    found.append({"workload": workload, "system": over.name, "over": under.name, **figures})
    return found
