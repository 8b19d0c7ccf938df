"""Our own CSV, for what no vendor exports: time, metric, value and unit; end, code and device if there are such.

Two lines of it::

    time,metric,value,unit,end,code,device
    2024-04-03T08:00:00+02:00,heart_rate,61,/min,,,Acme Band 2
"""

from __future__ import annotations

from collections.abc import Iterator

from metapulse.record.clock import epoch
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_column, csv_table, number
from metapulse.record.schema import NO_DEVICE, Device, Row

NEEDED = {"time", "metric", "value", "unit"}


def sniff(sample: Sample) -> str:
    """The header names the four columns."""
    first = next((line for line in sample.lines if line.strip()), "")
    cells = {cell.strip().strip('"').lower() for cell in first.replace(";", ",").replace("\t", ",").split(",")}
    return "its header has time, metric, value and unit" if cells >= NEEDED else ""


def read(context: Context) -> Iterator[Row]:
    """One record a line."""
    context.date_order(csv_column(context, "time", fold=str.lower), "")
    for line, cells in csv_table(context, *NEEDED, fold=str.lower):
        stamp, until = _stamp(context, cells["time"]), _stamp(context, cells.get("end", ""))
        value = number(cells["value"])
        if stamp is None or (until is None and cells.get("end")):
            context.skip("a stamp that is no time, or whose day and month cannot be told apart (--date-order)")
        elif cells["metric"] not in metrics():
            context.skip(f"no metric of ours: {cells['metric'][:60]}")
        elif value is None and (cells["value"] or not cells.get("code")):
            context.skip("its value is no number")
        else:
            start, offset, marks, end = stamp
            device = Device(model=cells["device"]) if cells.get("device") else NO_DEVICE
            end = end if until is None else until[0]
            yield Row(
                cells["metric"],
                start,
                value,
                cells["unit"] or None,
                line,
                end,
                offset,
                cells.get("code") or None,
                device,
                marks,
            )


def _stamp(context: Context, text: str) -> tuple[int, int | None, tuple[str, ...], int | None] | None:
    if not text:
        return None
    if (instant := epoch(text)) is not None and len(text.strip()) > 8:
        return instant, context.clock.offset(instant), (), None
    year_first = text.strip()[:4].isdigit()
    stamp = context.clock.read(text) if year_first or context.clock.order else None
    return None if stamp is None else (stamp.start, stamp.offset_min, stamp.marks, stamp.end)


READER = Reader("own", "metapulse's own CSV: time, metric, value, unit", sniff, read)
