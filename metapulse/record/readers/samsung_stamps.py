"""Samsung Health's tables and their columns by name, the stamps in them, and when a row is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from metapulse.record.clock import DAY, epoch, offset_minutes
from metapulse.record.readers.base import Context
from metapulse.record.readers.columns import note_unread
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.text import csv_rows, is_empty, number
from metapulse.record.schema import Row

STAMPS = ("start_time", "end_time", "day_time")
#: Columns that tell of a row, not of the person: when and by what it was written, and what it is called there.
OF_THE_ROW = frozenset((
    *STAMPS, "time_offset", "create_time", "update_time", "create_sh_ver", "modify_sh_ver", "data_version",
    "client_data_id", "client_data_ver", "datauuid", "deviceuuid", "pkg_name", "source_pkg_name",
    "source_package_name", "source", "source_info", "source_type", "sleep_id", "combined_id", "comment",
))  # fmt: skip
_PREFIX = re.compile(r"com\.samsung\.s?health\.(?:[a-z0-9_]+\.)*")
_KIND = re.compile(r"com\.samsung\.s?health\.(?:tracker\.)?([\w.]+)")
_YEAR_FIRST = re.compile(r"\d{4}-|-?\d+$")


class Line(NamedTuple):
    """A line of a table: its number, the data type, the names of the columns, the cells; [] of a line above those."""

    number: int
    kind: str
    header: list[str]
    cells: list[str]


def table_lines(context: Context, count: bool = True, as_written: bool = False) -> Iterator[Line]:
    """Every line of a file. Where two exports were joined, a line is of the type and header that stand next above it.

    Args:
        context: of the file.
        count: count rows as seen.
        as_written: as in ``csv_rows``.
    """
    kind, header = "", list[str]()
    for number_of_line, cells in csv_rows(context, count=count, as_written=as_written):
        if (title := _KIND.fullmatch(cells[0].lstrip("\ufeff"))) and len(cells) > 1 and cells[1].isdecimal():
            kind, header = title[1], []
        elif not kind:  # a first line that is torn
            kind = "unknown"
        elif not header or (names_columns(cells) and any(_PREFIX.sub("", cell) in STAMPS for cell in cells)):
            header = cells
        else:
            yield Line(number_of_line, kind, header, cells)
            continue
        yield Line(number_of_line, kind, header, [])


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


def note_unread_of(context: Context, header: list[str], read: Collection[str]) -> None:
    """Say which columns are not read, besides those that tell of a row alone; nothing where none is read."""
    names = [_PREFIX.sub("", column) for column in header] if read else []
    note_unread(context, names, {at for at, name in enumerate(names) if name in read or name in OF_THE_ROW})


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
        for line in table_lines(self._context, count=False, as_written=True):
            row = named(line.header, line.cells)
            yield from (text for name in STAMPS if (text := row.get(name)) and not _YEAR_FIRST.match(text))


def dated(context: Context, stamps: Stamps, row: dict[str, str]) -> Row | str:
    """When: a row still without metric and value; or why it is no time."""
    if row.get("day_time") and not row.get("start_time"):
        midnight = stamps.read(row["day_time"])
        if midnight is None:
            return "a stamp that is no time"
        day = context.clock.day(midnight[0] // DAY, midnight[1])
        return Row("", day.start, end=day.end, offset_min=day.offset_min, quality=day.marks)
    start = stamps.read(row.get("start_time", ""))
    if start is None:
        return "a stamp that is no time" if row.get("start_time") else "no stamp"
    end = stamps.read(row.get("end_time", ""))
    offset = _offset(row.get("time_offset", ""))
    offset = context.clock.offset(start[0]) if offset is None else offset
    until = None if end is None or end[0] == start[0] else end[0]
    return Row("", start[0], end=until, offset_min=offset, quality=start[1])


def note_bad_times(context: Context, stamps: Stamps, row: dict[str, str], when: Row) -> None:
    """Say which cells beside the beginning of a row cannot be read; zeros and 1970 stand for none."""
    end, offset = row.get("end_time", ""), row.get("time_offset", "")
    if when.end is None and not (is_empty(end) or end == "0" or end.startswith("1970")) and stamps.read(end) is None:
        context.note("end_time: no time")
    if not is_empty(offset) and _offset(offset) is None:
        context.note("time_offset: no offset")


def _offset(text: str) -> int | None:
    """Minutes of "UTC+0900" or of milliseconds as 32400000."""
    milliseconds = number(text) if re.fullmatch(r"-?\d{4,9}|0", text) else None
    if milliseconds is None:
        return offset_minutes(text) if text else None
    return round(milliseconds / 60_000)
