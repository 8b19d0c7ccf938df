"""Means over seeds and people with their intervals, for the curves of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from metapulse.sim.lab.comparison import Comparison
from metapulse.sim.lab.select import in_means, is_main
from metapulse.sim.lab.statistics.crossed import half_width


def asked(results: pl.LazyFrame, comparison: Comparison, phase: str) -> pl.DataFrame:
    """Rows of the main metric in one phase, with ``judged``, the step at which their method is judged.

    Clients apart are left out, as they are from the scores.

    Args:
        results: as in results.parquet.
        comparison: says what the main metric and the judged step are.
        phase: "validation", or "test": then only what was asked after the last round.
    """
    main = sorted({(score.dataset, score.metric) for score in comparison.scores})
    rows = in_means(_of_phase(results, phase)).filter(
        is_main(main),
        pl.col("value").is_not_null(),  # null: the metric is not defined for the client
    )
    return _with_step(rows, comparison, ("dataset", "method", "scenario", "shots", "metric"))


def tested(results: pl.LazyFrame, comparison: Comparison, dataset: str, metrics: Sequence[str]) -> pl.DataFrame:
    """Rows of some metrics of a data set's test after the last round, with ``judged`` as in ``asked``."""
    rows = _of_phase(results.filter(pl.col("dataset") == dataset), "test")
    chosen = rows.filter(pl.col("metric").is_in(list(metrics)))
    return _with_step(chosen, comparison, ("dataset", "method", "scenario", "shots"))


def _of_phase(results: pl.LazyFrame, phase: str) -> pl.LazyFrame:
    """Of the test only what was asked after the last round of a run."""
    rows, run = results.filter(pl.col("phase") == phase), ("dataset", "method", "seed")
    if phase != "test":
        return rows
    last = rows.group_by(run).agg(pl.col("round").max())
    return rows.join(last, on=[*run, "round"], how="semi", maintain_order="left")


def _with_step(rows: pl.LazyFrame, comparison: Comparison, keys: Sequence[str]) -> pl.DataFrame:
    names = (*keys, "step")
    questions = pl.LazyFrame([{key: getattr(score, key) for key in names} for score in comparison.scores])
    there = rows.join(questions.rename({"step": "judged"}), on=list(keys), how="inner", maintain_order="left")
    return there.collect(engine="streaming")


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
