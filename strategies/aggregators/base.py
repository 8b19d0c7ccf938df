"""What an aggregator is: settings, how many replies it needs, and a pure function from a stack of updates to one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.geometry import Updates, Vector
from metapulse.strategies.aggregators.registry import AGGREGATORS, complete


@dataclass(frozen=True)
class Aggregator(ABC):
    """From the updates of a round to one. What a client claims to weigh counts in the weighted mean alone."""

    paper: ClassVar[Paper]

    @property
    def linear(self) -> bool:
        """Whether it is the weighted mean, which engines may add up piece by piece."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether it starts from its last result, which then belongs to the strategy's state."""
        return False

    def shortfall(self, replies: int) -> str:
        """Why so few replies are too few for it, in one line; "" if they are enough."""
        return ""

    @abstractmethod
    def aggregate(self, updates: Updates, last: Vector | None = None) -> Vector:
        """The aggregate.

        Args:
            updates: one client's whole update per row, finite; at least as many rows as ``shortfall`` asks for.
            last: the aggregate of the round before, for those who remember it; None in the first.
        """


@dataclass(frozen=True)
class Resilient(Aggregator):
    """One that assumes a number f of attackers among the n replies."""

    #: n must be at least ``least[0]`` · f + ``least[1]``.
    least: ClassVar[tuple[int, int]] = (2, 1)

    attackers: float = setting(0.2, "attackers to withstand: a share of the replies (< 0.5), or their number", ge=0)

    def __post_init__(self) -> None:
        if not (self.attackers < 0.5 or self.attackers == int(self.attackers)):
            raise ConfigError("strategy.aggregator.attackers", self.attackers, "must be < 0.5 or a whole number")

    def assumed(self, replies: int) -> int:
        """f: a share is rounded up."""
        share = self.attackers < 0.5
        return math.ceil(round(self.attackers * replies, 6)) if share else int(self.attackers)

    def shortfall(self, replies: int) -> str:
        """Why so few replies are too few for it."""
        f, (factor, more) = self.assumed(replies), self.least
        if replies >= factor * f + more:
            return ""
        return (
            f"{replies} replies are too few against {f} attackers: {factor} f + {more} = {factor * f + more} are needed"
        )


@dataclass(frozen=True)
class PreAggregator(Resilient):
    """One that prepares the updates for another."""

    then: Mapping[str, Any] = setting({"name": "mean"}, "aggregator of what comes out: name and settings")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "then", complete(self.then, "strategy.aggregator.then"))

    @cached_property
    def behind(self) -> Aggregator:
        """The aggregator behind it."""
        made: Aggregator = AGGREGATORS.make(self.then, "strategy.aggregator.then")
        return made

    @property
    def remembers(self) -> bool:
        """Whether the one behind does."""
        return self.behind.remembers
