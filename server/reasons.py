"""Count the reasons of dropped replies by kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

ADDRESS = re.compile(r"round \d+, client \d+, ")
GIVEN_UP = "round given up"
SHOWN = 20  # different reasons kept in a summary


def bare(reason: str) -> str:
    """A reason without the round and the client that it happened to."""
    return ADDRESS.sub("", reason)


def kind(reason: str) -> str:
    """What is counted together: a reason without its numbers and names."""
    return re.sub(r"'[^']*'|[-+]?\d+(\.\d+)?", "#", bare(reason))


def grouped(reasons: Iterable[str]) -> dict[str, int]:
    """An example of each kind of reason → how often, the commonest first."""
    examples: dict[str, str] = {}
    counts: dict[str, int] = {}
    for reason in reasons:
        examples.setdefault(kind(reason), bare(reason))
        counts[kind(reason)] = counts.get(kind(reason), 0) + 1
    return {examples[k]: counts[k] for k in sorted(counts, key=lambda k: -counts[k])}


def commonest(counts: Mapping[str, int]) -> str:
    """The end of a sentence: the commonest reason and how often; "" where there is none."""
    if not counts:
        return ""
    reason = max(counts, key=lambda r: counts[r])
    return f"; most often ({counts[reason]} times): {reason}"


def listed(counts: Mapping[str, int], most: int = 3) -> str:
    """The commonest reasons in words, as in "3 × too few samples, 1 × no reply"."""
    first = sorted(counts.items(), key=lambda one: -one[1])
    more = sum(n for _, n in first[most:])
    return ", ".join(f"{n} × {reason}" for reason, n in first[:most]) + (f", {more} × other" if more else "")


def gave_up(event: Mapping[str, Any]) -> bool:
    """Whether an event ``dropped`` tells of a whole round, and not of a client."""
    return event.get("client") == -1 and GIVEN_UP in str(event.get("reason", ""))


def lost_reply_counts(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a summary says of replies that did not count: how many, how many rounds were given up, and why."""
    told = [event for event in events if event.get("kind") == "dropped"]
    rounds = sum(map(gave_up, told))
    reasons = grouped(str(event.get("reason", "")) for event in told)
    kept = dict(list(reasons.items())[:SHOWN])
    return {"dropped": len(told) - rounds, "given_up": rounds, "reasons": kept}
