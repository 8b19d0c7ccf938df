"""Aggregation: from a stack of updates to one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from client.trees import Stacked


def mean(update: Stacked, weight: Float[Tensor, " clients"]) -> dict[str, Tensor]:
    """Σ w_i u_i / Σ w_i, accumulated in float64.

    A float32 mean over ten thousand clients errs in the sixth digit, and its error depends on their order.

    Args:
        update: (clients, *shape) per name.
        weight: w ≥ 0, not all zero.

    Returns:
        The mean, in each update's own dtype.
    """
    shares = weight.double() / weight.double().sum()
    return {
        name: torch.tensordot(shares, u.double().reshape(len(u), -1), dims=1).to(u.dtype).view(u.shape[1:])
        for name, u in update.items()
    }
