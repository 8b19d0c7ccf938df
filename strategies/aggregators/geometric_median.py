"""The geometric median by Weiszfeld's iteration, smoothed (RFA, Pillutla et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, combination, distances
from metapulse.strategies.aggregators.median import median


@dataclass(frozen=True)
class GeometricMedian(Aggregator):
    """The point with the smallest sum of distances to all updates, nearly; withstands fewer than half."""

    paper: ClassVar[Paper] = Paper(
        "pillutla2022rfa",
        "Pillutla, Kakade and Harchaoui",
        2022,
        "Robust Aggregation for Federated Learning",
        "1912.13445",
        "Algorithm 2",
    )

    steps: int = setting(10, "iterations of Weiszfeld", ge=1)
    floor: float = setting(1e-6, "ν, distances below it count as it", gt=0)

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The last iterate."""
        return geometric_median(updates, self.steps, self.floor)


def geometric_median(updates: Updates, steps: int, floor: float) -> Vector:
    """z ← Σ β_i x_i / Σ β_i with β_i = 1 / max(ν, ‖z − x_i‖).

    It starts at the median of every coordinate (ours): from the mean, one client at 1e30 would cost a step per digit.

    Args:
        updates: x, one client per row.
        steps: iterations, ≥ 1; none of them raises Σ_i ‖z − x_i‖ by more than the smoothing, n ν / 2.
        floor: ν > 0.

    Source:
        Pillutla, Kakade and Harchaoui 2022, arXiv:1912.13445, Algorithm 2, with equal weights.
    """
    centre = median(updates).double()
    for _ in range(steps):
        pull = 1.0 / distances(updates, centre).clamp_min(floor)
        centre = combination(pull / pull.sum(), updates)
    return centre
