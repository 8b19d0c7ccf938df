"""What the deletion of a document ends: all its states, of whatever metric, and what an export without ids has of it.

A document that was deleted may tell less than it did before, or none of its amounts; its reader then gives a row
without a value. So the deletion is one of the id, not of an amount. An export of an earlier version may have the same
without an id: of the rows that say what a deleted document said, the first of each account counts no more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metapulse.record.columns import NO_TIME, metric_names
from metapulse.record.identity import Documents
from metapulse.record.lineage import bare_name, later_file
from metapulse.record.schema import MAPPED
from metapulse.record.texts import Block

SAMPLED = frozenset(("body_battery", "heart_rate", "hrv_rmssd", "respiratory_rate", "spo2", "stress"))  # also moments
#: Rows that are no state of another: not measured here, or of no known unit.
APART = (MAPPED, "unit_unknown")
OLD = "superseded"  # by the file's own word; of a treatment it may be the last state, which was deleted
SENSOR = "glucose"  # its readings are another collection than treatments, with ids of its own


def deleted(block: Block, documents: Documents) -> NDArray[np.bool_]:
    """Which rows were in force before a deletion that the block tells; (rows,).

    Args:
        block: in the record's order, all rows of each of its starts, each once.
        documents: of its rows.
    """
    found, old = np.zeros(block.rows, bool), block.tables.having(block, OLD)
    if documents.ids is None or not (gone := old & (documents.ids != "")).any():
        return found
    at_once = np.isin(block["start"], block["start"][gone]) & ~block.tables.having(block, *APART)
    named, nameless = defaultdict[Any, list[int]](list), defaultdict[Any, list[int]](list)
    sensor, files = metric_names().index(SENSOR), list(block.tables.file)
    for at in np.flatnonzero(at_once).tolist():
        if id := documents.of(at):
            named[block["start"][at], id, block["metric"][at] == sensor].append(at)
        elif not old[at]:
            nameless[_says(block, at)].append(at)

    def changed(at: int) -> tuple[Any, ...]:
        return documents.told(at)[1], later_file(files[block["file"][at]]), int(block["row"][at]), bool(old[at])

    for states in named.values():
        states.sort(key=changed)
        last = max((n for n, at in enumerate(states) if gone[at]), default=-1)
        found[[at for at in states[: last + 1] if not old[at]]] = True
        if last == len(states) - 1:
            _end_nameless(block, states, nameless, found)
    return found


def _end_nameless(block: Block, states: list[int], nameless: dict[Any, list[int]], found: NDArray[np.bool_]) -> None:
    """End what an account without ids has of a deleted document: one row of each of its amounts."""
    sampled, files = {n for n, name in enumerate(metric_names()) if name in SAMPLED}, list(block.tables.file)
    ended = set[tuple[Any, ...]]()
    for state in reversed(states):
        metric, moment = int(block["metric"][state]), block["end"][state] == NO_TIME
        if moment and metric in sampled:
            continue  # a pulse is measured whatever becomes of the night
        for at in nameless.get(_says(block, state), ()):
            amount = metric, bool(moment), bare_name(files[block["file"][at]])
            if not found[at] and amount not in ended:
                found[at] = True
                ended.add(amount)


def _says(block: Block, at: int) -> tuple[Any, ...]:
    """What a row says; not its kind, which a deleted night no longer tells."""
    value = block["value"][at].item()
    return (
        *(block[name][at].item() for name in ("start", "metric", "end", "device")),
        None if value != value else value,
    )
