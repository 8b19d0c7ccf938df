"""Whether a finished run has a result, and if not, why.

A run has none whose training diverged, of whose people none could be judged, or whose numbers are absurd. What
became of its rounds stands in ``metapulse.server.verdict``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metapulse.server.answers import FACTS
from metapulse.server.divergence import divergence
from metapulse.server.metatest import Row, of_last, rows_in_means, undefined_counts
from metapulse.server.reasons import commonest, lost_reply_counts

ABSURD = 1e15  # no mean of scores is larger, where nothing says how large a loss was at the start
CHOSEN = ("chosen_metrics", "main_metric")  # keys of a summary; only where there are some
SHARED = ("scenario", "shots", "asked", "answered", "diverged", "reasons")

Event = Mapping[str, Any]


def failure(summary: Mapping[str, Any]) -> str:
    """Why a run that came to its end is no success all the same; "" where it is one."""
    return str(summary.get("diverged") or summary.get("no_result") or "")


def facts(events: Sequence[Event], rows: Sequence[Row], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a summary says of lost replies, of who was asked and who answered, and of a run without a result.

    Args:
        rows: of the meta-tests.
    """
    found = {**lost_reply_counts(events), "people": answer_counts(events)}
    if undefined := undefined_counts(rows):
        found["not_defined"] = undefined
    chosen = settings["evaluation"].get("metrics"), settings["evaluation"].get("main_metric")
    found |= {key: value for key, value in zip(CHOSEN, chosen, strict=True) if value}
    if why := divergence(events, rows, settings):
        return found | {"diverged": why}
    if why := no_result(events, rows):
        return found | {"no_result": why}
    return found


def answer_counts(events: Iterable[Event]) -> list[dict[str, Any]]:
    """How many were asked every question, how many answered, and why the others did not, meta-test by meta-test."""
    return [
        {"round": event["round"], "phase": event["phase"], **{key: one[key] for key in SHARED}}
        for event in events
        if event.get("kind") == "meta-test"
        for one in event.get("people", ())
    ]


def no_result(events: Sequence[Event], rows: Sequence[Row]) -> str:
    """Why there is nothing to be read from a run; "" where there is."""
    return _unjudged(of_last(answer_counts(events)), rows) or _absurd(events, rows)


def _unjudged(asked: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> str:
    if not asked or any(one["answered"] > one["diverged"] for one in asked):
        return ""
    if any(one["answered"] for one in asked):
        return f"no client could be judged: the loss of all {max(one['answered'] for one in asked)} overflowed"
    reasons: dict[str, int] = {}
    for one in asked:
        for reason, count in one["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    return f"no client could be judged of {max(one['asked'] for one in asked)} who were asked{commonest(reasons)}"


def _absurd(events: Sequence[Event], rows: Sequence[Row]) -> str:
    """Of runs whose clients do not say what their loss was; with it, ``divergence`` has said all."""
    if any(event.get("kind") == "round" and event.get("loss") for event in events):
        return ""
    last = max((row["round"] for row in rows), default=0)
    for row in rows_in_means(rows):
        if row["round"] == last and row["metric"] not in FACTS and abs(row["value"]) > ABSURD:
            return f"absurd numbers: {row['metric']} of client {row['client']} is {row['value']:.3g}"
    return ""
