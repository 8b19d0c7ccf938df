"""The ``[privacy]`` section, and what may not be combined with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.settings import setting

MOST_EPSILON = 1e6  # far beyond any promise; of more, the accountants' numbers are no longer sound
MOST_DELTA = 0.1  # a person is exposed altogether with probability δ: from here on that is no privacy


@dataclass(frozen=True)
class PrivacySettings:
    """User-level differential privacy of θ; off by default."""

    paper: ClassVar[Paper] = Paper(
        "mcmahan2018learning",
        "McMahan, Ramage, Talwar and Zhang",
        2018,
        "Learning Differentially Private Recurrent Language Models",
        "1710.06963",
        "Algorithm 1",
    )

    switch: ClassVar[str] = "mechanism"

    mechanism: Literal["none", "central", "client", "local"] = setting(
        "none",
        "none: off; central: the server clips and noises the sum; client: devices clip, and each adds its part of the"
        " noise (sampling must be fixed); local: each device's update is private by itself",
    )
    clip: float = setting(1.0, "C, the longest update that counts in full, Euclidean norm of all of θ", gt=0)
    noise_multiplier: float = setting(0.0, "σ, noise over C (0: the smallest that keeps epsilon over all rounds)", ge=0)
    epsilon: float = setting(0.0, "ε that the run may spend (0: no limit)", ge=0, le=MOST_EPSILON)
    delta: float = setting(1e-6, "δ of every ε; well below 1 / people", gt=0, lt=MOST_DELTA)
    sampling: Literal["poisson", "fixed"] = setting(
        "poisson",
        "poisson: each person is in a round with probability cohort / people; fixed: exactly cohort people are",
    )
    accountant: Literal["pld", "rdp"] = setting(
        "pld",
        "whose ε is stated and enforced; under fixed sampling only rdp knows that sampling amplifies",
    )
    people: int = setting(
        0, "N that is published, which q = cohort / N is of (0: as many as there are; poisson only)", ge=0
    )
    adaptive: bool = setting(False, "C follows a quantile of the updates' norms (central only)")
    quantile: float = setting(
        0.5, "γ, share of updates that adaptive clipping leaves as they are", ge=0, le=1, used_if=("adaptive",)
    )
    clip_rate: float = setting(
        0.2, "η of adaptive clipping, log C moves by at most about this in a round", gt=0, used_if=("adaptive",)
    )
    count_noise: float = setting(
        0.0, "σ_b, noise on the number of updates within C (0: cohort / 20)", ge=0, used_if=("adaptive",)
    )
    noise_seed: int = setting(
        -1, "address of noise and sampling, for tests: ε = ∞ (-1: the operating system's randomness)", ge=-1
    )

    def __post_init__(self) -> None:
        if not self.on:
            return
        if not (self.noise_multiplier or self.epsilon):
            raise ConfigError("privacy.noise_multiplier", 0.0, "it or privacy.epsilon must be > 0")
        if self.mechanism == "client" and self.sampling == "poisson":
            raise ConfigError(
                "privacy.sampling",
                "poisson",
                "must be fixed for the mechanism client: the devices' noise adds up to what was planned only if as many"
                " take part as was planned",
            )
        if not self.delta < MOST_DELTA:
            raise ConfigError("privacy.delta", self.delta, f"must be < {MOST_DELTA}")
        if self.people and (self.sampling != "poisson" or self.mechanism != "central"):
            raise ConfigError("privacy.people", self.people, "needs the mechanism central with sampling poisson")
        if self.adaptive and self.mechanism != "central":
            raise ConfigError("privacy.adaptive", True, f"needs the mechanism central, not {self.mechanism}")

    @property
    def on(self) -> bool:
        """Whether there is any privacy."""
        return self.mechanism != "none"


def check_privacy_combination(strategy: Any, scenarios: tuple[str, ...]) -> None:
    """Refuse what would make a claim of privacy untrue.

    Raises:
        ConfigError: names the setting and why.
    """
    if not strategy.only_mean:
        name = type(strategy).__name__
        raise ConfigError("strategy.name", name, "no sensitivity is known for it: privacy needs one of our means")
    if not strategy.linear:
        name = strategy.aggregator["name"]
        raise ConfigError(
            "strategy.aggregator", name, "must be mean: one person moves any other by more than C / cohort"
        )
    if strategy.weighting != "uniform":
        raise ConfigError("strategy.weighting", strategy.weighting, "must be uniform: what a person weighs is private")
    if strategy.min_replies != 1:
        raise ConfigError("strategy.min_replies", strategy.min_replies, "must be 1: how many replied is private")
    if "known_user" in scenarios:
        raise ConfigError("evaluation.scenarios", "known_user", "would release scores of people of the training")
