"""Attacks that forge the client's own update, without knowledge of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from metapulse.methods.base import Paper
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.sim.attacks.base import Attacker, Attackers, replaced
from metapulse.trees import Stacked


@dataclass(frozen=True)
class SignFlip(Attacker):
    """u ← −s u: away from where the honest want to go."""

    paper: ClassVar[Paper] = Paper(
        "li2019rsa",
        "Li, Xu, Chen, Giannakis and Ling",
        2019,
        "RSA: Byzantine-Robust Stochastic Aggregation Methods for Distributed Learning from Heterogeneous Datasets",
        "1811.03761",
        "sign-flipping attacks",
    )

    factor: float = setting(10.0, "s, how far", gt=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates turned round."""
        return replaced(update, bad, lambda _, u: -self.factor * u)


@dataclass(frozen=True)
class ScalingAttack(Attacker):
    """u ← s u: the right way, but too far."""

    paper: ClassVar[Paper] = Paper("scaling", "baseline", 0, "A longer update", "", "no equation")

    factor: float = setting(100.0, "s, how far", gt=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates made longer."""
        return replaced(update, bad, lambda _, u: self.factor * u)


@dataclass(frozen=True)
class NotANumber(Attacker):
    """u ← NaN or ±∞, everywhere or in one place: what a broken device sends too."""

    paper: ClassVar[Paper] = Paper("nan", "baseline", 0, "An update that is no number", "", "no equation")

    value: Literal["nan", "inf", "-inf"] = setting("nan", "what is sent")
    everywhere: bool = setting(True, "in every coordinate, not only in the first")

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates made useless."""
        if self.everywhere:
            return replaced(update, bad, lambda _, u: torch.full_like(u, float(self.value)))
        first = next(iter(update))
        spoilt = update[first].clone()
        spoilt.view(len(spoilt), -1)[bad, 0] = float(self.value)
        return {**update, first: spoilt}


@dataclass(frozen=True)
class FreeRider(Attacker):
    """u ← noise: people who want the model and do no work; without noise they send θ back."""

    paper: ClassVar[Paper] = Paper(
        "fraboni2021free",
        "Fraboni, Vidal and Lorenzi",
        2021,
        "Free-rider Attacks on Model Aggregation in Federated Learning",
        "2006.11901",
        "plain and disguised free-riding",
    )

    noise: float = setting(0.0, "standard deviation of every number, as a disguise", ge=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """Updates that no training has gone into."""
        if not self.noise:
            return replaced(update, bad, lambda _, u: torch.zeros_like(u))
        sizes = [u[0].numel() for u in update.values()]
        drawn = np.stack([rng.standard_normal(sum(sizes)) for rng in keys.generators("attack/noise")])
        parts = torch.split(torch.from_numpy(self.noise * drawn), sizes, 1)
        noise = {name: part.view(update[name].shape) for name, part in zip(update, parts, strict=True)}
        return replaced(update, bad, lambda name, u: noise[name].to(u))
