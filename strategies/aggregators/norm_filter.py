"""Leave out the longest updates (comparative gradient elimination, Gupta et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.methods.base import Paper
from metapulse.strategies.aggregators.base import PreAggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, distances


@dataclass(frozen=True)
class NormFilter(PreAggregator):
    """Without the f longest updates, then another aggregator; n > 2f."""

    paper: ClassVar[Paper] = Paper(
        "gupta2020cge",
        "Gupta, Liu and Vaidya",
        2020,
        "Byzantine Fault-Tolerant Distributed Machine Learning Using Stochastic Gradient Descent (SGD) and Norm-Based "
        "Comparative Gradient Elimination (CGE)",
        "2008.04699",
        "CGE",
    )

    def shortfall(self, replies: int) -> str:
        """Why so few replies are too few for it, or for the one behind it."""
        return super().shortfall(replies) or self.behind.shortfall(replies - self.assumed(replies))

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """What the one behind makes of the shorter ones."""
        return self.behind.aggregate(shortest(updates, len(updates) - self.assumed(len(updates))), last)


def shortest(updates: Updates, keep: int) -> Float[Tensor, "kept parameters"]:
    """The updates of the ``keep`` smallest norms ‖x_i‖, in their order.

    Args:
        updates: one client per row.
        keep: n − f ≥ 1.

    Source:
        Gupta, Liu and Vaidya 2020, arXiv:2008.04699, CGE; the mean of them, where the paper takes the sum.
    """
    norms = distances(updates, torch.zeros_like(updates[0]))
    return updates[norms.argsort(stable=True)[:keep].sort().values]
