"""A comparison as its figures and tables ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from metapulse.sim.lab.comparison import Pair, Score
from metapulse.sim.report.comparison.folder import ComparisonFolder
from metapulse.sim.report.comparison.points import asked
from metapulse.sim.report.plots import metric_title
from metapulse.sim.scores import scenarios

#: Methods whose curves are in colour before the reader chooses.
SHOWN = 6


class ComparisonView:
    """Scores and pairs by question, methods in order of rank, rows of the main metric."""

    def __init__(self, folder: ComparisonFolder) -> None:
        self.folder, self.comparison = folder, folder.comparison
        self.scores = {(s.dataset, s.scenario, s.shots, s.method): s for s in folder.comparison.scores}
        self.pairs = {(p.dataset, p.scenario, p.shots, p.method): p for p in folder.comparison.pairs}
        self.datasets = [d for d in folder.comparison.datasets if any(s.dataset == d for s in folder.comparison.scores)]
        self.scenarios = scenarios([{"scenario": s.scenario} for s in folder.comparison.scores])
        self.shots = sorted({s.shots for s in folder.comparison.scores}, key=lambda k: (k == 0, k))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Best mean rank first; those that were not ranked last."""
        rankings = (self.comparison.ranking, *self.comparison.rankings)
        ranked = next((ranking.methods for ranking in rankings if ranking), ())
        return (*ranked, *(m for m in self.comparison.methods if m not in ranked))

    @cached_property
    def shown(self) -> frozenset[str]:
        """The reference and the best of the others."""
        others = [method for method in self.methods if method != self.comparison.reference]
        return frozenset([self.comparison.reference, *others[: SHOWN - 1]])

    def place(self, method: str) -> int:
        """A method's place in the palette."""
        return self.comparison.methods.index(method)

    def named(self, method: str) -> str:
        """A method's name, the reference and baselines told apart."""
        told = self.role(method)
        return f"{method} ({told})" if told else method

    def role(self, method: str) -> str:
        """What a method is in the comparison, where it is no competitor."""
        if method == self.comparison.reference:
            return "reference"
        return "baseline" if method in self.comparison.baselines else ""

    def at(self, dataset: str, scenario: str, shots: int) -> list[Score]:
        """Scores on one question, best rank first."""
        found = (self.scores.get((dataset, scenario, shots, method)) for method in self.methods)
        return [score for score in found if score]

    def pair(self, score: Score) -> Pair | None:
        """A method against the reference on a score's question."""
        return self.pairs.get((score.dataset, score.scenario, score.shots, score.method))

    def questions(self, dataset: str) -> Iterator[tuple[str, int]]:
        """(scenario, shots) that a data set was asked, in order."""
        there = {key[:3] for key in self.scores}
        return ((s, k) for s in self.scenarios for k in self.shots if (dataset, s, k) in there)

    def measured(self, dataset: str) -> str:
        """What is measured on a data set, in words."""
        metric, higher = self.measure(dataset)
        return metric_title(metric) + ("" if higher else "; less is better")

    def measure(self, dataset: str) -> tuple[str, bool]:
        """Main metric of a data set, and whether more of it is better."""
        score = next(score for score in self.comparison.scores if score.dataset == dataset)
        return score.metric, score.higher

    def others(self, dataset: str) -> list[str]:
        """Metrics that runs on a data set were asked for, but for the main one."""
        chosen = self._config(dataset)["evaluation"].get("metrics", [])
        return [metric for metric in chosen if metric != self.measure(dataset)[0]]

    def source(self, dataset: str) -> dict[str, Any]:
        """Where a data set's samples come from: its section of the configuration."""
        source: dict[str, Any] = self._config(dataset)["source"]
        return source

    def trained_on(self, dataset: str) -> str:
        """The device models of training, in words."""
        return "trained on " + (", ".join(self._config(dataset)["split"]["train_devices"]) or "all devices")

    def _config(self, dataset: str) -> dict[str, Any]:
        return next(cell.config for cell in self.folder.cells if cell.dataset == dataset)

    @cached_property
    def tested(self) -> dict[str, pl.DataFrame]:
        """By data set: rows of the test after the last round."""
        return self._by_dataset("test")

    @cached_property
    def validated(self) -> dict[str, pl.DataFrame]:
        """By data set: rows of the looks at validation people at the judged step."""
        return {
            name: rows.filter(pl.col("step") == pl.col("judged"))
            for name, rows in self._by_dataset("validation").items()
        }

    def _by_dataset(self, phase: str) -> dict[str, pl.DataFrame]:
        rows = asked(self.folder.results, self.comparison, phase)
        return {str(key[0]): part for key, part in rows.partition_by("dataset", as_dict=True).items()}


def key(*chosen: object) -> str:
    """Name of the figure that is drawn for what the reader has chosen."""
    return "/".join(map(str, chosen))


def p_words(p: float) -> str:
    """A p-value as in "p = 0.012"; tiny ones as "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def plain_mean(values: Sequence[float]) -> float:
    """Plain mean; NaN of nothing."""
    return sum(values) / len(values) if values else float("nan")
