"""What a check of the devices' clocks found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from metapulse.record.clock import US, moment
from metapulse.record.clock_check import ClockPiece, ClocksCompared, check_clocks
from metapulse.record.frame import load_record

MOST_ROWS = 1_000_000  # a check holds the whole record in memory, some 300 bytes a row


def clock_sentences(record: Path, rows: int) -> list[str]:
    """A sentence for each stretch of each two devices whose clocks could be compared.

    Args:
        record: "person.parquet".
        rows: that it has.
    """
    if rows > MOST_ROWS:
        return [f"The record has more than {MOST_ROWS:,} rows: ask `metapulse record clocks` whether clocks agree."]
    compared = sorted(check_clocks(load_record(record)), key=lambda one: (one.reference, one.other))
    return [
        sentence
        for pair, found in groupby(compared, key=lambda one: (one.reference, one.other))
        for sentence in _sentences(*pair, list(found))
    ]


def _sentences(reference: str, other: str, found: list[ClocksCompared]) -> Iterator[str]:
    names = f"{other or 'a device without a name'} and {reference or 'a device without a name'}"
    told = [(one.metric.replace("_", " "), piece) for one in found for piece in one.pieces]
    if not told:
        by = ", ".join(one.metric.replace("_", " ") for one in found)
        yield f"{names}: it cannot be told from {by} whether their clocks agree."
    for metric, piece in told:
        yield f"{names}, {_day(piece.first)} to {_day(piece.last)}: {_verdict(piece)} (by {metric}, p {piece.p:.0e})."


def _verdict(piece: ClockPiece) -> str:
    side = "late" if piece.shift_s > 0 else "early"
    late = f"the first is {abs(piece.shift_s):,.0f} ± {max(piece.error_s, 1):.0f} s {side}"
    if piece.agrees:
        return f"their clocks agree; {late}"
    drift = f", and {piece.drift_s:+.1f} s more each day" if piece.drift_s else ""
    return f"their clocks do not agree: {late}{drift}; `metapulse record clocks` can correct one of them"


def _day(seconds: float) -> str:
    return moment(round(seconds * US), False)
