"""Messages through Flower's logger: which replies did not count and why, and the outcome of the rounds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import Result

from metapulse.client.wire import decode
from metapulse.errors import NoResultError
from metapulse.strategies.replies import Dropped

SHOWN = 3  # nodes named of those with the same reason
log = logging.getLogger("flwr")


def tell_replies(stage: str, usable: int, refused: Sequence[Dropped]) -> None:
    """How many replies count, and a line for each reason why others do not.

    Args:
        stage: "aggregate_train" or "aggregate_evaluate".
        usable: how many count.
        refused: the others.
    """
    log.info("%s: %d usable replies, %d not", stage, usable, len(refused))
    for reason, count in Counter(one.reason for one in refused).most_common():
        whose = _named([one.client for one in refused if one.reason == reason and one.client != -1], count)
        log.warning("%s: %d of them%s: %s", stage, count, whose, reason)


def tell_metrics(stage: str, usable: int, odd: Mapping[str, Sequence[int]]) -> None:
    """A line for each metric whose mean over the replies is no number.

    Args:
        stage: "aggregate_train" or "aggregate_evaluate".
        usable: how many replies count.
        odd: metric → nodes at which it is NaN or infinite.
    """
    for metric, nodes in odd.items():
        told = f"metric {metric!r} is NaN or infinite at {len(nodes)} of {usable} clients{_named(nodes, len(nodes))}"
        log.warning("%s: %s, and its mean is no number", stage, told)


def _named(nodes: Sequence[int], count: int) -> str:
    """The first of some nodes, in brackets; "" if none is known."""
    shown = [str(node) for node in nodes[:SHOWN]]
    return f" (node {', '.join(shown)}{', …' if count > len(shown) else ''})" if shown else ""


def too_few(usable: int, least: int, refused: Sequence[Dropped]) -> str:
    """Why a round has too few usable replies.

    Args:
        usable: how many there are.
        least: how many are wanted.
        refused: the others.
    """
    commonest = Counter(one.reason for one in refused).most_common(1)
    why = "".join(f"; most often ({count} of {len(refused)}): {reason}" for reason, count in commonest)
    return (f"{usable} usable replies, min_replies = {least}" if usable else "no usable reply") + why


def final_result(name: str, result: Result, initial: ArrayRecord, rounds: int, reasons: Sequence[str]) -> Result:
    """The result of a start: refused where no round moved θ, remarked on where some did not.

    Args:
        name: of the strategy.
        result: Flower's; its arrays are empty where no round had any.
        initial: θ before the first round, which is the result where no round was to be trained.
        rounds: that were to be trained.
        reasons: why rounds were given up.

    Raises:
        NoResultError: none of them moved θ.
    """
    why = "".join(f"; most often ({count} times): {reason}" for reason, count in Counter(reasons).most_common(1))
    if rounds and not len(result.arrays):
        raise NoResultError(f"{name}: no round of {rounds} moved θ{why}")
    if not rounds:
        result.arrays = initial
    elif all(torch.equal(p, decode(result.arrays)[key]) for key, p in decode(initial).items()):
        log.warning("θ is to the bit what it was before the first round: the clients' updates are all zero")
    elif reasons:
        log.warning("%d of %d rounds changed nothing%s", len(reasons), rounds, why)
    return result
