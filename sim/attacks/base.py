"""The interface of an attack: which clients attack and when, and what changes in their samples and updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.methods.base import Paper
from metapulse.rng import Keys, uniforms
from metapulse.settings import setting
from metapulse.trees import Stacked

#: Who of a stack attacks.
Attackers = Bool[Tensor, " clients"]


@dataclass(frozen=True)
class Attack:
    """No attack."""

    #: It is made of the updates of all who are honest, so it can only act where all of them are.
    omniscient: ClassVar[bool] = False

    def attackers(self, seed: int, round: int, users: Sequence[int]) -> Attackers:
        """Who of some people attacks in a round.

        Args:
            round: federated round, ≥ 1.
            users: the person behind each client of the stack.
        """
        return torch.zeros(len(users), dtype=torch.bool)

    def check(self, task: Task) -> None:
        """Refuse a task that the attack is not made for.

        Raises:
            ConfigError: names the setting.
        """

    def poison(self, task: Task, samples: Batch, bad: Attackers, keys: Keys, side: str) -> Batch:
        """What the stack trains on.

        Args:
            samples: one side of the episodes, as the model reads it; not changed.
            side: "support" or "query", part of the address of what is drawn.
        """
        return samples

    def forge(self, update: Stacked, bad: Attackers, keys: Keys) -> Stacked:
        """What the stack reports.

        Args:
            update: (clients, *shape) per name of θ; not changed.
        """
        return update

    def probe(self, query: Batch) -> Batch | None:
        """Samples on which a model shows what the attack has achieved; None where it only wants to do harm.

        Args:
            query: what the model is judged on.
        """
        return None

    def success(self, judged: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What it has achieved, a number per client.

        Args:
            judged: metrics of the model on the probe.
        """
        return {}


@dataclass(frozen=True)
class Attacker(Attack):
    """A fixed share of the people, who attack in a window of rounds."""

    paper: ClassVar[Paper]

    fraction: float = setting(0.2, "share of people who attack; each is drawn by its own address", ge=0, le=1)
    first: int = setting(1, "first round of the attack", ge=1)
    last: int = setting(0, "last round of the attack (0: of the run)", ge=0)

    def attackers(self, seed: int, round: int, users: Sequence[int]) -> Attackers:
        """u(seed, "attack", 0, person) < fraction, in rounds from ``first`` to ``last``."""
        if round < self.first or 0 < self.last < round:
            return super().attackers(seed, round, users)
        return torch.from_numpy(uniforms(seed, "attack", 0, users, 1)[:, 0] < self.fraction)


def replaced(update: Stacked, bad: Attackers, other: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
    """A stack with other rows for those who attack.

    Args:
        update: (clients, *shape) per name; not changed.
        bad: whose rows are replaced.
        other: from a name and its stack to the rows in their place, or to one for all of them.
    """
    return {name: torch.where(bad.view(-1, *[1] * (u.ndim - 1)), other(name, u), u) for name, u in update.items()}
