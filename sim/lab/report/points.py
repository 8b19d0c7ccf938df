"""Means over people with their intervals, for the curves of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from client.rng import generator
from server.statistics import RESAMPLES
from sim.lab.comparison import Comparison


def questions(comparison: Comparison) -> pl.DataFrame:
    """What each method is judged on: data set, method, scenario, shots, metric, and ``judged``, its step."""
    keys = ("dataset", "method", "scenario", "shots", "metric", "step")
    rows = [{key: getattr(score, key) for key in keys} for score in comparison.scores]
    return pl.DataFrame(rows, schema_overrides={"shots": pl.Int64, "step": pl.Int64}).rename({"step": "judged"})


def asked(results: pl.DataFrame, comparison: Comparison, phase: str) -> pl.DataFrame:
    """Rows of the main metric in one phase, with ``judged``; of the test those after the last round alone."""
    rows = results.filter(pl.col("phase") == phase)
    if phase == "test":
        rows = rows.filter(pl.col("round") == pl.col("round").max().over("dataset", "method", "seed"))
    return rows.join(questions(comparison), on=["dataset", "method", "scenario", "shots", "metric"], how="inner")


def points(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Mean over people of every group, and its 95 % bootstrap interval with people resampled.

        mean = Σ_u v_u / n, v_u the mean over a person's seeds and devices

    Args:
        rows: of one data set and phase.
        by: columns that make a group.

    Returns:
        The columns of ``by``, sorted, and ``mean``, ``low``, ``high``.
    """
    wide = rows.group_by(*by, "user").agg(pl.col("value").mean()).sort(*by, "user")
    wide = wide.pivot(on="user", index=list(by), values="value", sort_columns=True).sort(by)
    people = wide.drop(by)
    there = people.select(pl.all().is_not_null()).to_numpy().astype(np.float64)
    values = people.fill_null(0.0).to_numpy()
    draws = generator(0, "bootstrap").multinomial(values.shape[1], [1 / values.shape[1]] * values.shape[1], RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):  # people of another scenario may fill a whole draw
        means = (values @ draws.T) / (there @ draws.T)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=1)
    numbers = {"mean": values.sum(1) / there.sum(1), "low": low, "high": high}
    return wide.select(by).with_columns(**{name: pl.Series(column) for name, column in numbers.items()})
