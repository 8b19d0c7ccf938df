"""Secure aggregation on the coordinator: its settings, what it can be combined with, and who shares with whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int64

from client.attacks.base import Attack
from client.errors import ConfigError, ReplyError
from client.faults import Faults
from client.learners.base import Paper
from client.secure.quantise import STAGES, levels
from client.settings import setting
from strategies.base import OuterSettings
from strategies.fednova import FedNova

SECTION = "secure_aggregation"


@dataclass(frozen=True)
class SecureSettings:
    """The server learns the sum of a round's updates and nothing else of them; off by default."""

    paper: ClassVar[Paper] = Paper(
        "bell2020secure",
        "Bell, Bonawitz, Gascón, Lepoint and Raykova",
        2020,
        "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead",
        "",
        "ePrint 2020/704, Algorithm 2",
    )

    on: bool = setting(False, "SecAgg+ around every round; the strategy must use no more than a mean")
    neighbours: int = setting(0, "clients that each client shares its secrets with, even (0: all of the cohort)", ge=0)
    threshold: float = setting(
        0.6, "share of them, itself included, that opens a secret; below it a round is given up", gt=0.5, le=1
    )
    range: float = setting(8.0, "R, numbers of an update are clipped to [−R, R]", gt=0)
    max_weight: float = setting(1000.0, "W, samples that a client counts for at most (weighting samples)", gt=0)
    bits: Literal[16, 32] = setting(32, "numbers are sent modulo 2^bits", choices=(16, 32))
    dropout: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0), f"simulated chance that a client is lost at each stage: {', '.join(STAGES)}", ge=0, le=1
    )

    def __post_init__(self) -> None:
        if self.neighbours % 2:
            raise ConfigError(f"{SECTION}.neighbours", self.neighbours, "must be even: as many on either side")
        if len(self.dropout) != len(STAGES):
            raise ConfigError(f"{SECTION}.dropout", list(self.dropout), f"expected {len(STAGES)} chances")


def check_combination(settings: SecureSettings, strategy: Any, mechanism: str) -> None:
    """Refuse what needs more of the updates than their weighted sum.

    Args:
        settings: of secure aggregation, on.
        strategy: settings of the strategy.
        mechanism: of differential privacy.

    Raises:
        ConfigError: names the setting and why.
    """
    if not isinstance(strategy, OuterSettings) or isinstance(strategy, FedNova):
        name = type(strategy).__name__
        raise ConfigError("strategy.name", name, "looks at every reply: secure aggregation needs one of our means")
    if not strategy.make_aggregator().linear:
        name = strategy.aggregator["name"]
        raise ConfigError("strategy.aggregator", name, "must be mean: under secure aggregation nobody sees an update")
    if mechanism == "central":
        raise ConfigError(
            "privacy.mechanism", mechanism, "must be client or local: no server can clip what it cannot see"
        )
    if strategy.cohort == 1:
        raise ConfigError("strategy.cohort", 1, "must be ≥ 2: a sum over one client is its update")
    if strategy.cohort:
        levels(strategy.cohort, settings.bits)


def check_population(attack: Attack, faults: Faults) -> None:
    """Refuse traits of a population that act on single updates on their way.

    Args:
        attack: of some of the people.
        faults: of their devices.

    Raises:
        ConfigError: names the setting and why.
    """
    if attack.omniscient:
        raise ConfigError("attack.name", type(attack).__name__, "needs everybody's update, and nobody sees another's")
    if faults.duplicate:
        raise ConfigError("faults.duplicate", faults.duplicate, "must be 0: there is no reply that could come twice")


class Ring:
    """A round's clients in a random circle; each shares its secrets with those within a distance, itself included.

    Args:
        clients: partition ids.
        neighbours: k, even, half of them on either side; 0: everybody.
        threshold: share of a neighbourhood that opens a secret; t = max(2, ⌈threshold · width⌉).
        rng: draws the circle.

    Source:
        Bell et al. 2020, ePrint 2020/704, Section 3.3 (a Harary graph under a random order).
    """

    def __init__(self, clients: Sequence[int], neighbours: int, threshold: float, rng: np.random.Generator) -> None:
        self._order: Int64[np.ndarray, " clients"] = rng.permutation(np.array(clients, dtype=np.int64))
        self._place = {client: i for i, client in enumerate(self._order.tolist())}
        self.width = min(neighbours + 1, len(clients)) if neighbours else len(clients)
        self.threshold = max(2, math.ceil(threshold * self.width))

    def around(self, client: int, present: Collection[int]) -> list[int]:
        """Those of its neighbourhood who are present, ascending."""
        places = self._place[client] - self.width // 2 + np.arange(self.width)
        return sorted(c for c in self._order[places % len(self._order)].tolist() if c in present)

    def must_hold(self, stage: str, members: Collection[int], present: Collection[int]) -> None:
        """Make sure that as many as the threshold are present around each member.

        Raises:
            ReplyError: names the stage, and the member with the fewest.
        """
        there, back = np.isin(self._order, list(present)).astype(np.int64), self.width // 2
        lapped = np.concatenate([[0], there[len(there) - back :], there, there[: self.width - 1 - back]]).cumsum()
        counts = lapped[self.width :] - lapped[: -self.width]
        counts[~np.isin(self._order, list(members))] = self.width
        fewest = int(counts.argmin())
        if not members or counts[fewest] < self.threshold:
            who = f"{counts[fewest]} are left around client {self._order[fewest]}" if members else "nobody is left"
            raise ReplyError(f"{stage}: {who}, {self.threshold} are needed")
