"""The weighted mean, which one attacker can move anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, average


@dataclass(frozen=True)
class Mean(Aggregator):
    """Σ w_i u_i / Σ w_i; behind another aggregator, the plain mean."""

    paper: ClassVar[Paper] = Paper("mean", "baseline", 0, "The mean of all updates", "", "no equation")

    @property
    def linear(self) -> bool:
        """It is."""
        return True

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The plain mean."""
        return average(updates)
