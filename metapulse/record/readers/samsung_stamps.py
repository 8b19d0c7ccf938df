"""Samsung Health's columns by name, and the stamps in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metapulse.record.clock import epoch
from metapulse.record.readers.base import Context
from metapulse.record.readers.text import csv_rows

STAMPS = ("start_time", "end_time", "day_time")
_PREFIX = re.compile(r"com\.samsung\.s?health\.(?:[a-z0-9_]+\.)*")
_YEAR_FIRST = re.compile(r"\d{4}-|-?\d+$")


def named(header: list[str], cells: list[str], context: Context | None = None) -> dict[str, str]:
    """Cells by the names of their columns without the data type; of two with one name, the last that is not empty."""
    row: dict[str, str] = {}
    for column, cell in zip(header, cells, strict=False):
        name = _PREFIX.sub("", column)
        before = row.get(name, "")
        if context and name and cell and before and cell != before:
            context.note("two columns of one name: the last counts")
        row[name] = cell or before
    return row


class Stamps:
    """Reads instants. Excel writes days and months anew: their order is that of the whole column, once one needs it.

    Args:
        context: of the file.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._decided = context, False

    def read(self, text: str) -> tuple[int, tuple[str, ...]] | None:
        """An instant in µs and its marks; None if the text is no time."""
        if (at := epoch(text)) is not None:
            return at, ()
        if text and not self._decided and not _YEAR_FIRST.match(text):
            self._decided = True
            self._context.date_order(self._column(), usual="mdy")
        stamp = self._context.wall.read(text)
        return (stamp.start, tuple(mark for mark in stamp.marks if mark != "date_only")) if stamp else None

    def _column(self) -> Iterator[str]:
        header: list[str] = []
        for at, (_, cells) in enumerate(csv_rows(self._context, count=False, as_written=True)):
            header = header or (cells if at else [])
            row = named(header, cells) if at > 1 else {}
            yield from (text for name in STAMPS if (text := row.get(name)) and not _YEAR_FIRST.match(text))
