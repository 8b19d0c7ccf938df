"""Whether training diverged: then the run reports that instead of a mean.

A loss that ends a thousand times above where training began is not that of a poor model: predicting what the fresh
network predicts would have been a thousand times better. So no setting is needed that says what a good loss is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metapulse.server.metatest import Row

WORSE = 1000.0  # times the loss of the first round
LOSSES = ("loss", "mse")


def divergence(
    events: Iterable[Mapping[str, Any]], rows: Sequence[Row], settings: Mapping[str, Mapping[str, Any]]
) -> str:
    """Why a finished run has no result; "" where it has one.

    Its training diverged where a loss is not finite, or is over ``WORSE`` times that of the first round: the mean that
    clients report of the last round, or that of test people after each of the steps at which they were judged.

    Args:
        events: of the run; rounds with the mean loss that clients reported, where they do.
        rows: of the meta-tests.
        settings: the resolved configuration, to say which of them to look at.
    """
    told = [event["loss"] for event in events if event.get("kind") == "round" and "loss" in event]
    if not told or told[0] is None or not told[0] > 0.0:
        return ""
    limit = WORSE * float(told[0])
    if told[-1] is None or told[-1] > limit:
        return _said("clients' mean loss", told[0], told[-1], settings)
    last = max((row["round"] for row in rows), default=0)
    means = _means([row for row in rows if row["round"] == last and row["metric"] in LOSSES])
    if means and not min(means) <= limit:
        return _said("held-out people's mean loss", told[0], min(means), settings)
    return ""


def read_settings(settings: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """``section.key = value`` for those settings that the run has.

    Args:
        keys: ``section.key`` each, of sections that choose an entry of a registry.
    """
    found = []
    for key in keys:
        section, name = key.split(".")
        value = settings.get(section, {}).get(name)
        if isinstance(value, (int, float)):
            found.append(f"{key} = {value}")
    return found


def _means(rows: Sequence[Row]) -> list[float]:
    """The mean over clients for every question and step."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        found.setdefault(tuple(row[k] for k in ("phase", "scenario", "shots", "step")), []).append(row["value"])
    return [sum(values) / len(values) for values in found.values()]


def _said(what: str, first: float, last: float | None, settings: Mapping[str, Mapping[str, Any]]) -> str:
    ends = "is no number" if last is None or not math.isfinite(last) else f"ends at {last:.3g}"
    there = read_settings(settings, ("learner.inner_lr", "strategy.lr"))
    smaller = f"smaller steps ({', '.join(there)})" if there else "smaller steps"
    return (
        f"training diverged: {what} was {first:.3g} in the first round and {ends}; {smaller}, or inputs and targets of"
        " ordinary size, may help"
    )
