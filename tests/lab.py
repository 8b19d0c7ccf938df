"""A comparison of milliseconds: two methods on two sets of sine curves, two seeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metapulse.sim.cells import Cell
from metapulse.sim.lab.costs import RunCost
from metapulse.sim.lab.spec import ComparisonSpec, read_spec
from metapulse.sim.progress import Display

SPEC = """
[compare]
name = "tiny"
seeds = [0, 1]
reference = "fedavg_ft"
[base]
run = { rounds = 4 }
transform = { name = "none" }
model = { name = "sine", hidden = [4] }
strategy = { name = "fedavg", cohort = 3 }
episodes = { split = "samples" }
split = { validation = 0.2, test = 0.3 }
evaluation = { split = "samples", steps = [0, 2], shots = [5], episodes = 1, validation_every = 2 }
[datasets.few]
source = { name = "sine", clients = 10 }
[datasets.many]
source = { name = "sine", clients = 20 }
[methods.fedavg_ft]
learner = { name = "fedavg_ft", inner_lr = 0.02 }
[methods.maml]
learner = { name = "maml", inner_lr = 0.02 }
strategy = { name = "fedmaml", cohort = 3 }
on.many = { learner = { inner_lr = 0.05 } }
"""


def spec(folder: Path, text: str = SPEC) -> ComparisonSpec:
    """The specification of a text."""
    (folder / "spec.toml").write_text(text)
    return read_spec(folder / "spec.toml")


@contextmanager
def tables_only() -> Iterator[None]:
    """Comparisons end with their table: costs are nothing, and no page is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metapulse.sim.lab.table.run_cost", lambda path: RunCost(0.0, 0.0, 0.0, 0.0, 0, 0.0))
        patch.setattr("metapulse.sim.comparison_runner.write_comparison_report", lambda folder: folder / "report.html")
        yield


class Ear(Display):
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.rounds: list[tuple[str, int]] = []
        self.ended: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []

    def begin(self, cell: Cell) -> None:
        self.begun.append(cell.name)

    def round(self, cell: Cell, round: int, clients: int = 0, spent: Any = None) -> None:
        self.rounds.append((cell.name, round))

    def note(self, cell: Cell, text: str) -> None:
        self.notes.append((cell.name, text))

    def end(self, cell: Cell, error: str) -> None:
        self.ended.append((cell.name, error))
