"""The coordinate-wise median (Yin et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, average, ordered


@dataclass(frozen=True)
class Median(Aggregator):
    """The median of every coordinate: within the honest values while fewer than half attack."""

    paper: ClassVar[Paper] = Paper(
        "yin2018byzantine",
        "Yin, Chen, Ramchandran and Bartlett",
        2018,
        "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
        "1803.01498",
        "Definition 1",
    )

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The median of every column."""
        return median(updates)


def median(updates: Updates) -> Vector:
    """The middle value of every column, or the mean of the two in the middle.

    Args:
        updates: one client per row.

    Source:
        Yin, Chen, Ramchandran and Bartlett 2018, arXiv:1803.01498, Definition 1.
    """
    clients = len(updates)
    return average(ordered(updates)[(clients - 1) // 2 : clients // 2 + 1])
