"""Centred clipping: the mean of differences to a centre, each clipped (Karimireddy et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.geometry import Updates, Vector, combination, distances


@dataclass(frozen=True)
class CentredClipping(Aggregator):
    """Around the aggregate of the round before: no round moves it by more than steps · radius."""

    paper: ClassVar[Paper] = Paper(
        "karimireddy2021history",
        "Karimireddy, He and Jaggi",
        2021,
        "Learning from History for Byzantine Robust Optimization",
        "2012.10333",
        "Algorithm 2",
    )

    radius: float = setting(1.0, "τ, the longest difference that counts in full", gt=0)
    steps: int = setting(1, "how often the centre moves in a round", ge=1)

    @property
    def remembers(self) -> bool:
        """Its centre."""
        return True

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The new centre; the first is zero."""
        centre = torch.zeros_like(updates[0]) if last is None else last
        return centred_clipping(updates, centre, self.radius, self.steps)


def centred_clipping(updates: Updates, centre: Vector, radius: float, steps: int) -> Vector:
    """v ← v + (1/n) Σ_i (x_i − v) min(1, τ / ‖x_i − v‖).

    Args:
        updates: x, one client per row.
        centre: v to begin with.
        radius: τ > 0.
        steps: how often, ≥ 1.

    Source:
        Karimireddy, He and Jaggi 2021, arXiv:2012.10333, Algorithm 2.
    """
    v = centre.double()
    for _ in range(steps):
        share = radius / distances(updates, v).clamp_min(radius) / len(updates)
        v = v * (1.0 - share.sum()) + combination(share, updates)
    return v
