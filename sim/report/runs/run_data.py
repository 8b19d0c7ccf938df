"""The data of a run's report, read from its folder alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metapulse.errors import RunError
from metapulse.server.files import read_sealed
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import Row, last_scores, rows_in_means, summarise, undefined_counts
from metapulse.server.progress import STAGES, add_up
from metapulse.server.reasons import lost_reply_counts
from metapulse.server.result import answer_counts
from metapulse.sim.scores import Score, find_score, measured, scenario_title, scenarios, shots_name, shown_metrics

#: What decides which clients are asked and which episodes they get.
PAIRING = ("phase", "devices", "clients", "episodes", "query", "split", "restrict", "seed")


@dataclass(frozen=True)
class RunData:
    """One run.

    Args:
        label: what it is called in the report.
        rows: of metrics.parquet; empty where no meta-test has been written yet.
        scores: spread over clients of every meta-test.
        finished: whether it has a summary.
        parameters: number of meta-parameters, 0 where unknown.
        undefined: for how many clients a metric is not defined, as in summary.json.
    """

    label: str
    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    events: list[dict[str, Any]]
    rows: list[Row]
    scores: list[Score]
    finished: bool
    parameters: int
    undefined: Sequence[dict[str, Any]] = ()

    @property
    def chosen(self) -> tuple[Sequence[str], str]:
        """The metrics that were chosen, and the main one; "" where none was."""
        evaluation = self.config["evaluation"]
        return evaluation.get("metrics", ()), evaluation.get("main_metric", "")

    @property
    def final(self) -> list[Score]:
        """Scores of the last meta-test."""
        return list(last_scores({"scores": self.scores}))

    def watched(self, scenario: str) -> list[Score]:
        """A scenario's scores that tell how learning went: at validation people where they were looked at."""
        mine = [score for score in self.scores if score["scenario"] == scenario]
        return [score for score in mine if score["phase"] == "validation"] or mine

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The log's entries of finished rounds."""
        return [event for event in self.events if event.get("kind") == "round"]

    @cached_property
    def stages(self) -> dict[str, float]:
        """Seconds of the whole run by stage, in the order of ``STAGES``; {} where the log does not say."""
        beside = {"meta-test": "evaluation", "checkpoint": "checkpoint"}
        parts = [event.get("spent") or {} for event in self.rounds]
        parts += [{beside[e["kind"]]: e.get("seconds")} for e in self.events if e.get("kind") in beside]
        total = add_up({k: float(v) for k, v in part.items() if isinstance(v, (int, float))} for part in parts)
        return {stage: total[stage] for stage in STAGES if stage in total}

    @property
    def told(self) -> dict[str, Any]:
        """What a summary says of lost replies and of who answered, of an unfinished run too."""
        counts = {**lost_reply_counts(self.events), "people": answer_counts(self.events)}
        return counts | {"not_defined": self.undefined}

    @property
    def dropped(self) -> list[dict[str, Any]]:
        """The log's entries of replies that were refused."""
        return [event for event in self.events if event.get("kind") == "dropped"]

    @cached_property
    def last_rows(self) -> dict[tuple[str, int, int, str], list[Row]]:
        """Rows of the last meta-test by (scenario, shots, step, metric)."""
        final = {(score["round"], score["phase"]) for score in self.final}
        groups: dict[tuple[str, int, int, str], list[Row]] = {}
        for row in self.rows:
            if (row["round"], row["phase"]) in final:
                groups.setdefault((row["scenario"], row["shots"], row["step"], row["metric"]), []).append(row)
        return groups

    def pairs_with(self, other: RunData) -> bool:
        """Whether both were asked the same episodes of the same clients."""
        mine, theirs = self.config, other.config
        same = all(mine.get(key) == theirs.get(key) for key in ("source", "split"))
        return same and all(mine["evaluation"].get(k) == theirs["evaluation"].get(k) for k in PAIRING)


@dataclass(frozen=True)
class PlotLine:
    """One curve: a run at a number of shots in a scenario; ``colour`` is its place in the palette."""

    label: str
    colour: int
    run: RunData
    scenario: str
    shots: int

    def last_step(self) -> int:
        """The most adaptation steps it was judged after."""
        mine = (self.scenario, self.shots)
        return max(int(s["step"]) for s in self.run.final if (s["scenario"], s["shots"]) == mine)

    def at(self, step: int, metric: str) -> Score | None:
        """Its score at the last meta-test."""
        return find_score(self.run.final, self.scenario, self.shots, step, metric)

    def course(self, metric: str) -> list[tuple[int, Score]]:
        """(step, score) of every adaptation step at the last meta-test."""
        steps = sorted({int(score["step"]) for score in self.run.final})
        return [(step, score) for step in steps if (score := self.at(step, metric))]

    def clients(self, step: int, metric: str) -> list[Row]:
        """Its rows at the last meta-test, one per client."""
        return self.run.last_rows.get((self.scenario, self.shots, step, metric), [])


@dataclass(frozen=True)
class Facet:
    """One little figure: curves that are to be compared."""

    title: str
    lines: list[PlotLine]


def read_run(path: Path) -> RunData:
    """Everything a report needs of one folder.

    Raises:
        RunError: it holds no run, or one of its files is damaged.
    """
    folder = RunFolder(path)
    config, _ = folder.config()
    summary = folder.summary() if (path / "summary.json").exists() else None
    begun = bool(folder.checkpoints())
    rows = folder.metrics() if begun or (path / "metrics.parquet").exists() else []
    environment = read_sealed(path / "environment.json") if (path / "environment.json").exists() else {}
    events = folder.events() if begun or folder.log.path.exists() else []
    try:
        scores = measured(summary["scores"] if summary is not None else summarise(rows))
        parameters = int(summary["parameters"]) if summary is not None else 0
        label = str(config["run"]["name"])
        if not isinstance(config["evaluation"], dict):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged: config.json or summary.json lacks what a report needs") from None
    kept, undefined, finished = rows_in_means(rows), undefined_counts(rows), summary is not None
    return RunData(label, path, config, environment, events, kept, scores, finished, parameters, undefined)


def read_runs(paths: Sequence[Path]) -> list[RunData]:
    """All runs, each with a label of its own: its name, with the seed or the folder where names repeat."""
    runs = [read_run(path) for path in dict.fromkeys(paths)]
    runs = _apart(runs, [f"{run.label}-{run.config['run'].get('seed')}" for run in runs])
    return _apart(runs, [str(run.path) for run in runs])


def _apart(runs: list[RunData], others: Sequence[str]) -> list[RunData]:
    labels = [run.label for run in runs]
    return [
        replace(run, label=other) if labels.count(run.label) > 1 else run
        for run, other in zip(runs, others, strict=True)
    ]


def metric_of(runs: Sequence[RunData]) -> str:
    """The metric the report is about."""
    return metrics_of(runs)[0]


def metrics_of(runs: Sequence[RunData]) -> list[str]:
    """The metric the report is about, and the others that were chosen."""
    return shown_metrics([run.chosen for run in runs], [score for run in runs for score in run.final])


def facets(runs: Sequence[RunData]) -> list[Facet]:
    """What is compared with what: several runs at each (scenario, shots), or one run's shots in each scenario."""
    scores = [score for run in runs for score in run.final]
    if len(runs) == 1:
        return [
            Facet(
                scenario_title(scenario),
                [PlotLine(shots_name(k), i, runs[0], scenario, k) for i, k in enumerate(_all_shots(scores, scenario))],
            )
            for scenario in scenarios(scores)
        ]
    return list(_compared(runs, scores))


def _compared(runs: Sequence[RunData], scores: Sequence[Score]) -> Iterator[Facet]:
    for scenario in scenarios(scores):
        for shots in _all_shots(scores, scenario):
            lines = [
                PlotLine(run.label, i, run, scenario, shots)
                for i, run in enumerate(runs)
                if any((s["scenario"], s["shots"]) == (scenario, shots) for s in run.final)
            ]
            yield Facet(f"{scenario_title(scenario)}, {shots_name(shots)}", lines)


def _all_shots(scores: Sequence[Score], scenario: str) -> list[int]:
    return sorted({int(s["shots"]) for s in scores if s["scenario"] == scenario}, key=lambda k: (k == 0, k))
