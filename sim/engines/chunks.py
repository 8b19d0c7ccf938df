"""How many clients to stack, where the configuration leaves it open."""

from __future__ import annotations

import math

from metapulse.models.base import Model
from metapulse.trees import Params

STACK = 2**21  # numbers in one stack of parameters: 8 MiB
KERNELS, COMPILED = (
    50,
    200,
)  # most clients in a stack: kernels in PyTorch keep all activations, compiled code one client's
WORKERS = 8  # among which a large cohort is divided evenly


def comfortable(model: Model, theta: Params, clients: int) -> int:
    """Few enough for a cache, or memory, and many enough to repay the Python of a call (about half a millisecond).

    It depends on the model and the cohort alone: as many workers as there are, chunks and so numbers stay the same.

    Args:
        model: whose parameters are stacked.
        theta: θ.
        clients: in the cohort, ≥ 0.
    """
    most = largest(model, theta)
    if clients <= WORKERS * KERNELS:
        return min(most, KERNELS)
    chunks = WORKERS * math.ceil(clients / (WORKERS * most))
    return math.ceil(clients / chunks)


def largest(model: Model, theta: Params) -> int:
    """Most clients that a stack should have, ≥ 1."""
    parameters = sum(p.numel() for p in theta.values())
    return max(min(STACK // max(parameters, 1), COMPILED if model.compiled else KERNELS), 1)
