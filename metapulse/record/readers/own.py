"""Our own CSV, of what no vendor exports, or of a whole record: time, metric, value, unit; others if there are such.

Two lines of it::

    time,metric,value,unit,end,code,device
    2024-04-03T08:00:00+02:00,heart_rate,61,/min,,,Acme Band 2

``metapulse record export --to csv`` writes all of ``COLUMNS``. Marks stand in ``quality`` with blanks between them; a
text that a cell would not keep is in JSON's quotes. Where ``file`` and ``row`` say what a value was read from, that is
its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from metapulse.record.clock import epoch
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.decimals import Signs
from metapulse.record.readers.record import told_marks
from metapulse.record.readers.text import csv_column, csv_table, delimiter_of, lines, number
from metapulse.record.schema import DERIVED, NO_DEVICE, Device, Row
from metapulse.record.verbatim import unquoted

_SHORT_YEAR = re.compile(r"\s*\d{1,2}[-/. ]\d{1,2}[-/. ]\d\d(?!\d)")
_COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])([01]\d|2[0-3])([0-5]\d){1,2}")  # no count of seconds
NEEDED = {"time", "metric", "value", "unit"}
#: A device's parts, in the order of ``Device``, as columns.
PARTS = {
    "manufacturer": "manufacturer",
    "model": "device",
    "hardware": "hardware",
    "firmware": "firmware",
    "unit": "serial",
    "app": "app",
}
COLUMNS = ("time", "metric", "value", "unit", "end", "code", *PARTS.values(), "quality", "raw", "file", "row")


def sniff(sample: Sample) -> str:
    """The header names the four columns."""
    first = next((line for line in sample.lines if line.strip()), "")
    cells = {cell.strip().strip('"').lower() for cell in first.replace(";", ",").replace("\t", ",").split(",")}
    return "its header has time, metric, value and unit" if cells >= NEEDED else ""


def read(context: Context) -> Iterator[Row]:
    """One record a line."""
    context.date_order(csv_column(context, "time", fold=str.lower), "")
    signs = _signs(context)
    for line, cells in csv_table(context, *NEEDED, fold=str.lower, as_written=True):  # ``raw`` is what it was
        stamp, until = _stamp(context, cells["time"]), _stamp(context, cells.get("end", ""))
        value, words = number(signs.plain_cell(cells["value"])), cells.get("quality", "").split()
        marks = told_marks(words)
        if stamp is None or (until is None and cells.get("end")):
            context.skip("a stamp that is no time, or whose day and month cannot be told apart (--date-order)")
        elif cells["metric"] not in metrics():
            context.skip(f"no metric of ours: {cells['metric'][:60]}")
        elif value is None and (cells["value"] or not (cells.get("code") or marks)):
            context.skip("its value is no number")
        else:
            if len(marks) < len(words) and set(words) - {*DERIVED, *marks}:
                context.note("a word in quality that is no mark")
            yield _row(line, cells, stamp, until and until[0], value, marks)


def _signs(context: Context) -> Signs:
    """What commas and points are in the values; the other columns may hold texts of any kind."""
    header = next((text for _, text in lines(context) if text.strip()), "")
    return Signs(lambda: ([cell] for cell in csv_column(context, "value", fold=str.lower)), delimiter_of(header))


Stamped = tuple[int, int | None, tuple[str, ...], int | None]


def _row(
    line: int,
    cells: dict[str, str],
    stamp: Stamped,
    until: int | None,
    value: float | None,
    marks: tuple[str, ...],
) -> Row:
    """The row of a line, with the source that it tells."""

    def text(name: str) -> str | None:
        return unquoted(cells[name]) if cells.get(name) else None

    start, offset, of_stamp, end = stamp
    device = Device(*map(text, PARTS.values()))
    row = Row(
        cells["metric"],
        start,
        value,
        text("unit"),
        line,
        end if until is None else until,
        offset,
        text("code"),
        NO_DEVICE if device == Device() else device,
        (*of_stamp, *marks),
        text("raw"),
    )
    file, at = text("file"), cells.get("row", "")
    if file is None or not at.isdecimal() or len(at) > 18:
        return row
    return row._replace(origin=(file, int(at)))


def _stamp(context: Context, text: str) -> Stamped | None:
    if not text:
        return None
    if not _COMPACT.fullmatch(text.strip()) and (instant := epoch(text)) is not None and len(text.strip()) > 8:
        return instant, context.clock.offset(instant), (), None
    if _SHORT_YEAR.match(text) and not context.options.date_order:  # 24-04-03 may be of 2024 or of 2003
        return None
    year_first = text.strip()[:4].isdigit()
    stamp = context.clock.read(text) if year_first or context.clock.order else None
    return None if stamp is None else (stamp.start, stamp.offset_min, stamp.marks, stamp.end)


READER = Reader("own", "metapulse's own CSV: time, metric, value, unit", sniff, read)
