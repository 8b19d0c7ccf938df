"""Which methods of a comparison had not levelled off, so that more rounds may change their ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.server.folder import RunFolder
from metapulse.sim.cells import Cell
from metapulse.sim.levelling import Trend, run_trend


def unlevelled(cells: Sequence[Cell]) -> Iterator[str]:
    """A sentence for each data set and method of which a run had not levelled off."""
    found: dict[tuple[str, str], list[Trend | None]] = {}
    for cell in cells:
        if cell.finished:
            run = RunFolder(cell.path)
            ended = run_trend(run.events(), run.summary()["scores"], cell.config.evaluation.main_metric)
            found.setdefault((cell.dataset, cell.method), []).append(ended)
    for (dataset, method), ends in found.items():
        moving = [end for end in ends if end is not None and not end.level]
        if moving:
            runs = f"in {len(moving)} of {len(ends)} runs"
            yield f"{method} on {dataset} {moving[0]}, {runs}: more rounds may change this."
