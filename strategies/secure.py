"""Secure aggregation on the coordinator: its settings, what it can be combined with, and what they take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from metapulse.client.secure.quantise import STAGES, levels
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.ring import SMALL, Ring, Risk
from metapulse.trees import Params

SECTION = "secure_aggregation"
MOST_BAD = 0.9  # of a cohort, corrupt or lost, beyond which no circle is of use


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

    switch: ClassVar[str] = "on"

    on: bool = setting(False, "SecAgg+ around every round; the strategy must use no more than a mean")
    security: float = setting(40.0, "σ: what is promised fails with probability 2^−σ at most", gt=0, le=128)
    corrupt: float = setting(0.1, "γ, share of the cohort that may collude with the server", ge=0, lt=1)
    drop_out: float = setting(0.3, "δ, share of the cohort that may be lost in a round", ge=0, lt=1)
    neighbours: int = setting(
        0, "k, clients that each client shares its secrets with, even (0: as many as σ, γ and δ take)", ge=0
    )
    threshold: float = setting(
        0.0, "share of them, itself included, that opens a secret (0: as σ, γ and δ take)", ge=0, le=1
    )
    range: float = setting(8.0, "R, numbers of an update are clipped to [−R, R]", gt=0)
    max_weight: float = setting(1000.0, "W, samples that a client counts for at most (weighting samples)", gt=0)
    bits: Literal[16, 32] = setting(32, "numbers are sent modulo 2^bits")
    dropout: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0), f"simulated chance that a client is lost at each stage: {', '.join(STAGES)}", ge=0, le=1
    )

    def __post_init__(self) -> None:
        if self.neighbours % 2:
            raise ConfigError(f"{SECTION}.neighbours", self.neighbours, "must be even: as many on either side")
        if len(self.dropout) != len(STAGES):
            raise ConfigError(f"{SECTION}.dropout", list(self.dropout), f"expected {len(STAGES)} chances")
        if self.corrupt + self.drop_out > MOST_BAD:
            raise ConfigError(f"{SECTION}.corrupt", self.corrupt, f"with drop_out must be ≤ {MOST_BAD}")

    def risk(self, clients: int) -> Risk:
        """What a round of so many clients is to withstand."""
        return Risk.of(clients, self.corrupt, self.drop_out, self.security)


def check_secure_combination(settings: SecureSettings, strategy: Any, mechanism: str) -> None:
    """Refuse what needs more of the updates than their weighted sum.

    Raises:
        ConfigError: names the setting and why.
    """
    if not strategy.only_mean:
        name = type(strategy).__name__
        raise ConfigError("strategy.name", name, "looks at every reply: secure aggregation needs one of our means")
    if not strategy.linear:
        name = strategy.aggregator["name"]
        raise ConfigError("strategy.aggregator", name, "must be mean: under secure aggregation no party sees an update")
    if mechanism == "central":
        raise ConfigError(
            "privacy.mechanism", mechanism, "must be client or local: no server can clip what it cannot see"
        )
    if strategy.cohort == 1:
        raise ConfigError("strategy.cohort", 1, "must be ≥ 2: a sum over one client is its update")
    if strategy.cohort:
        check_size(settings, strategy.cohort)


def make_ring(settings: SecureSettings, clients: Sequence[int], rng: np.random.Generator) -> Ring:
    """The circle of a round: neighbours and threshold as given, and more where so many clients take more.

    Args:
        clients: partition ids.
        rng: draws the circle.
    """
    risk = settings.risk(max(1, len(clients)))
    k = max(_neighbours(settings, risk), risk.neighbours() if risk.clients > SMALL else 0)
    return Ring(clients, risk, k, max(_threshold(settings, risk, k), risk.thresholds(k)[0]), rng)


def check_size(settings: SecureSettings, clients: int) -> None:
    """Refuse settings that do not give so many clients the security that is asked for.

    Args:
        clients: n, of a round.

    Raises:
        ConfigError: names the setting and the bound.
    """
    levels(clients, settings.bits)
    risk = settings.risk(clients)
    k, least = _neighbours(settings, risk), risk.neighbours()
    what = f"{clients} clients of whom {risk.corrupt} collude and {risk.lost} are lost, {risk.security:g} bits"
    if k < least:
        raise ConfigError(f"{SECTION}.neighbours", k, f"must be ≥ {least} (or 0, which chooses) for {what}")
    (safe, most), width = risk.thresholds(k), min(k + 1, clients)
    if safe > min(most, width):
        raise ConfigError(f"{SECTION}.drop_out", settings.drop_out, f"no threshold is safe and opens for {what}")
    if (t := _threshold(settings, risk, k)) < safe:
        why = f"{t} of {width} open; must be ≥ {safe / width:.3g} (or 0, which chooses) for {what}"
        raise ConfigError(f"{SECTION}.threshold", settings.threshold, why)


def check_step(settings: SecureSettings, clients: int, theta: Params, rate: float) -> None:
    """Refuse whole numbers so coarse that rounding alone moves θ by more than its own size in one round.

    With weights as large as they may be, rounding adds R/(2 L √n) to each number of the mean (standard deviation).

    Args:
        clients: n, of a round.
        theta: θ_0; one that is zero tells nothing.
        rate: by which the mean is multiplied before it is taken off θ.

    Raises:
        ConfigError: names the range, and both sizes.
    """
    numbers = torch.cat([p.reshape(-1).double() for p in theta.values()])
    size = float(numbers.square().mean().sqrt())
    error = rate * settings.range / (2 * levels(clients, settings.bits) * math.sqrt(clients))
    if error > size > 0:
        what = f"with {settings.bits} bits and {clients} clients rounding alone moves each number of θ by {error:.2g}"
        raise ConfigError(
            f"{SECTION}.range", settings.range, f"must be smaller: {what} in a round, and it is {size:.2g}"
        )


def _neighbours(settings: SecureSettings, risk: Risk) -> int:
    others = risk.clients - 1
    chosen = others if risk.clients <= SMALL else risk.neighbours()
    return min(others, settings.neighbours or chosen)


def _threshold(settings: SecureSettings, risk: Risk, neighbours: int) -> int:
    if settings.threshold:
        return max(2, math.ceil(settings.threshold * min(neighbours + 1, risk.clients)))
    return risk.threshold(neighbours)
