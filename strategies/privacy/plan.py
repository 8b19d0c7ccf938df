"""The privacy plan of a run, fixed before its first round: sampling, noise, and what one round costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from metapulse.errors import ConfigError
from metapulse.settings import plain
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.accounting import Release
from metapulse.strategies.privacy.adaptive import sum_noise
from metapulse.strategies.privacy.settings import PrivacySettings

SEEDED = "privacy.noise_seed: with the seed the noise can be computed and subtracted"


@dataclass(frozen=True)
class PrivacyPlan:
    """Settings with all that was left open.

    Args:
        settings: of ``[privacy]``, on.
        release: one round; its cohort is n, the denominator of every mean.
        rounds: T, how many are planned.
        first: what is released before them, people's scale (``metapulse.server.scaler``); None: nothing.
    """

    settings: PrivacySettings
    release: Release
    rounds: int
    first: Release | None = None

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
        return self.allows(1)

    def allows(self, times: int) -> int | None:
        """``allowed``, where people have been asked for their scale so many times."""
        s, most = self.settings, 2 * self.rounds
        if not s.epsilon:
            return None
        return accounting.most_rounds(self.release, s.epsilon, s.delta, s.accountant, most, self.first, times)

    @property
    def seeded(self) -> bool:
        """Whether the noise can be drawn again from the settings: then nothing is private."""
        return self.settings.noise_seed >= 0

    def epsilon(self, rounds: int, accountant: accounting.Accountant | None = None, times: int = 1) -> float:
        """ε of so many rounds; infinite, once there is one, where the noise has a seed.

        Args:
            rounds: how many, ≥ 0.
            accountant: "pld" or "rdp" (None: the settings').
            times: how often people's scale was asked for before them, where it is.
        """
        releases = accounting.after(self.first, self.release, rounds, times)
        if self.seeded and any(count for _, count in releases):
            return math.inf
        return accounting.spent(releases, self.settings.delta, accountant or self.settings.accountant)

    def stated(self, rounds: int, times: int = 1) -> dict[str, Any]:
        """What so many rounds cost, as it is written into logs and checkpoints; "inf" is ε = ∞, with the reason."""
        epsilon = self.epsilon(rounds, times=times)
        told = {"rounds": rounds, "epsilon": epsilon, "delta": self.settings.delta, "relation": self.release.relation}
        if self.first is not None:
            told["scales"] = times
        if epsilon == math.inf:
            told |= {"epsilon": "inf", "reason": SEEDED}
        return told | ({"warnings": self.warnings} if self.warnings else {})

    @property
    def warnings(self) -> list[str]:
        """What a reader of ε must be told beside it."""
        delta, people = self.settings.delta, self.release.people
        found = [SEEDED] if self.seeded else []
        if delta * people >= 1.0:
            found.append(
                f"δ = {delta:g} is not below 1/N = {1 / people:.3g}: it allows the data of one person to be released"
            )
        return found

    def record(self) -> dict[str, Any]:
        """What decides the cost of one round, and what it is a claim about."""
        s, release = self.settings, self.release
        return {
            "mechanism": s.mechanism,
            "sampling": s.sampling,
            "relation": release.relation,
            "noise_multiplier": release.sigma,
            "sum_multiplier": self.multiplier,
            "start_clip": s.clip,
            "cohort": release.cohort,
            "people": release.people,
            "rate": release.rate,
            "delta": s.delta,
            "accountant": s.accountant,
            "adaptive": s.adaptive,
            "seeded": self.seeded,
        }

    def scale_record(self) -> dict[str, Any]:
        """``record`` of what is released before the first round; {} where nothing is."""
        if (first := self.first) is None:
            return {}
        noise = {"noise_multiplier": self.release.sigma, "sum_multiplier": self.release.sigma, "adaptive": False}
        drawn = {"sampling": first.sampling, "cohort": first.cohort, "people": first.people, "rate": first.rate}
        return {**{k: v for k, v in self.record().items() if k != "start_clip"}, **noise, **drawn}

    def facts(self) -> dict[str, Any]:
        """All that a claim of privacy must say beside ε."""
        return {
            **{k: v for k, v in plain(self.settings).items() if k not in ("epsilon", "noise_seed", "people")},
            "noise_multiplier": self.release.sigma,
            "cohort": self.release.cohort,
            "people": self.release.people,
            "rate": self.release.rate,
            "planned": self.rounds,
            "limit": self.settings.epsilon or None,
            **({} if self.first is None else {"scale": self.scale_record()}),
            "relation": self.release.relation,
            "unit": "one person with all devices and samples",
            "library": accounting.package_version(),
            "analysis": accounting.analysis(self.release, max(self.rounds, 1), self.settings.accountant),
            "seeded": self.seeded,
            "warnings": self.warnings,
        }


def shown(epsilon: float | str) -> str:
    """ε as text, the same in all outputs; a bound, so rounded up."""
    value = float(epsilon)
    return "∞" if value == math.inf else f"{math.ceil(value * 1e4 - 1e-6) / 1e4:.4f}"


def sentence(spent: Mapping[str, Any]) -> str:
    """What a run has spent, for a terminal."""
    told = f"ε = {shown(spent['epsilon'])}"
    told += ", not private" if float(spent["epsilon"]) == math.inf else ""
    rounds = f"{spent['rounds']} rounds that have begun" + (", and people's scale" if spent.get("scales") else "")
    notes = "".join(f"; {warning}" for warning in spent.get("warnings", ()))
    return f"privacy: {told} at δ = {spent['delta']:g}, neighbours: {spent['relation']}, after {rounds}{notes}"


def complete_plan(settings: PrivacySettings, cohort: int, people: int, rounds: int, scaled: int = 0) -> PrivacyPlan:
    """The plan of a run.

    Args:
        settings: of ``[privacy]``, on.
        cohort: people in a round, 0: all.
        people: who may be drawn.
        rounds: T ≥ 0.
        scaled: people asked for their scale before the first round, ≤ people; 0: none.

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
    whole = scaled == people and sampling != "poisson"  # all people: the draw hides none of them
    first = Release(release.sigma, scaled, people, "none" if whole else sampling) if scaled else None
    if not release.sigma:
        sigma = accounting.noise_multiplier(release, max(rounds, 1), *given, first)
        release = Release(sigma, release.cohort, people, sampling)
        first = None if first is None else replace(first, sigma=sigma)
    if release.sigma > accounting.LARGEST:
        raise ConfigError("privacy.noise_multiplier", release.sigma, f"must be ≤ {accounting.LARGEST:g}")
    plan = PrivacyPlan(settings, release, rounds, first)
    plan.multiplier  # noqa: B018 (refuses a count that costs more than everything)
    if plan.allowed is not None and plan.allowed < rounds:
        cost = accounting.spent(accounting.after(first, release, rounds), settings.delta, settings.accountant)
        allowed = f"{rounds} rounds would spend {cost:.4g}; it allows {max(plan.allowed, 0)}"
        raise ConfigError("privacy.epsilon", settings.epsilon, allowed)
    return plan
