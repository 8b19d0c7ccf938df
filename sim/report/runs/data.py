"""The section about data: a run's data.json as a list of facts, once for all runs on the same data."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.server.files import read_sealed
from metapulse.sim.data_facts import FILE, lines
from metapulse.sim.report.document import joined, parts
from metapulse.sim.report.runs.run_data import RunData
from metapulse.sim.report.table import TableCell, html_table


def data_tables(runs: Sequence[RunData]) -> str:
    """One table for each kind of data; "" where no folder says anything.

    Raises:
        RunError: a file of facts is damaged.
    """
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if (run.path / FILE).exists():
            facts = tuple((name, text) for name, text in lines(read_sealed(run.path / FILE)))
            found.setdefault(facts, []).append(run.label)
    content = []
    for rows, labels in found.items():
        content += [
            parts.lines([(None, ", ".join(labels))] if len(found) > 1 else []),
            html_table(["", ""], [[name, TableCell(text, kind="wide")] for name, text in rows]),
        ]
    return joined(*content)
