"""Our own CSV: every column of a record, so that nothing is lost (docs/record.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from metapulse.record.readers.own import COLUMNS
from metapulse.record.schema import Row
from metapulse.record.verbatim import quoted
from metapulse.record.writers.base import Stored, Writer, plain_number, stamp


def write(record: Stored, lines: bool) -> Iterator[str]:
    """The header, and a line a row."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(COLUMNS)
    for row in record:
        out.writerow(_cells(row))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()  # the header of a record without rows


def _cells(row: Row) -> tuple[object, ...]:
    return (
        stamp(row.start, row.offset_min),
        row.metric,
        None if row.value is None else plain_number(row.value),
        quoted(row.unit or ""),
        None if row.end is None else stamp(row.end, row.offset_min),
        None if row.code is None else quoted(row.code),
        *(None if part is None else quoted(part) for part in row.device),
        " ".join(row.quality),
        None if row.raw is None else quoted(row.raw),
        quoted(row.file or ""),
        row.row,
    )


WRITER = Writer("csv", "metapulse's own CSV", write, (".csv",))
