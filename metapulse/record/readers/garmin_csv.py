"""Garmin Health: sleep summaries as CSV, a night a line, in ms. The duration is of sleep; time awake is apart.

A night that is tentative comes again when it is final, and one that a person typed in may be one that the device saw:
both are ``superseded`` where they overlap a final one in time. What is at another time, on whatever date, is sleep of
its own, and so is a night typed in that no device saw.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter

from metapulse.record.clock import epoch
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.garmin_keys import CODE, CODES
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
#: Columns that are read, tell of the row alone, or say the score once more in a word.
KNOWN = {
    *("sleepsummaryid", "calendardate", "isodate", "unixtimestampinms", "timezoneoffsetinms", "validation"),
    *(*PARTS, UNMEASURED, "overallsleepscore", "overallsleepqualifier"),
}
TENTATIVE, MANUAL = "TENTATIVE", "MANUAL"  # in a validation; of AUTO_MANUAL the device measured a part
LONGEST = 2 * 86_400_000  # ms


def sniff(sample: Sample) -> str:
    """By the header."""
    header = {cell.strip().strip('"').lower() for cell in (sample.lines or [""])[0].split(",")}
    return "its header is that of Garmin's sleep summaries" if header >= set(NEEDED) else ""


def read(context: Context) -> Iterator[Row]:
    """Every night."""
    final = _final(context)
    for line, cells in csv_table(context, *NEEDED, fold=str.lower, known=KNOWN):
        start, length = epoch(cells["unixtimestampinms"]), number(cells["durationinms"])
        apart = _apart(context, cells)
        if start is None or length is None or not 0 <= length + (apart or 0) <= LONGEST:
            context.skip("a stamp that is no time, or no length")
            continue
        shift = number_noted(context, cells, "timezoneoffsetinms")
        fits = shift is not None and abs(shift) <= 14 * 3_600_000
        state = cells.get("validation", "").upper()
        marks = ("low_confidence",) if TENTATIVE in state else ("manual",) if state == MANUAL else ()
        again = (TENTATIVE in state or MANUAL in state) and _overlaps(_span(cells), final)
        if apart is None:
            context.note("a night whose end is not known")
        end = None if apart is None else start + round(length + apart) * 1000
        night = Row("", start, None, "ms", line, end, device=GARMIN)
        night = night._replace(
            offset_min=round(shift / 60_000) if shift is not None and fits else context.clock.offset(start),
            quality=(*marks, "superseded") if again else marks,
        )
        for name, metric in PARTS.items():
            if (value := number_noted(context, cells, name)) is not None:
                yield night._replace(metric=metric, value=value)
        score = number_noted(context, cells, "overallsleepscore")
        if score in CODES:
            context.note(f"overallsleepscore: {CODE}")
        elif score:
            yield night._replace(metric="sleep_score", value=score, unit=None)


def _apart(context: Context, cells: dict[str, str]) -> float | None:
    """Milliseconds of a night beside its sleep; None where they are not told. What is not measured may be left out."""
    awake, unmeasured = number(cells.get(AWAKE)), number_noted(context, cells, UNMEASURED)
    if awake is None or (unmeasured is None and not is_empty(cells.get(UNMEASURED))):
        return None
    return awake + (unmeasured or 0)


def _span(cells: dict[str, str]) -> tuple[int, int] | None:
    """Beginning and end of a night in µs, as far as it is told; None where it is no night."""
    start, length = epoch(cells["unixtimestampinms"]), number(cells["durationinms"])
    if start is None or length is None:
        return None
    length += sum(number(cells.get(name)) or 0 for name in (AWAKE, UNMEASURED))
    return (start, start + max(round(length * 1000), 1)) if 0 <= length <= LONGEST else None


def _final(context: Context) -> list[tuple[int, int]]:
    """When there are final nights: spans that do not overlap, in order."""
    table = csv_table(context, *NEEDED, fold=str.lower, count=False)
    spans = (_span(cells) for _, cells in table if "FINAL" in cells.get("validation", ""))
    found: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in spans if span):
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _overlaps(span: tuple[int, int] | None, spans: list[tuple[int, int]]) -> bool:
    """Whether it has a time in common with one of them, which do not overlap and are in order."""
    before = bisect_left(spans, span[1], key=itemgetter(0)) if span else 0  # those that begin before it ends
    return span is not None and before > 0 and spans[before - 1][1] > span[0]


READER = Reader("garmin_csv", "Garmin Health: CSV of sleep summaries", sniff, read)
