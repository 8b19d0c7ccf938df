"""Colluding attacks: the attackers know all honest updates, and agree on one of their own."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import torch
from torch import Tensor

from metapulse.methods.base import Paper
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.sim.attacks.base import Attacker, Attackers, replaced
from metapulse.trees import Stacked


@dataclass(frozen=True)
class ALIE(Attacker):
    """u ← μ − z σ, coordinate by coordinate: a little is enough, inside the spread of the honest.

    μ and σ are mean and standard deviation over those who are honest. With z = 0 it is the largest that can still
    have a majority behind it: Φ(z) = (n − f − s) / (n − f), s = ⌊n/2 + 1⌋ − f.
    """

    omniscient: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        "baruch2019little",
        "Baruch, Baruch and Goldberg",
        2019,
        "A Little Is Enough: Circumventing Defenses For Distributed Learning",
        "1902.06156",
        "preventing convergence",
    )

    z: float = setting(0.0, "how many standard deviations (0: as many as numbers of honest and attackers allow)", ge=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates, all the same."""
        z = self.z or largest_z(len(bad), int(bad.sum()))
        return replaced(update, bad, lambda _, u: u[~bad].mean(0) - z * u[~bad].std(0, correction=0))


def largest_z(clients: int, attackers: int) -> float:
    """z of ALIE, 0 where the attackers are so few that no deviation has a majority behind it, or so many that all has.

    Args:
        clients: n.
        attackers: f < n.
    """
    honest = clients - attackers
    share = (honest - (clients // 2 + 1 - attackers)) / honest
    return max(NormalDist().inv_cdf(share), 0.0) if 0 < share < 1 else 0.0


@dataclass(frozen=True)
class IPM(Attacker):
    """u ← −ε μ: the aggregate's inner product with the mean μ of the honest becomes negative, or small."""

    omniscient: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        "xie2019fall",
        "Xie, Koyejo and Gupta",
        2019,
        "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation",
        "1903.03936",
        "−ε times the mean",
    )

    epsilon: float = setting(0.5, "ε", gt=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates, all the same."""

        def against(_: str, u: Tensor) -> Tensor:
            return torch.mul(u[~bad].mean(0), -self.epsilon)

        return replaced(update, bad, against)
