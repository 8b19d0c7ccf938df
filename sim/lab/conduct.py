"""A comparison from its specification to its report, in one folder that another program can read.

spec.json          names, seeds, reference; every cell with its address, its resolved configuration, and why it failed
cells/KEY/         a training run's folder, as ``metapulse.server.folder`` describes it; trials of tuning are cells too
tuning.json        what tuning tried, how it scored and what was chosen (``metapulse.sim.lab.tuning``)
results.parquet    every number of every finished cell (``metapulse.sim.lab.table``)
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

from metapulse.errors import RunError
from metapulse.server.config import resolved
from metapulse.server.files import read_sealed, write_sealed
from metapulse.server.folder import version_of
from metapulse.server.lock import alone
from metapulse.sim.engines.cluster import check_workers
from metapulse.sim.lab.cells import Cell, Inputs, apart, expand, select
from metapulse.sim.lab.compare import compare
from metapulse.sim.lab.comparison import Comparison
from metapulse.sim.lab.levels import unlevelled
from metapulse.sim.lab.perform import Failure, View, perform
from metapulse.sim.lab.report import write_report
from metapulse.sim.lab.report.folder import write_comparison
from metapulse.sim.lab.spec import Spec
from metapulse.sim.lab.table import costs, results, write_table
from metapulse.sim.lab.tune import Pair, studies, tune

#: Makes the display of a batch: its name, the cells to do, how many of it are finished, how many run at once.
Display = Callable[[str, Sequence[Cell], int, int], View]


@dataclass(frozen=True)
class Conductor:
    """One comparison in its folder.

    Args:
        spec: what is compared.
        folder: of the comparison; new, or one that this or another specification has been run in.
        workers: cells at once; 0 and 1: in this process.
        display: shows how it goes.
        track: names of trackers that are told of every run, trials of tuning included.
    """

    spec: Spec
    folder: Path
    workers: int
    display: Display
    track: Sequence[str] = ()
    inputs: Inputs = field(default_factory=Inputs)

    def conduct(self, only: Sequence[str] = ()) -> tuple[Comparison | None, list[Failure]]:
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
            return self._conduct(only)

    def _conduct(self, only: Sequence[str]) -> tuple[Comparison | None, list[Failure]]:
        wanted = {(cell.dataset, cell.method) for cell in select(expand(self.spec, inputs=self.inputs), only)}
        failures: list[Failure] = []

        with ExitStack() as started:

            def run(batch: str, cells: Sequence[Cell]) -> None:
                """Settings that only tuning thought of may fail."""
                failures.extend(failure for failure in self._run(batch, cells, started) if not failure.cell.trial)

            everything, untuned, tried = self._tuned(wanted, run)
            write_sealed(self.folder / "tuning.json", {"studies": tried})
            cells = [cell for cell in everything if (cell.dataset, cell.method) not in untuned]
            self._write_spec(cells, [])
            run("", select(cells, only))
        known = {failure.cell.key for failure in failures}
        failures += [
            Failure(cell, why, 1)
            for cell in cells
            if cell.key not in known and (why := cell.failed(self.folder))  # finished before, and not done again
        ]
        self._write_spec(cells, failures)
        return self._conclude(cells), failures

    def cells(self) -> tuple[list[Cell], set[Pair]]:
        """Every run as far as it is known by now, and whose settings wait for tuning."""
        cells, untuned, _ = self._tuned((), lambda batch, cells: None)
        return cells, untuned

    def _tuned(
        self, wanted: Collection[Pair], run: Callable[[str, Sequence[Cell]], object]
    ) -> tuple[list[Cell], set[Pair], list[dict[str, Any]]]:
        """Every run with what tuning chose, whose tuning is not over, and what was tried."""
        chosen, tried = tune(self.spec, wanted, self.folder, run, self.inputs)
        return expand(self.spec, chosen, self.inputs), set(studies(self.spec)) - set(chosen), tried

    def _run(self, batch: str, cells: Sequence[Cell], started: ExitStack) -> list[Failure]:
        different = apart(cells)
        todo = [cell for cell in different if not cell.finished(self.folder)]
        if not todo:
            return []
        view = self.display(batch, todo, len(different) - len(todo), max(1, self.workers))
        try:
            return perform(todo, self.folder, self.workers, view, started, self.track)
        finally:
            view.close()

    def _conclude(self, cells: Sequence[Cell]) -> Comparison | None:
        """Tables, verdict and report."""
        failed = {(cell.dataset, cell.method) for cell in cells if cell.failed(self.folder)}
        sound = [cell for cell in cells if (cell.dataset, cell.method) not in failed]
        table, spec = results(sound, self.folder), self.spec
        write_table(self.folder / "results.parquet", table)
        write_table(self.folder / "costs.parquet", costs(cells, self.folder))
        if table.is_empty():
            return None
        said = compare(table, spec.name, spec.reference, list(spec.methods), list(spec.datasets), spec.seeds, failed)
        said = replace(said, words=(*said.words, *unlevelled(sound, self.folder), *_versions(cells, self.folder)))
        write_comparison(self.folder, said)
        write_report(self.folder)
        return said

    def _prepare(self) -> None:
        if any((self.folder / name).exists() for name in ("config.json", "suite.json")):
            raise RunError(f"{self.folder} holds a run; choose another folder")
        try:
            (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make {self.folder}: {error.strerror or error}") from None

    def _write_spec(self, cells: Sequence[Cell], failures: Sequence[Failure]) -> None:
        errors = {failure.cell.key: failure.error for failure in failures}
        entries = [
            {
                "dataset": cell.dataset,
                "method": cell.method,
                "seed": cell.seed,
                "key": cell.key,
                "inputs": dict(cell.inputs),
                "config": resolved(cell.config),
                "failure": errors.get(cell.key, ""),
            }
            for cell in cells
        ]
        spec = self.spec
        names: dict[str, Any] = {"name": spec.name, "reference": spec.reference, "seeds": spec.seeds}
        names |= {"datasets": list(spec.datasets), "methods": list(spec.methods)}
        write_sealed(self.folder / "spec.json", names | {"cells": entries})


def _versions(cells: Sequence[Cell], folder: Path) -> list[str]:
    """A sentence where finished runs were made by different versions of this program."""
    made = [cell.path(folder) / "environment.json" for cell in cells if cell.finished(folder)]
    versions = sorted({version_of(read_sealed(path)) for path in made if path.exists()})
    return [f"Runs were made by different versions: {', '.join(versions)}."] if len(versions) > 1 else []
