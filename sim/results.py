"""What a run or a comparison has left, as Python sees it: results that show themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.console import Console, Group

from metapulse.errors import RunError
from metapulse.rows import Rows
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import last_scores
from metapulse.sim.scores import score_tables

if TYPE_CHECKING:
    import numpy as np

    from metapulse.server.config import Config
    from metapulse.sim.lab.comparison import Comparison
    from metapulse.sim.personal import PersonalModel, TrainedRun

SHOWN = ("scenario", "shots", "step", "metric", "mean", "low", "high", "clients")


@dataclass(frozen=True)
class Result:
    """A finished run, or the runs of every method that a configuration names: ``result["maml"]`` is one of them.

    Args:
        path: folder of the run, or of all of them.
        runs: method → configuration and folder of its run.
        failed: method → why it failed.
    """

    path: Path
    runs: Mapping[str, tuple[Config, Path]]
    failed: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, method: str) -> Result:
        """The run of one method.

        Raises:
            RunError: no such method.
        """
        if method not in self.runs:
            why = f"; it failed: {self.failed[method]}" if method in self.failed else ""
            raise RunError(f"no run {method!r}; there are: {', '.join(self.runs)}{why}")
        return Result(self.runs[method][1], {method: self.runs[method]})

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the runs."""
        return tuple(self.runs)

    @cached_property
    def summaries(self) -> Mapping[str, Mapping[str, Any]]:
        """Method → its summary, as in summary.json."""
        return {name: RunFolder(path).summary() for name, (_, path) in self.runs.items()}

    @property
    def summary(self) -> Mapping[str, Any]:
        """The run's summary, as in summary.json (docs/run_folder.md).

        Raises:
            RunError: there are several runs.
        """
        return self.summaries[self._only()]

    @property
    def config(self) -> Config:
        """The run's configuration.

        Raises:
            RunError: there are several runs.
        """
        return self.runs[self._only()][0]

    @property
    def scores(self) -> Rows:
        """The last meta-test, a row per scenario, shots, step and metric, with the spread over clients.

        Besides ``loss``, what is predicted well (``accuracy``, ``balanced_accuracy``, ``mse``, ``mae``) and the metrics
        that were chosen (``evaluation.metrics``), ``metric`` names what was asked: ``offered``, how many classes have
        support samples; ``not_offered``, the share of the query whose class has none; ``history``, how many samples of
        old devices were adapted on first.
        """
        named = [{"method": name, **score} for name, one in self.summaries.items() for score in last_scores(one)]
        return Rows(named, ("method", *SHOWN))

    @property
    def metrics(self) -> pa.Table:
        """A row per method, client, round, shots, step and metric; ``polars.from_arrow`` makes a data frame of it.

        Raises:
            RunError: a metrics.parquet is damaged.
        """
        read = {name: RunFolder(path).table() for name, (_, path) in self.runs.items()}
        named = [t.add_column(0, "method", pa.array([name] * len(t), pa.string())) for name, t in read.items()]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in named])

    def model(
        self,
        person: str | int | None = None,
        *,
        device: str | None = None,
        support: tuple[np.ndarray, np.ndarray] | None = None,
        scenario: str | None = None,
        shots: int | None = None,
        steps: int | None = None,
    ) -> PersonalModel:
        """The trained model: θ as it is, or adapted to a person of the run's data, or to samples that are given.

        A person's support is that of the first test episode, so that the model is one that the meta-test judged.
        What the person's device kept in meta-training (a personal head, for example) is taken up where the cohort
        engine ran it.

        Args:
            person: id as in column ``user`` of the metrics, or number from 0; None: no person.
            device: the person's device model; may be left out where there is one only.
            support: (x, y) to adapt on, as the source gives them, in the place of a person's: x of (n, *features), y of
                n labels 0 … classes − 1, or targets.
            scenario: which question's support; None: that of the first scenario of the run.
            shots: support samples per class, or in all for regression (0: all); None: the run's last.
            steps: adaptation steps, ≥ 0; None: the run's last.

        Raises:
            RunError: there are several runs, or no such person or device, or both a person and a support are given.
            DataError: the person's samples cannot be used.
        """
        trained = self._trained[self._only()]
        if steps is not None and steps < 0:
            raise RunError(f"steps = {steps}: must be ≥ 0")
        if person is not None and support is not None:
            raise RunError("person and support: give one of them")
        if support is not None:
            return trained.support(*support, steps)
        if person is None:
            return trained.plain()
        return trained.person(person, device, scenario, shots, steps)

    def predict(self, x: np.ndarray, person: str | int | None = None, *, device: str | None = None) -> np.ndarray:
        """``model(person, device=device).predict(x)``: the most likely class of every sample, or its targets.

        Args:
            x: inputs as the source gives them, (n, *features).
            person: whose adapted model answers; None: θ as it is.
        """
        return self.model(person, device=device).predict(x)

    def report(self, page: str | Path | None = None) -> Path:
        """Write the page about the run, or the one that compares them; where it is.

        Args:
            page: the HTML file; None: report.html in the folder.
        """
        from metapulse.sim.report import write_report

        place = self.path / "report.html" if page is None else Path(page)
        write_report([path for _, path in self.runs.values()], place)
        return place

    def _only(self) -> str:
        if len(self.runs) != 1:
            raise RunError(f"{self.path} holds several runs; choose one: result[{next(iter(self.runs))!r}]")
        return next(iter(self.runs))

    @cached_property
    def _trained(self) -> dict[str, TrainedRun]:
        from metapulse.sim.personal import TrainedRun

        return {name: TrainedRun(path, config) for name, (config, path) in self.runs.items()}

    def __rich__(self) -> Any:
        return Group(*score_tables(self.summaries))

    def __repr__(self) -> str:
        return _as_text(self.__rich__())

    def _repr_html_(self) -> str:
        from metapulse.sim.report.runs.run_data import metric_of, read_runs
        from metapulse.sim.report.runs.tables import final_scores, other_scores

        runs = read_runs([path for _, path in self.runs.values()])
        return final_scores(runs, metric_of(runs)) + other_scores(runs)


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison says.

    Args:
        said: everything its report shows.
        failed: DATASET/METHOD/SEED → why it failed.
    """

    path: Path
    said: Comparison
    failed: Mapping[str, str]

    @property
    def words(self) -> Sequence[str]:
        """The verdict in sentences, the most important first."""
        return self.said.words

    @property
    def scores(self) -> Rows:
        """A row per data set, scenario, shots and method; ``last`` is the mean over people and its 95 % interval."""
        rows = [_flat(asdict(score), "last") for score in self.said.scores]
        return Rows(rows, ("dataset", "scenario", "shots", "method", "metric", "last", "low", "high"))

    @property
    def verdicts(self) -> Rows:
        """A row per data set, scenario, shots and method other than the reference: how far they are apart."""
        rows = [_flat(asdict(pair), "difference") for pair in self.said.pairs]
        return Rows(rows, ("dataset", "scenario", "shots", "method", "difference", "low", "high", "p_holm", "verdict"))

    def report(self) -> Path:
        """Where the comparison's page is."""
        return self.path / "report.html"

    def __repr__(self) -> str:
        return "\n".join(self.words)


def _flat(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A row whose interval of that name lies in three columns."""
    return row | {name: row[name]["value"], "low": row[name]["low"], "high": row[name]["high"]}


def _as_text(table: Any) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as text:
        console.print(table)
    return text.get()
