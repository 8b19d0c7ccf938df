"""A run's privacy, settled before its first round: who may be drawn, how much noise there is, what one round costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from client.errors import ConfigError
from client.settings import plain
from strategies.privacy import accounting
from strategies.privacy.accounting import Release
from strategies.privacy.adaptive import sum_noise
from strategies.privacy.settings import PrivacySettings


@dataclass(frozen=True)
class Plan:
    """Settings with all that was left open.

    Args:
        settings: of ``[privacy]``, on.
        release: one round; its cohort is n, the denominator of every mean.
        rounds: T, how many are planned.
    """

    settings: PrivacySettings
    release: Release
    rounds: int

    @property
    def count_noise(self) -> float:
        """σ_b of adaptive clipping."""
        return self.settings.count_noise or self.release.cohort / 20.0

    @cached_property
    def multiplier(self) -> float:
        """Noise on the sum over C: σ, or what adaptive clipping's count leaves of it."""
        return sum_noise(self.release.sigma, self.count_noise) if self.settings.adaptive else self.release.sigma

    @cached_property
    def allowed(self) -> int | None:
        """Rounds that the budget allows, also beyond those planned: a run that is resumed repeats some; None: any."""
        s = self.settings
        if not s.epsilon:
            return None
        return accounting.most_rounds(self.release, s.epsilon, s.delta, s.accountant, 2 * self.rounds)

    def stated(self, rounds: int) -> dict[str, Any]:
        """What so many rounds cost, as it is written into logs and checkpoints."""
        s = self.settings
        epsilon = accounting.epsilon(self.release, rounds, s.delta, s.accountant)
        return {"rounds": rounds, "epsilon": epsilon, "delta": s.delta}

    def facts(self) -> dict[str, Any]:
        """All that a claim of privacy must say beside ε."""
        return {
            **{k: v for k, v in plain(self.settings).items() if k not in ("epsilon", "noise_seed")},
            "noise_multiplier": self.release.sigma,
            "cohort": self.release.cohort,
            "people": self.release.people,
            "rate": self.release.rate,
            "planned": self.rounds,
            "limit": self.settings.epsilon or None,
            "relation": self.release.relation,
            "unit": "one person with all devices and samples",
            "library": accounting.package_version(),
            "seeded": self.settings.noise_seed >= 0,
        }


def settle(settings: PrivacySettings, cohort: int, people: int, rounds: int) -> Plan:
    """The plan of a run.

    Args:
        settings: of ``[privacy]``, on.
        cohort: people in a round, 0: everybody.
        people: who may be drawn.
        rounds: T ≥ 0.

    Raises:
        ConfigError: dp-accounting is not installed, the cohort is larger than the population, or the run would spend
            more than it may.
    """
    accounting.package()
    if not 0 <= cohort <= people:
        raise ConfigError("strategy.cohort", cohort, f"must be ≤ {people}, the people in meta-training")
    sampling = "none" if settings.mechanism == "local" else settings.sampling
    release = Release(settings.noise_multiplier, cohort or people, people, sampling)
    given = (settings.epsilon, settings.delta, settings.accountant)
    if not release.sigma:
        sigma = accounting.noise_multiplier(release, max(rounds, 1), *given)
        release = Release(sigma, release.cohort, people, sampling)
    plan = Plan(settings, release, rounds)
    plan.multiplier  # noqa: B018 (refuses a count that costs more than everything)
    if plan.allowed is not None and plan.allowed < rounds:
        cost = accounting.epsilon(release, rounds, settings.delta, settings.accountant)
        allowed = f"{rounds} rounds would spend {cost:.4g}; it allows {plan.allowed}"
        raise ConfigError("privacy.epsilon", settings.epsilon, allowed)
    return plan
