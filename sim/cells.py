"""A training run of a suite or of a comparison, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.result import failure


@dataclass(frozen=True)
class Cell:
    """One training run: a method, on a data set, with a seed.

    Args:
        method: name of the method; of a single run its own.
        dataset: name of the data set; "" in a suite, which has one.
        trial: number of the settings where it is a trial of tuning.
        inputs: the fingerprint of its data and code where its folder is named by them; None where it is not.
        notes: lines that people have to know of its configuration.
    """

    method: str
    config: Config
    path: Path
    dataset: str = ""
    trial: int | None = None
    inputs: Mapping[str, str] | None = None
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """METHOD in a suite, DATASET/METHOD/SEED in a comparison, with /FOLD where there are folds."""
        if not self.dataset:
            return self.method
        fold = f"/{self.fold}" if self.config.split.folds else ""
        last = str(self.seed) if self.trial is None else f"trial {self.trial}/{self.seed}"
        return f"{self.dataset}/{self.method}/{last}{fold}"

    @property
    def seed(self) -> int:
        """Of training."""
        return self.config.run.seed

    @property
    def fold(self) -> int:
        """Whose people are tested, where there are folds."""
        return self.config.split.fold

    @property
    def key(self) -> str:
        """Name of its folder: in a comparison the run's address."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether it has come to its end: it is not run again."""
        return (self.path / "summary.json").exists()

    @property
    def failure(self) -> str:
        """Why a run that has come to its end is a failure all the same; "" where it is none."""
        return failure(RunFolder(self.path).summary()) if self.finished else ""


@dataclass(frozen=True)
class CellResult:
    """How a run ended.

    Args:
        summary: as in summary.json; None where it has none.
        error: one line; "" if it did not fail. A run that came to its end without a result has a summary and an error.
        code: exit code: 0; 2 for an error that names what to change; 1 for a run that came to nothing, for divergence,
            and for an unexpected error.
        fruitless: whether the run itself came to nothing, beside errors of settings, files and machines.
    """

    cell: Cell
    summary: dict[str, Any] | None
    error: str = ""
    code: int = 0
    fruitless: bool = False

    def __str__(self) -> str:
        return f"{self.cell.name}: {self.error}"


def distinct(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for each folder, the first."""
    return list({cell.path: cell for cell in reversed(list(cells))}.values())[::-1]
