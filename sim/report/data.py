"""The section about data: a run's data.json as a list of facts, once for all runs on the same data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from metapulse.server.files import read_sealed
from metapulse.sim.data_facts import FILE, lines
from metapulse.sim.report.runs import RunData
from metapulse.sim.report.tables import table


def data(runs: Sequence[RunData]) -> str:
    """One table for each kind of data; "" where no folder says anything.

    Raises:
        RunError: a file of facts is damaged.
    """
    found: dict[str, list[str]] = {}
    for run in runs:
        if not (run.path / FILE).exists():
            continue
        rows = [[escape(name), escape(text)] for name, text in lines(read_sealed(run.path / FILE))]
        found.setdefault(json.dumps(rows), []).append(run.label)
    tables = []
    for said, labels in found.items():
        heading = f"<p>{escape(', '.join(labels))}</p>" if len(found) > 1 else ""
        tables.append(heading + table(["", ""], json.loads(said)))
    return "".join(tables)
