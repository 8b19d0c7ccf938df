"""Whether the clocks of a person's devices agree, from what two of them saw at one time.

Heart rate, steps, glucose and sleep are compared window by window (align.py). Windows whose peak chance does not
explain are joined to pieces of one shift and one drift, so that a change within the record is found. A device that
shares too little with another gives "cannot tell", not a shift of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from metapulse.record.align import DAY_S, Likeness, ShiftWindow, TimeSeries, change_point, shift_windows
from metapulse.record.frame import DOUBTFUL, REPEATS, without
from metapulse.record.nights import ASLEEP
from metapulse.record.overlap import with_source
from metapulse.rows import Rows

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

#: What is compared, and how.
KINDS = {
    "heart_rate": Likeness(),
    "steps": Likeness(),
    "glucose": Likeness(slow_s=3 * 3600, step_s=300, least=100, tolerance_s=600),
    "sleep": Likeness(slow_s=6 * 3600, step_s=300, least=1000, days=14, around=365, tolerance_s=900),
}
WINDOW_P, PIECE_P = 1e-3, 1e-4  # under which a window counts, and all of a piece together
SLEEP_STEP_S = 300
LONGEST_S = 3600  # an interval that is longer is no sample
WORTH_S = 20.0  # a drift that moves less over its piece is none


@dataclass(frozen=True)
class ClockPiece:
    """A time in which one clock is off by one shift and one drift.

    Args:
        first: seconds since 1970, by the clock of the reference.
        last: seconds since 1970.
        shift_s: by which the other device's stamps are late, at ``first``.
        drift_s: seconds a day by which that grows.
        error_s: standard error of the shift.
        p: of such likeness by habit or chance, of its windows together (R. A. Fisher, 1925).
        windows: how many speak for it.
        tolerance_s: of ``Likeness``, or a quarter of the time between samples if that is more.
    """

    first: float
    last: float
    shift_s: float
    drift_s: float
    error_s: float
    p: float
    windows: int
    tolerance_s: float

    @property
    def agrees(self) -> bool:
        """Whether the clocks run alike and are together within ``tolerance_s``."""
        return self.drift_s == 0 and abs(self.shift_s) <= max(self.tolerance_s, 3 * self.error_s)


@dataclass(frozen=True)
class ClocksCompared:
    """Two sources, by one kind of data; no pieces: cannot tell.

    Args:
        metric: what both saw.
        reference: the source whose clock is taken as right.
        other: the source whose shift is told.
        pieces: in order of time.
    """

    metric: str
    reference: str
    other: str
    pieces: tuple[ClockPiece, ...]


def check_clocks(rows: Frame) -> list[ClocksCompared]:
    """Every two sources of a record, by every kind of data that both have.

    Args:
        rows: of a record.
    """
    found = []
    for metric, likeness in KINDS.items():
        series = series_of(rows, metric)
        enough = [name for name, s in series.items() if len(s.time) >= likeness.least]
        for reference, other in combinations(sorted(enough, key=lambda n: (-len(series[n].time), n)), 2):
            pieces = clock_pieces(series[reference], series[other], likeness)
            found.append(ClocksCompared(metric, reference, other, pieces))
    return found


def clock_pieces(a: TimeSeries, b: TimeSeries, likeness: Likeness) -> tuple[ClockPiece, ...]:
    """The pieces in which ``b`` is off against ``a``; none: too little in common, or nothing that chance does not do.

    Args:
        a: the reference.
        b: the other device.
        likeness: how they are compared.
    """
    found = [w for w in shift_windows(a, b, likeness) if w.p < WINDOW_P]
    parts = [part for part in _divided(found, likeness.tolerance_s) if _together(part) < PIECE_P]
    if not parts:
        return ()
    tolerance = max(likeness.tolerance_s, found[0].step / 4)
    edges = [parts[0][0].first]
    for before, after in pairwise(parts):
        at, start = before[-1], after[0]
        edges.append(change_point(a, b, likeness, at.shift, start.shift, at.first, start.last))
    edges.append(parts[-1][-1].last)
    return tuple(_piece(part, *bounds, tolerance) for part, bounds in zip(parts, pairwise(edges), strict=True))


def _divided(found: Sequence[ShiftWindow], tolerance: float) -> list[list[ShiftWindow]]:
    """Windows in order, divided where the shift jumps by more than their scatter explains."""
    jumps = np.abs(np.diff([w.shift for w in found]))
    scatter = 1.4826 * float(np.median(jumps)) / np.sqrt(2) if len(jumps) > 1 else 0.0
    limit = max(tolerance, 6 * scatter)
    parts = [[window] for window in found[:1]]
    for window, jump in zip(found[1:], jumps, strict=True):
        if jump > limit:
            parts.append([])
        parts[-1].append(window)
    return parts


def _together(part: Sequence[ShiftWindow]) -> float:
    """One p-value of several."""
    from scipy.special import gammaincc  # the upper tail of χ² with two degrees of freedom for each window

    return float(gammaincc(len(part), -sum(np.log(max(w.p, 1e-300)) for w in part)))


def _piece(part: Sequence[ShiftWindow], first: float, last: float, tolerance: float) -> ClockPiece:
    """One shift, and a drift where it is certain and worth one."""
    from scipy.special import stdtr

    time = np.array([(w.time - first) / DAY_S for w in part])
    shift = np.array([w.shift for w in part])
    if len(part) >= 4:
        (drift, start), covariance = np.polyfit(time, shift, 1, cov=True)
        error = np.sqrt(np.diag(covariance))
        by_chance = 2 * stdtr(len(part) - 2, -abs(drift) / error[0])  # Student's t
        if by_chance < PIECE_P and abs(drift) * (last - first) / DAY_S > WORTH_S:
            told = (float(start), float(drift), float(error[1]))
            return ClockPiece(first, last, *told, _together(part), len(part), tolerance)
    middle = float(np.median(shift))
    spread = 1.4826 * float(np.median(np.abs(shift - middle))) / float(np.sqrt(len(part)))
    return ClockPiece(first, last, middle, 0.0, max(spread, 1.0), _together(part), len(part), tolerance)


def series_of(rows: Frame, metric: str) -> dict[str, TimeSeries]:
    """What each source saw of one kind: samples at their time, intervals at their middle; sleep as 0 and 1.

    Args:
        rows: of a record.
        metric: one of ``KINDS``.
    """
    import polars as pl

    names = ("sleep_stage", "sleep_duration") if metric == "sleep" else (metric,)
    left = with_source(without(rows.filter(pl.col("metric").is_in(names)), (*REPEATS, *DOUBTFUL)))
    left = left.filter(~pl.col("whole_day")).with_columns(
        first=pl.col("start").dt.epoch("us") / 1e6,
        last=pl.coalesce("end", "start").dt.epoch("us") / 1e6,
    )
    if metric == "sleep":
        return {name: _sleep(part) for (name,), part in left.group_by("by", maintain_order=True)}
    left = left.filter(pl.col("code").is_null() & pl.col("value").is_not_null())
    left = left.filter(pl.col("last") - pl.col("first") <= LONGEST_S)
    value = pl.col("value").log1p() if metric == "steps" else pl.col("value")
    table = left.select("by", time=(pl.col("first") + pl.col("last")) / 2, value=value).sort("time")
    return {
        name: TimeSeries(part["time"].to_numpy(), part["value"].to_numpy())
        for (name,), part in table.group_by("by", maintain_order=True)
    }


def _sleep(rows: Frame) -> TimeSeries:
    """1 asleep, 0 not, every five minutes from the first interval to the last; of stages where there are any."""
    import polars as pl

    stages = rows.filter(pl.col("metric") == "sleep_stage")
    rows = stages.filter(pl.col("code").is_in(ASLEEP)) if len(stages) else rows
    first, last = (rows[name].to_numpy() for name in ("first", "last"))
    if not len(rows):
        return TimeSeries(first, last)
    start = np.floor(first.min() / SLEEP_STEP_S) * SLEEP_STEP_S
    count = int((last.max() - start) // SLEEP_STEP_S) + 1
    steps = np.zeros(count + 1)
    for time, sign in ((first, 1), (last, -1)):
        np.add.at(steps, np.clip(np.round((time - start) / SLEEP_STEP_S).astype(int), 0, count), sign)
    return TimeSeries(start + SLEEP_STEP_S * (np.arange(count) + 0.5), (np.cumsum(steps)[:-1] > 0).astype(float))


def clock_table(found: Sequence[ClocksCompared]) -> Rows:
    """For people: a row for each piece; what cannot be told is a row too."""
    keys = ("metric", "reference", "other", "from", "to", "late by s", "± s", "drift s/day", "p", "verdict")
    rows = []
    for one in found:
        head = {"metric": one.metric, "reference": one.reference, "other": one.other}
        if not one.pieces:
            rows.append(head | dict.fromkeys(keys[3:-1], "") | {"verdict": "cannot tell"})
        for piece in one.pieces:
            told = [_minute(piece.first), _minute(piece.last), f"{piece.shift_s:.0f}", f"{piece.error_s:.0f}"]
            told += [f"{piece.drift_s:.2f}", f"{piece.p:.0e}", "agree" if piece.agrees else "off"]
            rows.append(head | dict(zip(keys[3:], told, strict=True)))
    return Rows(rows, keys)


def _minute(time: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)).strftime("%Y-%m-%d %H:%M")
