"""Move the stamps of a source whose clock was off, and move them back.

A moved row has the mark ``clock_corrected``, and how far it was moved stands before what was in ``raw``:
"clock -14400.000000 s", or "clock again …" where it had the mark before. Start and end move together, so that lengths
stay; days without a time (``date_only``) stay where they are. What is undone is the record that it was, to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.errors import ConfigError, DataError
from metapulse.record.align import DAY_S, TimeSeries
from metapulse.record.clock import US
from metapulse.record.clock_check import KINDS, ClockPiece, ClocksCompared, clock_pieces, series_of
from metapulse.record.frame import load_record, without
from metapulse.record.overlap import one_source, with_source
from metapulse.record.rewrite import rewrite_record
from metapulse.record.schema import MAPPED

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

MARK = "clock_corrected"
_MOVED = re.compile(r"clock (?P<again>again )?(?P<by>[+-]\d+\.\d{6}) s(?:; (?P<raw>.*))?", re.DOTALL)


def correct_clock(path: Path, out: Path, source: str) -> tuple[ClocksCompared, int]:
    """Write a record in which the clock of one source is right, as the source that tells most about it has it.

    Args:
        path: the record.
        out: where the corrected one goes.
        source: a part of the source's name, which no other has.

    Returns:
        What was found, and is corrected where it is off; the number of rows that were moved.

    Raises:
        ConfigError: no source, or more than one, is called that; its clock agrees; or the record has mapped rows.
        DataError: no record, or nothing in it tells.
    """
    rows = load_record(path)
    if len(without(rows, (MAPPED,))) < len(rows):
        raise ConfigError("record", str(path), "a record without mapped rows: take them out first (record unmap)")
    found = _told(rows, one_source(rows, source, "correct"))
    if all(piece.agrees for piece in found.pieces):
        raise ConfigError("correct", source, f"a source whose clock is off; this one agrees with {found.reference}")
    pieces = [replace(piece, shift_s=0.0, drift_s=0.0) if piece.agrees else piece for piece in found.pieces]

    count = 0

    def change(table: Frame) -> Frame:
        nonlocal count
        table, moved = _moved(table, found.other, pieces)
        count += moved
        return table

    rewrite_record(path, out, change)
    return found, count


def undo_correction(path: Path, out: Path) -> int:
    """Write the record as it was before any correction of clocks; the number of rows that moved back.

    Raises:
        DataError: no record.
    """
    count = 0

    def back(table: Frame) -> Frame:
        nonlocal count
        table, moved = _back(table)
        count += moved
        return table

    rewrite_record(path, out, back)
    return count


def right_time(time: NDArray[np.float64], pieces: Sequence[ClockPiece]) -> NDArray[np.float64]:
    """Stamps of the clock that is off → the reference's time; both in seconds, (stamps,).

    A stamp belongs to the first piece in which its right time lies, else to the piece that is nearest.

    Args:
        time: stamps.
        pieces: at least one, in order.
    """
    tried = np.stack([_by(time, piece) for piece in pieces])  # (pieces, stamps)
    low, high = (np.array([[getattr(p, name)] for p in pieces]) for name in ("first", "last"))
    distance = np.maximum(0, np.maximum(low - tried, tried - high))
    return np.asarray(np.take_along_axis(tried, np.argmin(distance, axis=0)[None], axis=0)[0])


def _by(time: NDArray[np.float64], piece: ClockPiece) -> NDArray[np.float64]:
    rate = piece.drift_s / DAY_S
    return (time - piece.shift_s + rate * piece.first) / (1 + rate)


def _told(rows: Frame, source: str) -> ClocksCompared:
    """The comparison of most windows, of this source with any other by anything."""
    found = []
    for metric, likeness in KINDS.items():
        series = series_of(rows, metric)
        mine = series.pop(source, TimeSeries(np.empty(0), np.empty(0)))
        for name, other in sorted(series.items()):
            if pieces := clock_pieces(other, mine, likeness):
                found.append(ClocksCompared(metric, name, source, pieces))
    if not found:
        raise DataError(f"{source}: nothing in the record tells whether its clock is right")
    return max(found, key=lambda one: sum(piece.windows for piece in one.pieces))


def _moved(table: Frame, source: str, pieces: Sequence[ClockPiece]) -> tuple[Frame, int]:
    import polars as pl

    named = with_source(table).select("by", "whole_day")
    rows = (named["by"] == source) & ~named["whole_day"]
    start = table["start"].dt.epoch("us").to_numpy()
    by = np.rint((right_time(start / US, pieces) - start / US) * US).astype(np.int64)
    by = np.where(rows.to_numpy(), by, 0)
    said = [
        f"clock {'again ' if MARK in marks else ''}{us / US:+.6f} s" + (f"; {raw}" if raw is not None else "")
        if us
        else raw
        for us, marks, raw in zip(by.tolist(), table["quality"].to_list(), table["raw"].to_list(), strict=True)
    ]
    marked = [
        sorted({*marks, MARK}) if us else marks
        for us, marks in zip(by.tolist(), table["quality"].to_list(), strict=True)
    ]
    columns = {"raw": pl.Series(said, dtype=pl.String), "quality": pl.Series(marked, dtype=pl.List(pl.String))}
    return _shifted(table, by).with_columns(**columns), int((by != 0).sum())


def _back(table: Frame) -> tuple[Frame, int]:
    import polars as pl

    by, raws, marks = [], table["raw"].to_list(), table["quality"].to_list()
    for i, raw in enumerate(raws):
        total = 0
        while MARK in marks[i] and raw is not None and (found := _MOVED.fullmatch(raw)):
            total -= round(float(found["by"]) * US)
            raw = found["raw"]
            if not found["again"]:
                marks[i] = [mark for mark in marks[i] if mark != MARK]
        raws[i] = raw
        by.append(total)
    columns = {"raw": pl.Series(raws, dtype=pl.String), "quality": pl.Series(marks, dtype=pl.List(pl.String))}
    moved = np.array(by, np.int64)
    return _shifted(table, moved).with_columns(**columns), int((moved != 0).sum())


def _shifted(table: Frame, by: NDArray[np.int64]) -> Frame:
    import polars as pl

    move = pl.Series(by).cast(pl.Duration("us"))
    return table.with_columns(table["start"] + move, table["end"] + move)
