"""A comparison from its specification to its tables, in one folder that another program can read.

spec.json         names, seeds and reference; every cell with its address, its resolved configuration, and why it failed
cells/KEY/        a training run's folder, as ``server.folder`` describes it
results.parquet   every number of every finished cell (``sim.lab.table``)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from client.errors import RunError
from server.config import resolved
from server.files import write_json
from sim.lab.cells import Cell, apart, expand, select
from sim.lab.live import Bars, Lines
from sim.lab.perform import Failure, perform
from sim.lab.spec import Spec
from sim.lab.table import results, write_table

#: Makes the display of some cells: those to do, how many are finished, how many run at once.
Display = Callable[[Sequence[Cell], int, int], Bars | Lines]


def conduct(spec: Spec, folder: Path, workers: int, only: Sequence[str], display: Display) -> list[Failure]:
    """Do what is left of a comparison and write its tables; the cells that could not be finished.

    Args:
        spec: what is compared.
        folder: of the comparison; new, or one that this or another specification has been run in.
        workers: cells at once; 0 and 1: in this process.
        only: patterns of DATASET/METHOD/SEED, for a part of the cells; the tables hold all that are finished.
        display: shows how it goes.

    Raises:
        ConfigError: a pattern that fits nothing.
        RunError: the folder cannot be written, or holds something else.
    """
    cells = expand(spec)
    chosen = select(cells, only)
    _prepare(folder)
    _write(spec, cells, [], folder)
    failures = _perform(chosen, folder, workers, display)
    _write(spec, cells, failures, folder)
    write_table(folder / "results.parquet", results(cells, folder))
    return failures


def _perform(cells: Sequence[Cell], folder: Path, workers: int, display: Display) -> list[Failure]:
    todo = [cell for cell in apart(cells) if not cell.finished(folder)]
    view = display(todo, len(apart(cells)) - len(todo), max(1, workers))
    try:
        return perform(todo, folder, workers, view)
    finally:
        view.close()


def _prepare(folder: Path) -> None:
    if any((folder / name).exists() for name in ("config.json", "suite.json")):
        raise RunError(f"{folder} holds a run; choose another folder")
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder}: {error.strerror or error}") from None


def _write(spec: Spec, cells: Sequence[Cell], failures: Sequence[Failure], folder: Path) -> None:
    errors = {failure.cell.key: failure.error for failure in failures}
    entries = [
        {
            "dataset": cell.dataset,
            "method": cell.method,
            "seed": cell.seed,
            "key": cell.key,
            "config": resolved(cell.config),
            "failure": errors.get(cell.key, ""),
        }
        for cell in cells
    ]
    names = {"name": spec.name, "reference": spec.reference, "seeds": spec.seeds}
    names |= {"datasets": list(spec.datasets), "methods": list(spec.methods)}
    write_json(folder / "spec.json", names | {"cells": entries})
