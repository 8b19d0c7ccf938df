"""A comparison's training runs, each addressed by what decides its numbers, so that nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from client.errors import ConfigError
from server.config import Config
from sim.lab.spec import Spec

LENGTH = 16  # hexadecimal digits of a key


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        dataset: name of the data set.
        method: name of the method.
        seed: of training.
        config: what to do.
        trial: number of the settings where it is a trial of tuning.
    """

    dataset: str
    method: str
    seed: int
    config: Config
    trial: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.dataset}/{self.method}/" + (str(self.seed) if self.trial is None else f"trial {self.trial}")

    @cached_property
    def key(self) -> str:
        """The address: the beginning of the configuration's digest."""
        return self.config.digest()[:LENGTH]

    def path(self, folder: Path) -> Path:
        """Where the run is, in the comparison's folder."""
        return folder / "cells" / self.key

    def finished(self, folder: Path) -> bool:
        """Whether it need not be done any more."""
        return (self.path(folder) / "summary.json").exists()


def expand(spec: Spec, chosen: Mapping[tuple[str, str], Mapping[str, Any]] | None = None) -> list[Cell]:
    """Every run of a comparison, data set by data set, method by method, seed by seed.

    Args:
        spec: what is compared.
        chosen: (data set, method) → change that tuning chose.
    """
    return [
        Cell(dataset, method, seed, spec.config(dataset, method, seed, (chosen or {}).get((dataset, method))))
        for dataset, method in spec.pairs
        for seed in spec.seeds
    ]


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
