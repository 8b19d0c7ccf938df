"""What noise costs: (ε, δ) of a number of rounds, the noise that a budget needs, the rounds that it allows.

dp-accounting (an extra: ``pip install 'metapulse[privacy]'``) does the mathematics; here stands which of its analyses
is true of which way to draw people, and in which units it wants the noise.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any, Literal

from client.errors import ConfigError

Accountant = Literal["pld", "rdp"]
ADD_OR_REMOVE, REPLACE = "add or remove one person", "replace one person"
FINE, COARSE = 1e-4, 1e-3  # grids of privacy losses: for what is stated, and, ten times as fast, for searches


@dataclass(frozen=True)
class Release:
    """One round, as an accountant knows it: a Gaussian of σC around a sum in which each person counts for C at most.

    Args:
        sigma: σ > 0, noise over C.
        cohort: people in a round, expected or exactly, ≥ 1.
        people: who could be in it, ≥ cohort.
        sampling: "poisson": each with probability cohort / people by himself; "fixed": exactly cohort of them;
            "none": a draw that whoever sees the release also sees (local privacy).
    """

    sigma: float
    cohort: int
    people: int
    sampling: Literal["poisson", "fixed", "none"]

    @property
    def rate(self) -> float:
        """q = cohort / people."""
        return self.cohort / self.people

    @property
    def relation(self) -> str:
        """Which two populations are to be indistinguishable; where numbers are fixed, only a replacement makes sense.

        Replacing somebody moves the sum by 2C, so that σ protects half as well.
        """
        return ADD_OR_REMOVE if self.sampling == "poisson" else REPLACE


@lru_cache(maxsize=256)
def epsilon(release: Release, rounds: int, delta: float, accountant: Accountant = "pld", grid: float = FINE) -> float:
    """The smallest ε for which so many rounds together are shown to be (ε, δ)-private; an upper bound.

    "pld" composes privacy loss distributions, rounded upwards; "rdp" adds Rényi divergences, and is looser. Fixed
    sampling amplifies for "rdp" alone (Wang, Balle and Kasiviswanathan 2019): no distribution is known to dominate it,
    and "pld" then is T rounds of everybody, one Gaussian of σ/√T (Balle and Wang 2018), exactly.

    Args:
        release: one round.
        rounds: how many, ≥ 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        grid: width of a step of the losses ("pld").

    Raises:
        ConfigError: dp-accounting is not installed.

    Source:
        Koskela, Jälkö and Honkela 2020, arXiv:1906.03049; Mironov, Talwar and Zhang 2019, arXiv:1908.10530; Wang,
        Balle and Kasiviswanathan 2019, arXiv:1808.00087, Theorem 27; Balle and Wang 2018, arXiv:1805.06530, Theorem 8.
    """
    if rounds == 0:
        return 0.0
    if accountant == "pld" and release.relation == REPLACE:
        return float(package().get_epsilon_gaussian(release.sigma / (2.0 * math.sqrt(rounds)), delta))
    if accountant == "pld":
        return float(_losses(release, grid).self_compose(rounds).get_epsilon_for_delta(delta))
    made = _rdp(release)
    made.compose(_event(release), rounds)
    return float(made.get_epsilon(delta))


def noise_multiplier(release: Release, rounds: int, target: float, delta: float, accountant: Accountant) -> float:
    """The smallest σ (to 1e-4 of it) with which so many rounds are (ε, δ)-private.

    Args:
        release: one round; its σ does not matter.
        rounds: ≥ 1.
        target: ε > 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
    """
    dp = package()
    if accountant == "pld" and release.relation == REPLACE:
        return 2.0 * math.sqrt(rounds) * float(dp.get_sigma_gaussian(target, delta)) * (1.0 + 1e-9)

    def calibrated(make: Any, bracket: Any, tolerance: float) -> float:
        def event(sigma: float) -> Any:
            return dp.SelfComposedDpEvent(_event(replace(release, sigma=sigma)), rounds)

        return float(dp.calibrate_dp_mechanism(make, event, target, delta, bracket, tol=tolerance))

    rough = calibrated(lambda: _rdp(release), dp.LowerEndpointAndGuess(0.1, 1.0), 1e-4)
    if accountant == "rdp":
        return rough

    def fresh() -> Any:
        return dp.pld.PLDAccountant(value_discretization_interval=COARSE)

    return calibrated(fresh, dp.ExplicitBracketInterval(0.5 * rough, 1.1 * rough), 1e-4 * rough)


def most_rounds(release: Release, target: float, delta: float, accountant: Accountant, limit: int) -> int:
    """The largest number of rounds up to ``limit`` that are (ε, δ)-private.

    Args:
        release: one round.
        target: ε > 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        limit: ≥ 0.
    """

    def last(low: int, high: int, grid: float) -> int:
        more = range(low + 1, high + 1)
        return low + bisect_right(more, target, key=lambda n: epsilon(release, n, delta, accountant, grid))

    rough = last(0, limit, COARSE)
    return rough if accountant == "rdp" else last(rough, min(limit, rough + rough // 50 + 1), FINE)


@lru_cache(maxsize=8)
def _losses(release: Release, grid: float) -> Any:
    """Privacy loss distribution of one Poisson-sampled round, rounded upwards to a grid."""
    make = package().pld.privacy_loss_distribution.from_gaussian_mechanism
    return make(release.sigma, sampling_prob=release.rate, value_discretization_interval=grid)


def _event(release: Release) -> Any:
    """One round in dp-accounting's words; its noise is over what a neighbour moves the sum by."""
    dp = package()
    if release.relation != REPLACE:
        return dp.PoissonSampledDpEvent(release.rate, dp.GaussianDpEvent(release.sigma))
    gaussian = dp.GaussianDpEvent(release.sigma / 2.0)
    if release.sampling == "none":
        return gaussian
    return dp.SampledWithoutReplacementDpEvent(release.people, release.cohort, gaussian)


def _rdp(release: Release) -> Any:
    dp = package()
    relations = dp.NeighboringRelation
    relation = relations.REPLACE_ONE if release.relation == REPLACE else relations.ADD_OR_REMOVE_ONE
    return dp.rdp.RdpAccountant(neighboring_relation=relation)


def package() -> ModuleType:
    """dp-accounting; it takes seconds to import, so nobody does before it is needed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import dp_accounting
        import dp_accounting.pld.privacy_loss_distribution
    except ImportError:
        raise ConfigError("privacy.mechanism", "on", "needs dp-accounting: pip install 'metapulse[privacy]'") from None
    logging.getLogger("absl").setLevel(logging.ERROR)  # it tells which Rényi orders it leaves out
    return dp_accounting


def package_version() -> str:
    """Which release of dp-accounting states the figures."""
    return f"dp-accounting {version('dp-accounting')}"
