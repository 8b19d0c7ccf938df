"""Method × question at one look: the difference from the reference with its interval, in colour where it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from metapulse.sim.lab.comparison import Pair
from metapulse.sim.report.comparison.view import ComparisonView
from metapulse.sim.report.table import ReportTable, TableCell, file_name
from metapulse.sim.scores import gain, number_text, scenario_title, shots_name

SHADES = 3  # of a colour, by the size of a difference
SHOWN = ("better", "worse")


def effect_matrix(view: ComparisonView, dataset: str) -> ReportTable:
    """The reference's scores, and under them every method's differences, competitors first and then baselines.

    A cell is coloured where its difference is beyond chance after the correction, blue for better and orange for worse,
    the darker the larger; grey where it is not.

    Args:
        dataset: whose questions are the columns.
    """
    asked = list(view.questions(dataset))
    reference = view.comparison.reference
    methods = sorted((m for m in view.methods if m != reference), key=lambda m: m in view.comparison.baselines)
    pairs = {method: [view.pairs.get((dataset, *question, method)) for question in asked] for method in methods}
    there = [pair for row in pairs.values() for pair in row if pair]
    largest = _largest(view, there)
    metric = view.measure(dataset)[0]
    rows: list[tuple[TableCell | str, ...]] = [(_named(view, reference), *_scores(view, dataset, asked))]
    rows += [
        (_named(view, method), *(_cell(pair, metric, largest) for pair in row))
        for method, row in pairs.items()
        if any(row)
    ]
    head = ("method", *(f">{scenario_title(scenario)}\n{shots_name(shots)}" for scenario, shots in asked))
    frame = pl.DataFrame([_record(pair) for pair in there], infer_schema_length=None)
    what, higher = view.measured(dataset), view.measure(dataset)[1]
    title = f"{dataset}: " + (f"difference in {what}" if higher else f"share of the error taken away ({what})")
    return ReportTable(file_name("differences", dataset), title, head, tuple(rows), frame)


def _named(view: ComparisonView, method: str) -> TableCell:
    return TableCell(method, view.role(method), place=view.place(method))


def _scores(view: ComparisonView, dataset: str, asked: Iterable[tuple[str, int]]) -> Iterable[TableCell | str]:
    for question in asked:
        score = view.scores.get((dataset, *question, view.comparison.reference))
        yield TableCell(number_text(score.last.value, score.metric), "scores") if score else "–"


def _largest(view: ComparisonView, pairs: Sequence[Pair]) -> float:
    """The largest difference that is shown, of competitors where one is: beside the majority label all are pale."""
    shown = [pair for pair in pairs if pair.verdict in SHOWN]
    rivals = [pair for pair in shown if pair.method not in view.comparison.baselines]
    return max((abs(pair.difference.value) for pair in rivals or shown), default=0.0)


def _cell(pair: Pair | None, metric: str, largest: float) -> TableCell | str:
    if pair is None:
        return TableCell("–", kind="even")
    won = pair.difference
    between = f"{gain(won.low, metric, '+')} to {gain(won.high, metric, '+')}"
    kind = "even" if pair.verdict not in SHOWN else f"{pair.verdict}-{shade(abs(won.value), largest)}"
    return TableCell(gain(won.value, metric, "+"), between, kind=kind)


def shade(size: float, largest: float) -> int:
    """From 1, pale, to ``SHADES``: in equal parts up to the largest, which all larger ones share."""
    return min(SHADES, 1 + int(SHADES * size / largest)) if largest > 0 else 1


def _record(pair: Pair) -> dict[str, Any]:
    won = pair.difference
    names = {"dataset": pair.dataset, "method": pair.method, "scenario": pair.scenario, "shots": pair.shots}
    return names | {"difference": won.value, "low": won.low, "high": won.high, "verdict": pair.verdict}
