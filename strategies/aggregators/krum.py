"""Krum: the update that lies closest to its neighbours (Blanchard et al. 2017), and the mean of several such."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.base import Resilient
from metapulse.strategies.aggregators.geometry import Updates, Vector, average, squared_distances


@dataclass(frozen=True)
class Krum(Resilient):
    """The one update whose n − f − 2 nearest neighbours are nearest; n > 2f + 2."""

    paper: ClassVar[Paper] = Paper(
        "blanchard2017krum",
        "Blanchard, El Mhamdi, Guerraoui and Stainer",
        2017,
        "Byzantine-Tolerant Machine Learning",
        "1703.02757",
        "Section 4",
    )
    least: ClassVar[tuple[int, int]] = (2, 3)

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """One of the updates; of equals the first."""
        return updates[int(scores(squared_distances(updates), self.assumed(len(updates))).argmin())]


@dataclass(frozen=True)
class MultiKrum(Resilient):
    """The mean of the m updates that Krum likes best; n > 2f + 2."""

    paper: ClassVar[Paper] = replace(Krum.paper, where="Section 6")
    least: ClassVar[tuple[int, int]] = Krum.least

    keep: int = setting(0, "m, how many updates are averaged (0: all but the assumed attackers)", ge=0)

    def shortfall(self, replies: int) -> str:
        """Why so few replies are too few for it."""
        left = replies - self.assumed(replies)
        too_many = f"keep = {self.keep} is more than the {left} honest replies" if self.keep > left else ""
        return super().shortfall(replies) or too_many

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The mean of the m best."""
        f = self.assumed(len(updates))
        best = scores(squared_distances(updates), f).argsort(stable=True)[: self.keep or len(updates) - f]
        return average(updates[best.sort().values])


def scores(squared: Float[Tensor, "clients clients"], attackers: int) -> Float[Tensor, " clients"]:
    """s(i) = Σ_{i → j} ‖x_i − x_j‖² over the n − f − 2 nearest j ≠ i.

    Args:
        squared: ‖x_i − x_j‖².
        attackers: f, 0 ≤ f ≤ n − 3.

    Source:
        Blanchard, El Mhamdi, Guerraoui and Stainer 2017, arXiv:1703.02757, Section 4.
    """
    nearest = len(squared) - attackers - 1  # each client itself among them, at distance zero
    ordered = np.partition(squared.numpy(), nearest - 1, axis=1)
    return torch.from_numpy(ordered[:, :nearest]).sum(1)
