"""The section about data: a run's data.json as a list of facts, once for all runs on the same data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from client.errors import RunError
from server.files import read_json
from sim.data_facts import FILE, lines
from sim.report.runs import RunData
from sim.report.tables import table


def data(runs: Sequence[RunData]) -> str:
    """One table for each kind of data; "" where no folder says anything."""
    found: dict[str, list[str]] = {}
    for run in runs:
        try:
            facts = read_json(run.path / FILE)
            rows = [[escape(name), escape(text)] for name, text in lines(facts)]
        except (RunError, KeyError, TypeError, ValueError):
            continue
        found.setdefault(json.dumps(rows), []).append(run.label)
    tables = []
    for said, labels in found.items():
        heading = f"<p>{escape(', '.join(labels))}</p>" if len(found) > 1 else ""
        tables.append(heading + table(["", ""], json.loads(said)))
    return "".join(tables)
