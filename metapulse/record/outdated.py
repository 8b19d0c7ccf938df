"""Earlier states of what a vendor scored anew, or a person edited, between two exports.

Two rows are states of one thing where they begin together and are of one metric, device and code, and either

* the vendor has one value of it at a time: of a night, a cycle or a workout (``SCORED``); or
* both have one id of their vendor's, which ``raw`` tells (``identified``); device and code may have been edited too.

The later state is the one that the file itself says was changed later. Where it does not say: one that is not doubted
or typed in, then one that has an end, then that of the later file. No export tells when it was made, so the later file
is the one whose name has the greater numbers, from left to right, as names with dates have. Within files of one name:
what ends later, stands further down, is larger. All of this is said by the rows alone, so that it does not matter in
which order they were read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metapulse.record.columns import NO_TIME, metric_names
from metapulse.record.schema import MAPPED, Device
from metapulse.record.texts import Block

MARK = "outdated"
NIGHTLY = frozenset((
    "activity_score", "heart_rate", "hrv_rmssd", "readiness_score", "respiratory_rate", "resting_heart_rate_lowest",
    "sleep_awake", "sleep_deep", "sleep_duration", "sleep_efficiency", "sleep_latency", "sleep_light", "sleep_rem",
    "sleep_score", "spo2", "time_in_bed",
))  # fmt: skip
#: What the vendor's reader calls its device → metrics that have an interval and are scored as a whole; None: all are.
SCORED: dict[Device, frozenset[str] | None] = {
    Device("Whoop"): None,
    Device("Oura"): NIGHTLY,
    Device("Garmin", app="Garmin Connect"): NIGHTLY,
}
SAMPLED = frozenset(("heart_rate", "hrv_rmssd", "respiratory_rate", "spo2"))  # also of moments, which have no end
#: Rows that are no state of another: not measured here, or of no known unit.
APART = (MAPPED, "unit_unknown")
OLD = "superseded"  # by the file's own word; of a treatment it may be the last state, which was deleted
#: Rows that count less than another state without these marks.
LESS = (
    *("censored_high", "censored_low", "implausible", "interpolated", "low_confidence", "manual", "not_worn_suspected"),
    "time_implausible",
)
_ID = "id "
_IDENTIFIED = re.compile(r"(?:clock [^;]{1,40}; )*id (\S{1,64}) (\d{1,18})(?:; .*)?", re.DOTALL)


def identified(id: str, changed: int, raw: str | None = None) -> str | None:
    """What ``raw`` says of a row that has an id of its vendor's.

    Args:
        id: as the file writes it.
        changed: µs since 1970 at which it was changed last; 0: not told.
        raw: what it says besides.
    """
    if not re.fullmatch(r"\S{1,64}", id):
        return raw
    return f"{_ID}{id} {max(changed, 0)}" + (f"; {raw}" if raw else "")


def outdated(block: Block) -> NDArray[np.bool_]:
    """Which rows have a later state in the block; (rows,).

    Args:
        block: in the record's order, all rows of each of its starts, each once.
    """
    found = np.zeros(block.rows, bool)
    rows = _candidates(block)
    if not len(rows):
        return found
    states: dict[tuple[Any, ...], list[tuple[tuple[Any, ...], int]]] = {}
    texts = {name: list(getattr(block.tables, name)) for name in ("device", "file", "quality")}
    for at in rows.tolist():
        if state := _state(block, texts, at):
            key, rank = state
            states.setdefault(key, []).append((rank, at))
    for same in states.values():
        best = max(same)
        for rank, at in same:
            found[at] = _differs(block, at, best[1]) and rank < best[0]
    return found


def _candidates(block: Block) -> NDArray[np.int64]:
    """Rows beside which another of the same start and metric stands, of those that can be states of one thing."""
    import pyarrow.compute as pc

    can = np.asarray(pc.fill_null(pc.match_substring(block["raw"], _ID), False))
    names = metric_names()
    for number, device in enumerate(block.tables.device):
        if device in SCORED:
            metrics = SCORED[device]
            own = block["device"] == number
            if metrics is not None:
                own &= np.isin(block["metric"], [n for n, name in enumerate(names) if name in metrics])
                sampled = np.isin(block["metric"], [n for n, name in enumerate(names) if name in SAMPLED])
                own &= (block["end"] != NO_TIME) | ~sampled
            can = can | own
    can &= ~block.tables.having(block, *APART)
    rows = np.flatnonzero(can)
    start, metric = block["start"][rows], block["metric"][rows]
    beside = (start[1:] == start[:-1]) & (metric[1:] == metric[:-1])
    several: NDArray[np.int64] = rows[np.append(beside, False) | np.append(False, beside)] if len(rows) else rows
    return several


def _state(block: Block, texts: dict[str, list[Any]], at: int) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """What a row is a state of, and how late a state it is; None: it is a state of nothing."""
    device, file, marks = (each[block[name][at]] for name, each in texts.items())
    start, metric, code, end, row, value = (
        block[name][at].item() for name in ("start", "metric", "code", "end", "row", "value")
    )
    later = later_file(file)
    if told := _IDENTIFIED.fullmatch(block["raw"][at].as_py() or ""):
        at_once = end == NO_TIME  # of one bolus there may be an amount at once and one over a time
        return (start, metric, told[1], at_once), (int(told[2]), *later)
    if device not in SCORED or OLD in marks:
        return None
    less = not set(marks).isdisjoint(LESS)
    rank = (not less, end != NO_TIME, *later, end, row, value == value, 0.0 if value != value else value)
    return (start, metric, device, code), rank


def _differs(block: Block, at: int, other: int) -> bool:
    """Whether they do not say the same."""
    return any(
        (mine := block[name][at]) != (its := block[name][other]) and not (mine != mine and its != its)
        for name in ("end", "value", "code", "device")
    )


@lru_cache(1024)
def later_file(file: str) -> tuple[tuple[int, ...], str]:
    """By what the files of two exports are in order, the earlier first.

    Args:
        file: its name.
    """
    return tuple(int(digits) for digits in re.findall(r"\d{1,18}", file)), file
