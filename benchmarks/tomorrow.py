"""Tomorrow's recipes, tuned: the five parts of the people of ``benchmarks/tomorrow.toml`` as one table.

python benchmarks/tomorrow.py compare/tomorrow

Of every run the round and the step with the least mean square error of its validation people count.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

UNITS = {"sleep": 60.0, "steps": 4000.0}  # of y
BASELINE = "mean_of_days"


def judged(run: pl.DataFrame) -> pl.DataFrame:
    """Absolute errors of one run's test people, at the round and step that its validation people choose."""
    test = run.filter(phase="test", metric="mae")
    moments = test.select("round", "step").unique().sort("round", "step")
    looks = run.filter(phase="validation", metric="mse").join(moments, on=["round", "step"])
    if len(looks):
        scores = looks.group_by("round", "step").agg(pl.col("value").mean()).sort("value", "round", "step")
        return test.join(scores.head(1).select("round", "step"), on=["round", "step"])
    return test.join(moments.tail(1), on=["round", "step"])


def people(results: pl.DataFrame, what: str) -> dict[str, dict[int, float]]:
    """Mean absolute error of every person over seeds, by method."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    of = results.filter(pl.col("dataset").str.starts_with(what))
    for (_, method, _), run in of.group_by("dataset", "method", "seed", maintain_order=True):
        for client, value in judged(run).select("client", "value").rows():
            found[str(method)][client].append(value * UNITS[what])
    return {
        method: {client: float(np.mean(errors)) for client, errors in each.items()} for method, each in found.items()
    }


def main(folder: Path) -> None:
    """Print a line a method: people, mean and median error, difference from the baseline."""
    results = pl.read_parquet(folder / "results.parquet")
    for what in UNITS:
        table = people(results, what)
        for method, each in sorted(table.items(), key=lambda one: float(np.median(list(one[1].values())))):
            errors = np.array(list(each.values()))
            by = errors - np.array([table[BASELINE][client] for client in each])
            error = by.std(ddof=1) / len(by) ** 0.5
            print(
                f"{what} {method}: {len(errors)} people, mean {errors.mean():.1f}, median {np.median(errors):.1f}, "
                f"against {BASELINE} {by.mean():+.1f} ± {error:.1f}, better for {int((by < 0).sum())}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
