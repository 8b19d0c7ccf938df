"""What a person recorded with old devices, without the moments that a test is about.

Two devices that were worn at once saw the same moments, whose labels would tell the answers of the query.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from metapulse.data import Samples

#: Half-overlapping windows are two steps long.
STEPS = 2.0

Rows = Int64[np.ndarray, " _"]  # of one of the devices


def apart(old: Samples, new: Samples, query: Rows) -> Rows:
    """Rows of an old device that share no moment with the query.

    Where both devices know from when to when each sample reaches, a row goes where it meets a group of the query.
    Elsewhere one goes where its moment is one of the query's and, if both devices know the time, where its group began
    before a group of the query ended and ended after that began, give or take two steps of the slower recording.

    Args:
        old: everything of the old device.
        new: everything of the new device.
        query: rows of ``new`` that are asked about.
    """
    asked = np.isin(new.group, new.group[query])
    if old.span is not None and new.span is not None:
        begin, _ = spans(new.group[asked], new.span[asked, 0])
        _, end = spans(new.group[asked], new.span[asked, 1])
        free: Rows = np.flatnonzero(~_meets(old.span[:, 0], old.span[:, 1], begin, end))
        return free
    kept = ~np.isin(old.moments, new.moments[query])
    if old.time is not None and new.time is not None and len(query):
        begin, end = spans(new.group[asked], new.time[asked])
        first, last = spans(old.group, old.time)
        margin = STEPS * max(step(old.time), step(new.time))
        kept &= ~_meets(first - margin, last + margin, begin, end)
    rows: Rows = np.flatnonzero(kept)
    return rows


def spans(
    group: Int64[np.ndarray, " n"], time: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """First and last stamp of each sample's group."""
    _, inverse = np.unique(group, return_inverse=True)
    first, last = np.full(inverse.max(initial=0) + 1, np.inf), np.full(inverse.max(initial=0) + 1, -np.inf)
    np.minimum.at(first, inverse, time)
    np.maximum.at(last, inverse, time)
    return first[inverse], last[inverse]


def step(time: Float64[np.ndarray, " n"]) -> float:
    """The usual distance between two stamps that follow each other; 0 where there is none."""
    gaps = np.diff(np.unique(time))
    return float(np.median(gaps)) if len(gaps) else 0.0


def _meets(
    first: Float64[np.ndarray, " n"],
    last: Float64[np.ndarray, " n"],
    begin: Float64[np.ndarray, " m"],
    end: Float64[np.ndarray, " m"],
) -> Bool[np.ndarray, " n"]:
    """Which of the intervals [first, last] meet one of [begin, end].

    More of these have begun by the one's last moment than had ended before its first.
    """
    ended = np.searchsorted(np.sort(end), first, "left")
    begun = np.searchsorted(np.sort(begin), last, "right")
    out: Bool[np.ndarray, " n"] = begun > ended
    return out
