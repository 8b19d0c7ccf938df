"""A summary of a run's rounds: whether θ moved, what secure aggregation rounded or clipped, whether replies came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.client.secure.quantise import CLIPPED, ZEROED
from metapulse.errors import NoResultError
from metapulse.server.divergence import read_settings
from metapulse.server.reasons import commonest, grouped
from metapulse.strategies.secure import SecureSettings

STEPS = ("learner.inner_steps", "learner.inner_lr", "strategy.lr")  # at which nothing may be left of an update
MOST_ZEROED, MOST_CLIPPED = 0.5, 0.01  # of all numbers of the updates, in the mean over the rounds

Events = Sequence[Mapping[str, Any]]


def refuse_fruitless(events: Events, settings: Mapping[str, Mapping[str, Any]], shares: bool = True) -> None:
    """A run none of whose rounds came to an outer step, or none of whose steps moved θ, is no success.

    Args:
        settings: the resolved configuration, to say which of them to look at.
        shares: whether the learner shares anything; the updates of those that do not are zero by design.

    Raises:
        NoResultError: with the commonest reason.
    """
    rounds = {event["round"]: event for event in events if event["kind"] == "round"}  # of a repeated round the last
    if not rounds or any(event["moved"] for event in rounds.values()):
        return
    dropped = [event for event in events if event["kind"] == "dropped"]
    if not any(event.get("step", event["moved"]) for event in rounds.values()):
        raise NoResultError(f"no round of {len(rounds)} had a usable outcome{_most_often(dropped)}")
    if shares:
        look = read_settings(settings, STEPS)
        why = commonest(grouped(str(event["reason"]) for event in dropped))
        at = f"; look at {', '.join(look)}" if look else ""
        raise NoResultError(f"θ did not move in any of {len(rounds)} rounds: nothing was trained{at}{why}")


def no_reply(round: int, patience: int, events: Events, log: Path) -> NoResultError:
    """Why a run is given up after so many rounds without a usable reply.

    Args:
        round: the last one.
        patience: how many.
        log: where they are.
    """
    why = _most_often([e for e in events if e["kind"] == "dropped" and e["round"] > round - patience])
    return NoResultError(f"round {round}: no usable reply in {patience} rounds; see {log}{why}")


def _most_often(dropped: Events) -> str:
    """The end of a sentence: why rounds were given up, or else why replies were refused."""
    told = [e for e in dropped if e["client"] < 0] or dropped
    return commonest(grouped(str(e["reason"]) for e in told)) or "; no client was asked"


def warnings(events: Events, settings: SecureSettings) -> list[str]:
    """What a table of scores does not show: θ that stood still, numbers rounded or clipped away."""
    rounds = {event["round"]: event for event in events if event["kind"] == "round"}  # of a repeated round the last
    still = sum(not event["moved"] for event in rounds.values())
    # without secure aggregation it may be meant to stand still: each client can have a model of its own
    said = [f"θ did not move in {still} of {len(rounds)} rounds"] if still and settings.on else []
    zeroed, clipped = ([e[key] for e in rounds.values() if key in e] for key in (ZEROED, CLIPPED))
    if zeroed and (share := float(np.mean(zeroed))) > MOST_ZEROED:
        what = f"range = {settings.range:g} is too large for {settings.bits} bits, or max_weight for these weights"
        said.append(f"secure aggregation rounded {share:.0%} of the numbers of the updates to zero: {what}")
    if clipped and (share := float(np.mean(clipped))) > MOST_CLIPPED:
        what = f"range = {settings.range:g} is too small"
        said.append(f"secure aggregation clipped {share:.0%} of the numbers of the updates: {what}")
    return said
