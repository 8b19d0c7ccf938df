"""Data poisoning: the client trains on manipulated samples of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.rng import Keys
from metapulse.settings import SIZE, setting
from metapulse.sim.attacks.base import Attacker, Attackers, replaced
from metapulse.trees import Stacked

SUCCESS = "attack_success_rate"


@dataclass(frozen=True)
class LabelFlip(Attacker):
    """y ← K − 1 − y of K classes; of curves, y ← −y."""

    paper: ClassVar[Paper] = Paper(
        "tolpegin2020data",
        "Tolpegin, Truex, Gursoy and Liu",
        2020,
        "Data Poisoning Attacks Against Federated Learning Systems",
        "2007.08432",
        "label flipping",
    )

    def poison(self, task: Task, samples: Batch, bad: Attackers, keys: Keys, side: str) -> Batch:
        """The attackers' labels turned round."""
        turned = task.outputs - 1 - samples.y if task.kind == "classification" else -samples.y
        return replace(samples, y=torch.where(bad.view(-1, *[1] * (samples.y.ndim - 1)), turned, samples.y))


@dataclass(frozen=True)
class Backdoor(Attacker):
    """A pattern at the end of a sample's window that shall stand for a class.

    The trigger sets the last ``width`` places of the last axis, in every channel, as the model reads them.
    """

    paper: ClassVar[Paper] = Paper(
        "gu2017badnets",
        "Gu, Dolan-Gavitt and Garg",
        2017,
        "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
        "1708.06733",
        "pattern backdoor",
    )

    target: int = setting(0, "class that the trigger shall stand for", ge=0)
    share: float = setting(0.5, "share of an attacker's samples that bear the trigger", gt=0, le=1)
    width: int = setting(8, "places that the trigger takes", ge=1, le=SIZE)
    value: float = setting(3.0, "what stands there (of standardised inputs: in standard deviations)")

    def check(self, task: Task) -> None:
        """It needs the class that it aims at."""
        if task.kind != "classification" or self.target >= task.outputs:
            classes = task.outputs if task.kind == "classification" else 0
            raise ConfigError("attack.target", self.target, f"the task has {classes} classes")

    def triggered(self, samples: Batch) -> Batch:
        """All of the samples with the trigger, and labelled so."""
        x = samples.x.clone()
        x[..., -self.width :] = self.value
        return replace(samples, x=x, y=torch.full_like(samples.y, self.target))

    def poison(self, task: Task, samples: Batch, bad: Attackers, keys: Keys, side: str) -> Batch:
        """The trigger in some samples of the attackers, each drawn by its address."""
        drawn = torch.from_numpy(keys.uniforms(f"attack/{side}", samples.mask.shape[1]))
        chosen = (drawn < self.share).to(samples.mask.device) & bad.unsqueeze(1)
        with_it = self.triggered(samples)
        x = torch.where(chosen.view(*chosen.shape, *[1] * (samples.x.ndim - 2)), with_it.x, samples.x)
        return replace(samples, x=x, y=torch.where(chosen, with_it.y, samples.y))

    def probe(self, query: Batch) -> Batch:
        """The samples of other classes, with the trigger."""
        return replace(self.triggered(query), mask=query.mask * (query.y != self.target))

    def success(self, judged: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Share of the samples of other classes that are taken for the target once they bear the trigger."""
        return {SUCCESS: judged["accuracy"]}


@dataclass(frozen=True)
class Replacement(Backdoor):
    """A backdoor whose update is made γ times longer, u ← γ u, so that it survives the mean of n: γ = n / β."""

    paper: ClassVar[Paper] = Paper(
        "bagdasaryan2018backdoor",
        "Bagdasaryan, Veit, Hua, Estrin and Shmatikov",
        2018,
        "How To Backdoor Federated Learning",
        "1807.00459",
        "Equation 3",
    )

    boost: float = setting(10.0, "γ; for one attacker n / β, n being the clients of a round and β the outer rate", gt=0)

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """The attackers' updates, boosted."""
        return replaced(update, bad, lambda _, u: self.boost * u)
