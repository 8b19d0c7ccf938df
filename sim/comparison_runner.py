"""A comparison from its specification to its report, in one folder that another program can read.

spec.json          names, seeds, reference; every cell with its address, its resolved configuration, and why it failed
cells/KEY/         a training run's folder, as ``metapulse.server.folder`` describes it; trials of tuning are cells too
tuning.json        what tuning tried, how it scored and what was chosen (``metapulse.sim.lab.tuning``)
results.parquet    every number of every finished cell (``metapulse.sim.lab.table``)
seeds.json         how many seeds the pilot asked for, where it decides (``metapulse.sim.lab.seeds``)
costs.parquet      gradient steps, operations and bytes of every finished cell
comparison.json    scores, differences, ranks and the verdict in words (``metapulse.sim.lab.comparison``)
report.html        the page, and tables/ with each of its tables as CSV and LaTeX

The JSON files are sealed, and comparison.json holds the digests of both tables. Whatever is there already is not done
again; the same folder with another specification runs what is new in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from metapulse.errors import RunError
from metapulse.server.config import resolved
from metapulse.server.files import read_sealed, write_sealed
from metapulse.server.folder import version_of
from metapulse.server.lock import alone
from metapulse.sim.cells import Cell, CellResult, distinct
from metapulse.sim.engines.cluster import check_workers
from metapulse.sim.lab.cells import RunInputs, comparison_cells, select
from metapulse.sim.lab.compare import judge_methods, reference_differences
from metapulse.sim.lab.comparison import Comparison
from metapulse.sim.lab.levels import unlevelled
from metapulse.sim.lab.pilot import kept_decision, pilot_decision
from metapulse.sim.lab.power import PowerPlan, power_plans
from metapulse.sim.lab.seeds import SeedDecision, seed_words
from metapulse.sim.lab.spec import ComparisonSpec
from metapulse.sim.lab.table import cost_table, result_table, write_parquet, write_results
from metapulse.sim.lab.tune import Pair, studies, tune
from metapulse.sim.progress import Display
from metapulse.sim.report import write_comparison_report
from metapulse.sim.report.comparison.folder import write_comparison
from metapulse.sim.runner import run_cells


@dataclass(frozen=True)
class ComparisonRunner:
    """One comparison in its folder.

    Args:
        folder: of the comparison; new, or one that this or another specification has been run in.
        workers: cells at once; 0 and 1: in this process.
        display: makes what shows a batch: of its name, the runs to do, how many are finished, how many run at once.
        track: names of trackers that are told of every run, trials of tuning included.
    """

    spec: ComparisonSpec
    folder: Path
    workers: int
    display: Callable[[str, Sequence[Cell], int, int], Display]
    track: Sequence[str] = ()
    inputs: RunInputs = field(default_factory=RunInputs)

    def run(self, only: Sequence[str] = ()) -> tuple[Comparison | None, list[CellResult]]:
        """Do what is left, and write tables and report about everything that is finished.

        Args:
            only: patterns of DATASET/METHOD/SEED, for a part of the cells and what they need of tuning.

        Returns:
            What may be said, None where no cell is finished; and the cells that could not be.

        Raises:
            ConfigError: a pattern that fits nothing.
            RunError: the folder cannot be written, holds something else, or another process works in it.
        """
        check_workers(self.workers, "--workers")
        self._prepare()
        with alone(self.folder):
            return self._run(only)

    def _run(self, only: Sequence[str]) -> tuple[Comparison | None, list[CellResult]]:
        most = self.spec.grown(self.spec.growth.most) if self.spec.growth else self.spec
        asked = {cell.name: cell for cell in select(comparison_cells(most, self.folder, inputs=self.inputs), only)}
        wanted = {(cell.dataset, cell.method) for cell in asked.values()}
        failures: list[CellResult] = []
        over: set[Path] = set()  # what failed is not tried again by this command
        trials: dict[Path, Cell] = {}

        with ExitStack() as started:

            def run(batch: str, cells: Sequence[Cell]) -> None:
                """Settings that only tuning thought of may fail."""
                different = distinct(cells)
                trials.update({cell.path: cell for cell in different if cell.trial is not None})
                todo = [cell for cell in different if not cell.finished and cell.path not in over]
                before = len(different) - len(todo)

                def show(left: Sequence[Cell], done: int, workers: int) -> Display:
                    return self.display(batch, left, before + done, workers)

                for result in run_cells(todo, show, self.workers, self.track, wait=True, started=started):
                    if result.error:
                        over.add(result.cell.path)
                        failures.extend([] if result.cell.trial else [result])

            def batch(runner: ComparisonRunner) -> list[Cell]:
                """All cells that are known by now, those that were asked for run."""
                cells, untuned, tried = runner._tuned(wanted, run)
                write_sealed(self.folder / "tuning.json", {"studies": tried})
                cells = [cell for cell in cells if (cell.dataset, cell.method) not in untuned]
                runner._write_spec(cells, [])
                run("", [cell for cell in cells if cell.name in asked])
                return cells

            runner, cells = self, batch(self)
            if decision := self._decision(cells, over):
                runner = replace(self, spec=self.spec.grown(decision.seeds))
                cells = batch(runner)
        known = {failure.cell.path for failure in failures}
        rest = [(cell, cell.failure) for cell in cells if cell.path not in known]  # finished before, not asked for now
        failures += [CellResult(cell, None, why, 1, True) for cell, why in rest if why]
        runner._write_spec(cells, failures)
        fruitless = {(f.cell.dataset, f.cell.method) for f in failures if f.fruitless and f.cell.trial is None}
        return runner._conclude(cells, list(trials.values()), decision, fruitless), failures

    def _decision(self, cells: Sequence[Cell], failed: Collection[Path] = ()) -> SeedDecision | None:
        """How many seeds there are, where the pilot decides; None where it does not, or is not over.

        Args:
            cells: of the pilot.
            failed: folders of runs that cannot be finished.
        """
        plan = self.spec.growth
        if plan is None or len({(cell.dataset, cell.method) for cell in cells}) < len(self.spec.pairs):
            return None
        if not all(cell.finished or cell.path in failed for cell in cells):
            return None
        kept = kept_decision(self.folder, plan, cells)
        return kept or pilot_decision(self.folder, self.spec, plan, cells, self.workers)

    def plan(self) -> tuple[list[PowerPlan], float]:
        """What the finished runs, as a pilot, say of seeds and people; and the seconds of all rounds of one seed.

        Raises:
            RunError: there are no two finished seeds of a method and the reference.
        """
        cells = [cell for cell in self.cells()[0] if cell.finished]
        spec = self.spec
        plans = []
        if cells:
            methods, datasets = list(spec.methods), list(spec.datasets)
            table = result_table(cells)
            found = reference_differences(table, spec.reference, methods, datasets, spec.main_metrics(), spec.baselines)
            plans = power_plans(*found)
        if not plans:
            raise RunError(f"{self.folder}: a plan needs a pilot: finished runs of two seeds or more, and two people")
        each = cost_table(cells).group_by("dataset", "method").agg(pl.col("seconds").mean())
        return plans, float(each["seconds"].sum()) * max(spec.folds, 1)

    def cells(self) -> tuple[list[Cell], set[Pair]]:
        """Every run as far as it is known by now, and whose settings wait for tuning."""
        cells, untuned, _ = self._tuned((), lambda batch, cells: None)
        if self.spec.growth and not untuned and (kept := kept_decision(self.folder, self.spec.growth, cells)):
            return replace(
                self,
                spec=self.spec.grown(kept.seeds),
            )._tuned((), lambda batch, cells: None)[0], untuned
        return cells, untuned

    def _tuned(
        self, wanted: Collection[Pair], run: Callable[[str, Sequence[Cell]], object]
    ) -> tuple[list[Cell], set[Pair], list[dict[str, Any]]]:
        """Every run with what tuning chose, whose tuning is not over, and what was tried."""
        chosen, tried = tune(self.spec, wanted, self.folder, run, self.inputs)
        return (
            comparison_cells(self.spec, self.folder, chosen, self.inputs),
            set(studies(self.spec)) - set(chosen),
            tried,
        )

    def _conclude(
        self, cells: Sequence[Cell], trials: Sequence[Cell], decision: SeedDecision | None, failed: Collection[Pair]
    ) -> Comparison | None:
        """Tables, verdict and report.

        Args:
            trials: of tuning, which decided on settings.
            failed: data set and method of which a run came to nothing: no mean is made of the seeds that did better.
        """
        sound = [cell for cell in cells if (cell.dataset, cell.method) not in failed]
        write_parquet(self.folder / "costs.parquet", cost_table(cells))
        said = self._judged(sound, failed, decision.deciding if decision else 0)
        if said is None:
            return None
        told = (*self._seed_words(decision), *unlevelled(sound), *_versions([*cells, *trials]))
        said = replace(said, words=(*said.words, *told))
        write_comparison(self.folder, said)
        write_comparison_report(self.folder)
        return said

    def _judged(self, sound: Sequence[Cell], failed: Collection[Pair], pilot: int) -> Comparison | None:
        """The verdict on all rows, which are written and not held: there may be millions."""
        table, spec = write_results(self.folder / "results.parquet", sound), self.spec
        if table.select(pl.len()).collect().item() == 0:
            return None
        return judge_methods(
            table,
            spec.name,
            spec.reference,
            list(spec.methods),
            list(spec.datasets),
            spec.seeds,
            failed,
            spec.main_metrics(),
            spec.baselines,
            pilot,
        )

    def _seed_words(self, decision: SeedDecision | None) -> tuple[str, ...]:
        plan = self.spec.growth
        if plan is None:
            return ()
        if decision is None:
            return (f"How many seeds there will be is not decided yet: it takes all runs of the first {plan.first}.",)
        return seed_words(decision, plan.find)

    def _prepare(self) -> None:
        if any((self.folder / name).exists() for name in ("config.json", "suite.json")):
            raise RunError(f"{self.folder} holds a run; choose another folder")
        try:
            (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make {self.folder}: {error.strerror or error}") from None

    def _write_spec(self, cells: Sequence[Cell], failures: Sequence[CellResult]) -> None:
        errors = {failure.cell.path: failure.error for failure in failures}
        entries = [
            {
                "dataset": cell.dataset,
                "method": cell.method,
                "seed": cell.seed,
                "key": cell.key,
                "inputs": dict(cell.inputs or {}),
                "config": resolved(cell.config),
                "failure": errors.get(cell.path, ""),
            }
            for cell in cells
        ]
        spec = self.spec
        names: dict[str, Any] = {"name": spec.name, "reference": spec.reference, "seeds": spec.seeds}
        names |= {"datasets": list(spec.datasets), "methods": list(spec.methods)}
        write_sealed(self.folder / "spec.json", names | {"cells": entries})


def _versions(cells: Sequence[Cell]) -> list[str]:
    """A sentence where finished runs, trials of tuning among them, were made by different versions of this program."""
    made = [cell.path / "environment.json" for cell in cells if cell.finished]
    versions = sorted({version_of(read_sealed(path)) for path in made if path.exists()})
    return [f"Runs were made by different versions: {', '.join(versions)}."] if len(versions) > 1 else []
