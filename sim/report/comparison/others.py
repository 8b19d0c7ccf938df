"""The metrics that were chosen beside the one that methods are judged by."""

from __future__ import annotations

from typing import Any

import polars as pl

from metapulse.metrics.table import larger_is_better
from metapulse.sim.lab.select import in_means
from metapulse.sim.report.comparison.points import points, tested
from metapulse.sim.report.comparison.view import ComparisonView
from metapulse.sim.report.plots import metric_title
from metapulse.sim.report.table import ReportTable, TableCell, best_value, file_name
from metapulse.sim.scores import number_text, scenario_title, shots_name

BY = ["scenario", "shots", "method", "metric"]


def other_metrics(view: ComparisonView, dataset: str) -> ReportTable | None:
    """(Question, method) × metric: the mean over people and its 95 % interval; None where no other metric was chosen.

    After the last round, at the step at which methods are judged.
    """
    metrics = view.others(dataset)
    if not metrics:
        return None
    rows = tested(view.folder.results, view.comparison, dataset, metrics).filter(pl.col("step") == pl.col("judged"))
    kept = in_means(rows)
    frame = (
        points(kept, BY, view.comparison.pilot)
        .join(kept.group_by(BY).agg(clients=pl.col("client").n_unique()), on=BY)
        .sort(BY)
    )
    found = {(row["scenario"], row["shots"], row["method"], row["metric"]): row for row in frame.iter_rows(named=True)}
    lines: list[tuple[TableCell | str, ...]] = []
    for scenario, shots in view.questions(dataset):
        asked = {m: [found.get((scenario, shots, method, m)) for method in view.methods] for m in metrics}
        tops = {m: best_value([row["mean"] for row in asked[m] if row], larger_is_better(m)) for m in metrics}
        for i, method in enumerate(view.methods):
            cells = [_cell(asked[metric][i], tops[metric]) for metric in metrics]
            question = f"{scenario_title(scenario)}, {shots_name(shots)}"
            lines.append((question, TableCell(method, place=view.place(method)), *cells))
    titles = (f">{metric_title(m)}{'' if larger_is_better(m) else '; less is better'}" for m in metrics)
    head = ("question", "method", *titles)
    named = frame.select(pl.lit(dataset).alias("dataset"), pl.all())
    return ReportTable(file_name("metrics", dataset), dataset, head, tuple(lines), named)


def _cell(row: dict[str, Any] | None, top: float) -> TableCell | str:
    """A mean with its interval, and how many clients it is of; a dash where it is not defined for any."""
    if row is None:
        return "–"
    metric = row["metric"]
    mean, low, high = (number_text(row[key], metric) for key in ("mean", "low", "high"))
    return TableCell(mean, f"[{low}, {high}]\n{row['clients']} clients", strong=mean == number_text(top, metric))
