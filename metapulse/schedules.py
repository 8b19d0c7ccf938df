"""How the outer learning rate moves over the rounds."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

Schedule: TypeAlias = Literal["constant", "linear", "cosine"]


def outer_rate(lr: float, schedule: Schedule, round: int, rounds: int) -> float:
    """The outer learning rate of one round.

    constant: lr;  linear: lr · (1 − (t − 1)/T), as Reptile's ε;  cosine: lr · ½(1 + cos(π (t − 1)/T)).

    Args:
        lr: rate of the first round, > 0.
        schedule: "constant", "linear" or "cosine".
        round: t, from 1.
        rounds: T, how many there will be, ≥ 1.
    """
    done = min((round - 1) / max(rounds, 1), 1.0)
    if schedule == "linear":
        return lr * (1.0 - done)
    if schedule == "cosine":
        return lr * 0.5 * (1.0 + math.cos(math.pi * done))
    return lr
