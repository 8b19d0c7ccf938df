"""The coordinate-wise trimmed mean (Yin et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.strategies.aggregators.base import Resilient
from metapulse.strategies.aggregators.geometry import Updates, Vector, average, ordered
from metapulse.strategies.aggregators.median import Median


@dataclass(frozen=True)
class TrimmedMean(Resilient):
    """The mean of every coordinate without its f smallest and its f largest values; n > 2f."""

    paper: ClassVar[Paper] = replace(Median.paper, where="Definition 2")

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The mean of what is left of every column."""
        return trimmed_mean(updates, self.assumed(len(updates)))


def trimmed_mean(updates: Updates, trim: int) -> Vector:
    """Mean over the values of every column but its ``trim`` smallest and largest.

    Args:
        updates: one client per row.
        trim: f, 0 ≤ 2f < clients.

    Source:
        Yin, Chen, Ramchandran and Bartlett 2018, arXiv:1803.01498, Definition 2.
    """
    return average(ordered(updates)[trim : len(updates) - trim])
