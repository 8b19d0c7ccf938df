"""Means over seeds and people with their intervals, for the curves of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from metapulse.sim.lab.comparison import Comparison
from metapulse.sim.lab.select import in_means
from metapulse.sim.lab.statistics.crossed import half_width


def asked(results: pl.DataFrame, comparison: Comparison, phase: str) -> pl.DataFrame:
    """Rows of the main metric in one phase, with ``judged``, the step at which their method is judged.

    Clients apart are left out, as they are from the scores.

    Args:
        results: as in results.parquet.
        comparison: says what the main metric and the judged step are.
        phase: "validation", or "test": then only what was asked after the last round.
    """
    rows = _after_the_last_round(results) if phase == "test" else results.filter(pl.col("phase") == phase)
    there = in_means(rows).filter(pl.col("value").is_not_null())  # null: the metric is not defined for the client
    return _with_step(there, comparison, ("dataset", "method", "scenario", "shots", "metric"))


def tested(results: pl.DataFrame, comparison: Comparison) -> pl.DataFrame:
    """Rows of every metric of the test after the last round, with ``judged`` as in ``asked``."""
    return _with_step(_after_the_last_round(results), comparison, ("dataset", "method", "scenario", "shots"))


def _after_the_last_round(results: pl.DataFrame) -> pl.DataFrame:
    rows = results.filter(pl.col("phase") == "test")
    return rows.filter(pl.col("round") == pl.col("round").max().over("dataset", "method", "seed"))


def _with_step(rows: pl.DataFrame, comparison: Comparison, keys: Sequence[str]) -> pl.DataFrame:
    names = (*keys, "step")
    questions = pl.DataFrame([{key: getattr(score, key) for key in names} for score in comparison.scores])
    return rows.join(questions.rename({"step": "judged"}), on=list(keys), how="inner")


def points(rows: pl.DataFrame, by: Sequence[str], pilot: int = 0) -> pl.DataFrame:
    """Mean over seeds and people of every group, and its 95 % interval.

        mean ± t se, the widest of three: over people, over seeds, over both

    Args:
        rows: a person's devices one by one.
        by: columns that make a group.
        pilot: first seeds that decided how many there are.

    Returns:
        The columns of ``by``, sorted, and ``mean``, ``low``, ``high``. A person counts who was asked after every seed.
    """
    people = rows.group_by(*by, "seed", "user").agg(pl.col("value").mean())
    seeds = pl.col("seed").n_unique().over(by)
    crossed = people.filter(pl.len().over(*by, "user") == seeds).sort(*by, "seed", "user")
    groups = crossed.group_by(by, maintain_order=True).agg(pl.col("seed").n_unique(), pl.col("value"))
    numbers = []
    for seed_count, values in groups.select("seed", "value").iter_rows():
        grid = np.array(values, dtype=np.float64).reshape(seed_count, -1)
        mean, half = float(grid.mean()), half_width(grid, pilot=pilot)
        numbers.append({"mean": mean, "low": mean - half, "high": mean + half})
    return groups.select(by).hstack(pl.DataFrame(numbers))
