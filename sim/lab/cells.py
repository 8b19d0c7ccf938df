"""A comparison's training runs, each addressed by what decides its numbers, so that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError
from metapulse.server.config import CHOOSING, Config, resolved
from metapulse.server.fingerprint import address, known_inputs
from metapulse.server.folder import RunFolder
from metapulse.server.result import failure
from metapulse.sim.lab.spec import Spec

LENGTH = 16  # hexadecimal digits of a key


class Inputs:
    """Fingerprints of data and code, each looked at once: runs that differ in a seed or a rate share theirs."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, config: Config) -> dict[str, str]:
        """What a run rests on besides its settings.

        Raises:
            ConfigError: the source cannot be made.
        """
        table = resolved(config)
        key = json.dumps({name: table[name] for name in CHOOSING}, sort_keys=True)
        if key not in self._known:
            self._known[key] = known_inputs(config)
        return self._known[key]


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        dataset: name of the data set.
        method: name of the method.
        seed: of training.
        config: what to do.
        trial: number of the settings where it is a trial of tuning.
        inputs: the fingerprint of its data and code.
        fold: whose people are tested, where there are folds.
    """

    dataset: str
    method: str
    seed: int
    config: Config
    trial: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    fold: int = 0

    @property
    def name(self) -> str:
        """For people."""
        fold = f"/{self.fold}" if self.config.split.folds else ""
        last = str(self.seed) if self.trial is None else f"trial {self.trial}"
        return f"{self.dataset}/{self.method}/{last}{fold}"

    @cached_property
    def key(self) -> str:
        """The address: the beginning of the digest of configuration, data and code."""
        return address(self.config, self.inputs)[:LENGTH]

    def path(self, folder: Path) -> Path:
        """Where the run is, in the comparison's folder."""
        return folder / "cells" / self.key

    def failed(self, folder: Path) -> str:
        """Why a finished run is a failure all the same: one line, "" where it is none."""
        summary = RunFolder(self.path(folder)).summary() if self.finished(folder) else {}
        return failure(summary)

    def finished(self, folder: Path) -> bool:
        """Whether it need not be done any more."""
        return (self.path(folder) / "summary.json").exists()


def expand(
    spec: Spec, chosen: Mapping[tuple[str, str], Mapping[str, Any]] | None = None, inputs: Inputs | None = None
) -> list[Cell]:
    """Every run of a comparison, data set by data set, method by method, seed by seed.

    Args:
        spec: what is compared.
        chosen: (data set, method) → change that tuning chose.
        inputs: gives data and code of a configuration; left out: looked at anew.
    """
    known, cells = inputs or Inputs(), []
    for dataset, method in spec.pairs:
        for seed, fold in product(spec.seeds, range(spec.folds or 1)):
            config = spec.config(dataset, method, seed, (chosen or {}).get((dataset, method)), fold)
            cells.append(Cell(dataset, method, seed, config, inputs=known(config), fold=fold))
    return cells


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


def apart(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for each address."""
    return list({cell.key: cell for cell in reversed(list(cells))}.values())[::-1]
