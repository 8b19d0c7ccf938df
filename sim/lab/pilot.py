"""The pilot of a comparison in its folder: what it decides about the number of seeds is decided once, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metapulse.server.files import read_sealed, write_sealed
from metapulse.server.folder import RunFolder
from metapulse.sim.cells import Cell
from metapulse.sim.lab.compare import reference_differences
from metapulse.sim.lab.seeds import SeedDecision, SeedPlan, affordable_seeds, decide
from metapulse.sim.lab.spec import ComparisonSpec
from metapulse.sim.lab.table import result_table

KEPT = "seeds.json"


def kept_decision(folder: Path, plan: SeedPlan, cells: Sequence[Cell]) -> SeedDecision | None:
    """What an earlier command decided from the same pilot under the same plan; None: nothing.

    The time that runs took is part of a decision, so it is not made anew: another machine would come to other seeds.

    Args:
        cells: runs of the pilot.
    """
    path = folder / KEPT
    if not path.exists():
        return None
    held = read_sealed(path)
    if held["from"] != _basis(plan, cells):
        return None
    told = held["decision"]
    beyond = tuple((dataset, scenario, shots) for dataset, scenario, shots in told["beyond"])
    return SeedDecision(**{**told, "beyond": beyond})


def pilot_decision(
    folder: Path, spec: ComparisonSpec, plan: SeedPlan, cells: Sequence[Cell], workers: int
) -> SeedDecision:
    """How many seeds there are to be, by the runs of the pilot; written beside them.

    Args:
        folder: of the comparison.
        spec: with the seeds of the pilot.
        plan: what is asked for.
        cells: runs of the pilot, each finished or failed.
        workers: runs at once.
    """
    failed = {(cell.dataset, cell.method) for cell in cells if cell.failure or not cell.finished}
    sound = [cell for cell in cells if (cell.dataset, cell.method) not in failed]
    found = reference_differences(
        result_table(sound),
        spec.reference,
        list(spec.methods),
        list(spec.datasets),
        spec.main_metrics(),
        spec.baselines,
    )
    spent = sum(_seconds(cell) for cell in cells if cell.finished)
    decision = decide(plan, *found, affordable_seeds(plan, spent, max(workers, 1)))
    write_sealed(folder / KEPT, {"from": _basis(plan, cells), "decision": asdict(decision)})
    return decision


def _basis(plan: SeedPlan, cells: Sequence[Cell]) -> dict[str, Any]:
    return {"plan": asdict(plan), "cells": sorted({cell.key for cell in cells})}


def _seconds(cell: Cell) -> float:
    """That a run's rounds and looks at people took."""
    return sum(float(event.get("seconds", 0.0)) for event in RunFolder(cell.path).events())
