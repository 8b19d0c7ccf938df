"""Bulyan: repeated Krum, then a coordinate-wise mean around the median (El Mhamdi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.base import Resilient
from metapulse.strategies.aggregators.geometry import Updates, Vector, ordered, squared_distances
from metapulse.strategies.aggregators.median import median


@dataclass(frozen=True)
class Bulyan(Resilient):
    """Krum chooses n − 2f updates one after another; of every coordinate the n − 4f nearest its median; n ≥ 4f + 3."""

    paper: ClassVar[Paper] = Paper(
        "elmhamdi2018bulyan",
        "El Mhamdi, Guerraoui and Rouault",
        2018,
        "The Hidden Vulnerability of Distributed Learning in Byzantium",
        "1802.07927",
        "Section 4",
    )
    least: ClassVar[tuple[int, int]] = (4, 3)

    attackers: float = setting(0.1, "attackers to withstand: a share of the replies (< 0.5), or their number", ge=0)

    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """Choose, then average around the median."""
        f = self.assumed(len(updates))
        chosen = choose(squared_distances(updates), f)
        return around_median(updates[chosen], len(updates) - 4 * f)


def choose(squared: Float[Tensor, "clients clients"], attackers: int) -> list[int]:
    """n − 2f clients, each the one that Krum likes best of those that are left; ascending.

    The last few would be judged by one neighbour or none; they are by two (ours), for of one, two always are equals.

    Args:
        squared: ‖x_i − x_j‖².
        attackers: f.

    Source:
        El Mhamdi, Guerraoui and Rouault 2018, arXiv:1802.07927, Section 4, first step.
    """
    who = squared.clone().fill_diagonal_(-1.0).argsort(dim=1, stable=True).numpy()  # each client itself comes first
    near, left = np.take_along_axis(squared.numpy(), who, axis=1), np.arange(len(squared))
    chosen: list[int] = []
    while len(chosen) < len(squared) - 2 * attackers:
        neighbours = max(len(left) - attackers - 2, 2)
        best = int(near[:, 1 : neighbours + 1].sum(1).argmin())
        gone = left[best]
        stay = who != gone
        stay[best] = False
        left = left[left != gone]
        near, who = (kept[stay].reshape(len(left), len(left)) for kept in (near, who))
        chosen.append(int(gone))
    return sorted(chosen)


def around_median(updates: Updates, keep: int) -> Vector:
    """Mean, in every column, of the ``keep`` values nearest the column's median.

    Args:
        updates: one client per row.
        keep: β, 1 ≤ β ≤ clients.

    Source:
        El Mhamdi, Guerraoui and Rouault 2018, arXiv:1802.07927, Section 4, second step.
    """
    values = ordered(updates).double()
    middle, clients = median(updates), len(updates)
    reach = torch.maximum(middle - values[: clients - keep + 1], values[keep - 1 :] - middle)  # of a run of ``keep``
    nearest = reach.argmin(0) + torch.arange(keep)[:, None]
    return values.gather(0, nearest).mean(0)
