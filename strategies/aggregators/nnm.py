"""Nearest-neighbour mixing in front of another aggregator (Allouah et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.methods.base import Paper
from metapulse.strategies.aggregators.base import PreAggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, squared_distances


@dataclass(frozen=True)
class NearestNeighbourMixing(PreAggregator):
    """Every update becomes the mean of its n − f nearest, itself among them; then another aggregator; n > 2f."""

    paper: ClassVar[Paper] = Paper(
        "allouah2023fixing",
        "Allouah, Farhadkhani, Guerraoui, Gupta, Pinot and Stephan",
        2023,
        "Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity",
        "2302.01772",
        "NNM",
    )

    def shortfall(self, replies: int) -> str:
        """Why so few replies are too few for it, or for the one behind it."""
        return super().shortfall(replies) or self.behind.shortfall(replies)

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """What the one behind makes of the mixtures."""
        return self.behind.aggregate(mixed(updates, self.assumed(len(updates))), last)


def mixed(updates: Updates, attackers: int) -> Updates:
    """y_i = mean of the n − f updates nearest to x_i, x_i among them, in float64.

    Args:
        updates: x, one client per row.
        attackers: f, 0 ≤ 2f < clients.

    Source:
        Allouah, Farhadkhani, Guerraoui, Gupta, Pinot and Stephan 2023, arXiv:2302.01772, NNM.
    """
    keep = len(updates) - attackers
    squared = squared_distances(updates).fill_diagonal_(-1.0)
    nearest = squared.argsort(dim=1, stable=True)[:, :keep]
    shares = torch.zeros_like(squared).scatter_(1, nearest, 1.0 / keep)
    return shares @ updates.double()
