"""Earlier states of what a vendor scored anew, or a person edited, between two exports.

Two rows are states of one thing where they begin together and are of one metric, device and code, and either

* the vendor has one value of it at a time: of a night, a cycle, a day or a workout (``SCORED``); or
* both have one id of their vendor's, which ``raw`` tells (``identity.py``); device and code may have been edited too.

Where there is no id, a nap that became a night, and a workout that was named anew, has another code, and counts beside
its earlier state: a record does not know whether a later export has both, since a row that is there already is not
told again.

The later state is the one that the file itself says was changed later. Where it does not say: one that is not doubted
or typed in, then one that has an end, then that of the later file. No export tells when it was made, so the later file
is the one whose name has the greater numbers, from left to right, as names with dates have. Within files of one name:
what ends later, stands further down, is larger; so it is with states that have an id, where their changes tell nothing.
Where the latest state of an id is one that was deleted, none of the others counts, whatever they say
(``deletions.py``). Two ids of one document are one id.
All of this is said by the rows alone, so that it does not matter in which order they were read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metapulse.record.columns import NO_TIME, metric_names
from metapulse.record.deletions import APART, OLD, SAMPLED, deleted
from metapulse.record.identity import ID, Documents
from metapulse.record.lineage import later_file
from metapulse.record.schema import Device, known_first
from metapulse.record.texts import Block

MARK = "outdated"
NIGHTLY = frozenset((
    "activity_score", "body_battery", "heart_rate", "hrv_rmssd", "readiness_score", "respiratory_rate",
    "resting_heart_rate", "resting_heart_rate_lowest", "skin_temperature_deviation", "sleep_awake", "sleep_deep",
    "sleep_duration", "sleep_efficiency", "sleep_latency", "sleep_light", "sleep_rem", "sleep_score", "spo2", "stress",
    "time_in_bed", "vo2max",
))  # fmt: skip
DAILY = frozenset((
    "active_energy", "active_minutes", "basal_energy", "distance", "elevation_gain", "floors", "sedentary_minutes",
    "steps_daily", "total_energy",
))  # fmt: skip
#: What the vendor's reader calls its device → metrics that have an interval and are scored as a whole; None: all are.
SCORED: dict[Device, frozenset[str] | None] = {
    Device("Whoop"): None,
    Device("Oura"): NIGHTLY | DAILY,
    Device("Garmin", app="Garmin Connect"): NIGHTLY | DAILY,
}
#: Rows that count less than another state without these marks.
LESS = (
    *("censored_high", "censored_low", "implausible", "interpolated", "low_confidence", "manual", "not_worn_suspected"),
    "time_implausible",
)


def outdated(block: Block) -> NDArray[np.bool_]:
    """Which rows have a later state in the block; (rows,).

    Args:
        block: in the record's order, all rows of each of its starts, each once.
    """
    documents = Documents(block["start"], block["raw"])
    found, scored = deleted(block, documents), _scored(block)
    rows = _candidates(block, scored)
    if not len(rows):
        return found
    states: dict[tuple[Any, ...], list[_State]] = {}
    texts = {name: list(getattr(block.tables, name)) for name in ("code", "device", "file", "quality")}
    for at in rows.tolist():
        for state in _states(block, texts, at, documents, bool(scored[at])):
            states.setdefault(state.of, []).append(state)
    for same in states.values():
        best = max(same, key=lambda state: state.rank)
        for state in same:
            earlier, once_more = state.rank < best.rank, best.gone or state.id != best.id
            found[state.at] |= earlier and (once_more or _differs(block, state.at, best.at))
    return found


class _State(NamedTuple):
    """A row.

    Args:
        of: what it is a state of.
        rank: how late a state it is.
        at: in the block.
        gone: whether it was deleted.
        id: as its file tells it, if it is by its id a state of this: ids that differ make equal rows two.
    """

    of: tuple[Any, ...]
    rank: tuple[Any, ...]
    at: int
    gone: bool = False
    id: str = ""


def _scored(block: Block) -> NDArray[np.bool_]:
    """Rows of which the vendor has one value at a time."""
    names, found = metric_names(), np.zeros(block.rows, bool)
    for number, device in enumerate(block.tables.device):
        if device in SCORED:
            metrics = SCORED[device]
            own = block["device"] == number
            if metrics is not None:
                own &= np.isin(block["metric"], [n for n, name in enumerate(names) if name in metrics])
                sampled = np.isin(block["metric"], [n for n, name in enumerate(names) if name in SAMPLED])
                own &= (block["end"] != NO_TIME) | ~sampled
            found |= own
    return found & ~block.tables.having(block, OLD)


def _candidates(block: Block, scored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows beside which another of the same start and metric stands, of those that can be states of one thing."""
    import pyarrow.compute as pc

    can = scored | np.asarray(pc.fill_null(pc.match_substring(block["raw"], ID), False))
    rows = np.flatnonzero(can & ~block.tables.having(block, *APART))
    start, metric = block["start"][rows], block["metric"][rows]
    beside = (start[1:] == start[:-1]) & (metric[1:] == metric[:-1])
    several: NDArray[np.int64] = rows[np.append(beside, False) | np.append(False, beside)] if len(rows) else rows
    return several


def _states(block: Block, texts: dict[str, list[Any]], at: int, documents: Documents, scored: bool) -> Iterator[_State]:
    """What a row is a state of, and how late a state it is: by its id, and by when it begins."""
    code, device, file, marks = (each[block[name][at]] for name, each in texts.items())
    start, metric, end, row, value = (block[name][at].item() for name in ("start", "metric", "end", "row", "value"))
    id, changed = documents.told(at)
    within = (end, row, value == value, 0.0 if value != value else value, code or "", known_first(device))
    if id:
        at_once = end == NO_TIME  # of one bolus there may be an amount at once and one over a time
        gone = OLD in marks
        rank = (changed, *later_file(file), *within, gone, id)
        yield _State((start, metric, documents.of(at), at_once), rank, at, gone, id)
    if scored:
        less = not set(marks).isdisjoint(LESS)
        yield _State((start, metric, device, code), (not less, end != NO_TIME, *later_file(file), *within), at)


def _differs(block: Block, at: int, other: int) -> bool:
    """Whether they do not say the same."""
    return any(
        (mine := block[name][at]) != (its := block[name][other]) and not (mine != mine and its != its)
        for name in ("end", "value", "code", "device")
    )
