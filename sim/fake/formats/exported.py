"""Formats that ``metapulse record export`` writes: all of a row goes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from metapulse.record.metrics import metrics
from metapulse.record.schema import Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.record.writers import export_record

METRICS = frozenset(metrics())


def says(row: Row) -> Row | None:
    """The row as it is."""
    return row


def exported_text(rows: Sequence[Row], to: str, name: str) -> str:
    """What the exporter writes of a record of these rows.

    Args:
        rows: in order of time.
        to: a name of ``metapulse.record.writers.WRITERS``.
        name: of the file; its ending says whether it is one document or an object a line.
    """
    with TemporaryDirectory(prefix="metapulse-") as folder:
        record, out = Path(folder) / "person.parquet", Path(folder) / name
        numbered = [row._replace(row=number) for number, row in enumerate(rows)]
        write_rows(numbered, record, replace(FileTally("fake"), format="own", why="it is made up"))
        export_record(record, out, to)
        return out.read_text(encoding="utf-8")
