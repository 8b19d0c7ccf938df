"""Garmin Health: sleep summaries as CSV, a night a line, in ms. The duration is of sleep; time awake is apart.

A night that is tentative comes again when it is final; the former is ``superseded``.
"""

from __future__ import annotations

from collections.abc import Iterator

from metapulse.record.clock import epoch
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_table, is_empty, number, number_noted
from metapulse.record.schema import Device, Row

GARMIN = Device("Garmin", app="Garmin Connect")
NEEDED = ("sleepsummaryid", "unixtimestampinms", "durationinms")
#: Column → metric.
PARTS = {
    "durationinms": "sleep_duration",
    "deepsleepdurationinms": "sleep_deep",
    "lightsleepdurationinms": "sleep_light",
    "remsleepdurationinms": "sleep_rem",
    "awakedurationinms": "sleep_awake",
}
AWAKE, UNMEASURED = "awakedurationinms", "unmeasurablesleepdurationinms"  # in the night, and not in its duration
LONGEST = 2 * 86_400_000  # ms


def sniff(sample: Sample) -> str:
    """By the header."""
    header = {cell.strip().strip('"').lower() for cell in (sample.lines or [""])[0].split(",")}
    return "its header is that of Garmin's sleep summaries" if header >= set(NEEDED) else ""


def read(context: Context) -> Iterator[Row]:
    """Every night."""
    final = {
        cells.get("calendardate")
        for _, cells in csv_table(context, *NEEDED, fold=str.lower, count=False)
        if "FINAL" in cells.get("validation", "")
    }
    for line, cells in csv_table(context, *NEEDED, fold=str.lower):
        start, length = epoch(cells["unixtimestampinms"]), number(cells["durationinms"])
        apart = _apart(context, cells)
        if start is None or length is None or not 0 <= length + (apart or 0) <= LONGEST:
            context.skip("a stamp that is no time, or no length")
            continue
        shift = number(cells.get("timezoneoffsetinms"))
        fits = shift is not None and abs(shift) <= 14 * 3_600_000
        again = "FINAL" not in cells.get("validation", "") and cells.get("calendardate") in final
        if apart is None:
            context.note("a night whose end is not known")
        end = None if apart is None else start + round(length + apart) * 1000
        night = Row("", start, None, "ms", line, end, device=GARMIN)
        night = night._replace(
            offset_min=round(shift / 60_000) if shift is not None and fits else context.clock.offset(start),
            quality=("superseded",) if again else (),
        )
        for name, metric in PARTS.items():
            if (value := number_noted(context, cells, name)) is not None:
                yield night._replace(metric=metric, value=value)
        score = number_noted(context, cells, "overallsleepscore")
        if score is not None and score > 0:
            yield night._replace(metric="sleep_score", value=score, unit=None)


def _apart(context: Context, cells: dict[str, str]) -> float | None:
    """Milliseconds of a night beside its sleep; None where they are not told. What is not measured may be left out."""
    awake, unmeasured = number(cells.get(AWAKE)), number_noted(context, cells, UNMEASURED)
    if awake is None or (unmeasured is None and not is_empty(cells.get(UNMEASURED))):
        return None
    return awake + (unmeasured or 0)


READER = Reader("garmin_csv", "Garmin Health: CSV of sleep summaries", sniff, read)
