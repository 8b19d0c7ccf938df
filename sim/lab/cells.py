"""A comparison's training runs, each addressed by what decides its numbers, so that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError
from metapulse.server.config import REGISTRIES, Config, resolved
from metapulse.server.fingerprint import address, known_inputs
from metapulse.sim.cells import Cell
from metapulse.sim.lab.spec import ComparisonSpec

LENGTH = 16  # hexadecimal digits of a key


class RunInputs:
    """Fingerprints of data and code, each looked at once: runs that differ in a seed or a rate share theirs."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, config: Config) -> dict[str, str]:
        """What a run rests on besides its settings.

        Raises:
            ConfigError: the source cannot be made.
        """
        table = resolved(config)
        named = {name: table[name] for name in REGISTRIES} | {"metrics": config.evaluation.metrics}
        key = json.dumps(named, sort_keys=True)
        if key not in self._known:
            self._known[key] = known_inputs(config)
        return self._known[key]


def comparison_cells(
    spec: ComparisonSpec,
    folder: Path = Path(),
    chosen: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    inputs: RunInputs | None = None,
) -> list[Cell]:
    """Every run of a comparison, data set by data set, method by method, seed by seed.

    Args:
        chosen: (data set, method) → change that tuning chose.
        inputs: gives data and code of a configuration; left out: looked at anew.
    """
    known, cells = inputs or RunInputs(), []
    for dataset, method in spec.pairs:
        notes = spec.notes(dataset, method)
        for seed, fold in product(spec.seeds, range(spec.folds or 1)):
            config = spec.config(dataset, method, seed, (chosen or {}).get((dataset, method)), fold)
            cells.append(addressed(folder, dataset, method, config, known(config), notes=notes))
    return cells


def addressed(
    folder: Path,
    dataset: str,
    method: str,
    config: Config,
    inputs: Mapping[str, str],
    trial: int | None = None,
    notes: Sequence[str] = (),
) -> Cell:
    """A run in the folder that is named by what decides its numbers: settings, data and code."""
    path = folder / "cells" / address(config, inputs)[:LENGTH]
    return Cell(method, config, path, dataset, trial, inputs, notes)


def select(cells: Sequence[Cell], patterns: Iterable[str]) -> list[Cell]:
    """The cells whose name fits one of the patterns; all of them where there are no patterns.

    Args:
        cells: to choose from.
        patterns: of DATASET/METHOD/SEED, where * stands for anything.

    Raises:
        ConfigError: a pattern that no name fits.
    """
    wanted = list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise ConfigError("--only", pattern, "fits no DATASET/METHOD/SEED of the comparison")
    return [cell for cell in cells if not wanted or any(fnmatchcase(cell.name, pattern) for pattern in wanted)]
