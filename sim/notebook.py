"""The command line's ``run`` and ``report`` for a notebook: the same folders, and results that show themselves.

>>> from metapulse.sim.notebook import launch
>>> result = launch("configs/main.toml", out="runs/mine", sets=["run.rounds=50"])
>>> result  # the table of final scores
>>> result.metrics("maml")  # one row per client, round, shots, step and metric
>>> result.report()  # runs/mine/report.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from metapulse.errors import MetapulseError, RunError
from metapulse.server.lock import alone
from metapulse.sim.progress import watch
from metapulse.sim.scores import score_table
from metapulse.sim.suite import Job, held, jobs, perform, plan
from metapulse.sim.tracking import chosen, tracked


@dataclass(frozen=True)
class Result:
    """Finished runs.

    Args:
        path: the folder of the run or the suite.
        summaries: method → summary, as in summary.json.
        paths: method → folder of its run.
        failed: method → why it failed.
    """

    path: Path
    summaries: Mapping[str, Mapping[str, Any]]
    paths: Mapping[str, Path]
    failed: Mapping[str, str]

    def metrics(self, method: str | None = None) -> Any:
        """A run's metrics.parquet as an Arrow table; ``polars.from_arrow`` makes a data frame of it.

        Args:
            method: which; None: all of them, with a column ``method`` where there are several.

        Raises:
            RunError: no such method.
        """
        if method is not None and method not in self.paths:
            raise RunError(f"no run {method!r}; there are: {', '.join(self.paths)}")
        read = {name: pq.read_table(path / "metrics.parquet") for name, path in self.paths.items()}
        if method is not None or len(read) == 1:
            return read[method or next(iter(read))]
        named = [t.add_column(0, "method", pa.array([name] * len(t), pa.string())) for name, t in read.items()]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in named])

    def report(self) -> Path:
        """Write the page that compares the runs; where it is."""
        from metapulse.sim.report import write_report

        write_report(list(self.paths.values()), self.path / "report.html")
        return self.path / "report.html"

    def __rich__(self) -> Any:
        return score_table(self.summaries)

    def __repr__(self) -> str:
        console = Console(width=120, color_system=None)
        with console.capture() as text:
            console.print(self.__rich__())
        return text.get()

    def _repr_html_(self) -> str:
        from metapulse.sim.report.runs import metric_of, read_runs
        from metapulse.sim.report.tables import scores

        runs = read_runs(list(self.paths.values()))
        return scores(runs, metric_of(runs))


def launch(
    config: str | Path,
    out: str | Path,
    sets: Sequence[str] = (),
    seed: int | None = None,
    workers: int | None = None,
    quiet: bool = False,
    track: Sequence[str] = (),
) -> Result:
    """Run a configuration, or every method of it, into a new folder.

    Args:
        config: TOML file.
        out: the folder.
        sets: ``section.key=value`` each.
        seed: of the run; None: as configured.
        workers: Ray actors; None: as configured.
        quiet: show no progress.
        track: trackers, by name: tensorboard, wandb, mlflow.

    Raises:
        MetapulseError: the configuration is wrong, the folder is taken, or every run failed.
    """
    given = {"run": {"seed": seed}, "engine": {"workers": workers}}
    options = {section: {k: v for k, v in keys.items() if v is not None} for section, keys in given.items()}
    folder, kinds = Path(out), chosen(track)
    asked = plan(Path(config), sets, options)
    with alone(folder):
        return _collect(jobs(asked, folder), folder, quiet, kinds)


def resume(path: str | Path, quiet: bool = False, track: Sequence[str] = ()) -> Result:
    """Finish what was interrupted in a folder; finished runs are only read. A tracker goes on in its own run.

    Raises:
        MetapulseError: the folder holds no run, or every run failed.
    """
    folder = Path(path)
    todo = held(folder)
    with alone(folder):
        return _collect(todo, folder, quiet, chosen(track))


def _collect(todo: Sequence[Job], folder: Path, quiet: bool, kinds: Sequence[Any]) -> Result:
    console = Console(stderr=True, quiet=quiet)
    outcomes = list(perform(todo, tracked(lambda name: watch(name, console), todo, kinds)))
    done = {o.job.name: o for o in outcomes if o.summary is not None}
    failed = {o.job.name: o.error for o in outcomes if o.error}
    if len(failed) == len(outcomes):
        raise MetapulseError("; ".join(f"{name}: {error}" for name, error in failed.items()))
    summaries = {name: o.summary or {} for name, o in done.items()}
    return Result(folder, summaries, {name: o.job.path for name, o in done.items()}, failed)
