"""Select the rows by which a method is judged, without using test people.

The adaptation step is chosen on validation people after the last round. Test people judge θ of the last round, and of
the best validation round where that was an earlier one (``metapulse.server.run.Run``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import polars as pl

from metapulse.errors import RunError
from metapulse.metrics.table import larger_is_better
from metapulse.server.metatest import headline_metric

CELL = ("dataset", "method", "seed", "fold")
QUESTION = ("dataset", "scenario", "shots")
KEYS = (*QUESTION, "method")
PARTS = (*KEYS, "fold")
Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)


def folded(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the fold whose people were tested; without folds there is one."""
    return rows if "fold" in rows.columns else rows.with_columns(fold=pl.lit(0, pl.Int64))


def main_rows(results: pl.DataFrame | pl.LazyFrame, main: Mapping[str, str] | None = None) -> pl.DataFrame:
    """The rows of every data set's main metric (``server/metatest.py``); clients apart are left out.

    Args:
        results: of a file as well (``pl.scan_parquet``): rows of other metrics are never held then.
        main: data set → the metric that was chosen; "" and left out: none was.
    """
    rows = in_means(results.lazy())
    measured = rows.select("dataset", "metric").unique().collect(engine="streaming").sort("dataset", "metric")
    chosen = {
        dataset: headline_metric([{"metric": name} for name in group["metric"]], (main or {}).get(str(dataset), ""))
        for (dataset,), group in measured.group_by("dataset")
    }
    return rows.filter(is_main(chosen.items())).collect(engine="streaming")


def is_main(chosen: Iterable[tuple[object, str]]) -> pl.Expr:
    """Whether a row is of one of these data sets, and of the metric beside it."""
    wanted = [(pl.col("dataset") == dataset) & (pl.col("metric") == metric) for dataset, metric in chosen]
    return pl.any_horizontal(pl.lit(False), *wanted)


def in_means(results: Table) -> Table:
    """The rows that are in means, not ``apart``."""
    there = "apart" in results.collect_schema().names()
    return results.filter(pl.col("apart").fill_null("") == "") if there else results


def judged_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """The adaptation step of every data set, scenario, shots and method.

    The best mean over seeds and validation people after the last round, the earliest of equals; the largest step where
    there are no validation people. A step at which fewer clients have a number than at another is not chosen: where an
    error overflows there is no row.

    Args:
        rows: of the main metric, of all phases.

    Returns:
        ``PARTS`` and step: a fold's is chosen without the people that it tests.
    """
    rows = folded(rows)
    last = rows.filter(pl.col("round") == pl.col("round").max().over(CELL))
    higher = [metric for metric in rows["metric"].unique() if larger_is_better(metric)]
    merit = pl.when(pl.col("metric").is_in(higher)).then("value").otherwise(-pl.col("value"))
    curves = (
        last.filter(pl.col("phase") == "validation")
        .group_by(*PARTS, "step", "user")
        .agg(merit=merit.mean(), answered=pl.len())
        .group_by(*PARTS, "step")
        .agg(pl.col("merit").mean().round(12), pl.col("answered").sum())  # who does not adapt is as good at every step
        .filter(pl.col("answered") == pl.col("answered").max().over(PARTS))
        .sort("merit", "step", descending=[True, False])
    )
    chosen = curves.group_by(PARTS, maintain_order=True).agg(chosen=pl.col("step").first())
    largest = last.filter(pl.col("phase") == "test").group_by(PARTS).agg(pl.col("step").max())
    steps = largest.join(chosen, on=PARTS, how="left", nulls_equal=True)
    return steps.select(*PARTS, step=pl.coalesce("chosen", "step"))


def judged_rows(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Test rows at the judged step: after the last round, and after the best validation round.

    Args:
        rows: of the main metric, of all phases.

    Returns:
        Two tables with the columns of ``rows``; the second lacks what was not validated.

    Raises:
        RunError: a run asked its test people after more than two rounds (``evaluation.every``): one could be picked.
    """
    rows = folded(rows)
    asked = rows.filter(pl.col("phase") == "test")
    for cell in asked.group_by(CELL).agg(pl.col("round").unique().sort()).filter(pl.col("round").list.len() > 2).rows():
        raise RunError(f"{cell}: test people were asked after these rounds; it must be the last and the best one only")
    test = asked.join(judged_steps(rows), on=[*PARTS, "step"], how="semi")
    validated = rows.filter(pl.col("phase") == "validation").select(KEYS).unique()
    last = test.filter(pl.col("round") == pl.col("round").max().over(CELL))
    best = test.filter(pl.col("round") == pl.col("round").min().over(*CELL, "scenario", "shots"))
    return last, best.join(validated, on=KEYS, how="semi")
