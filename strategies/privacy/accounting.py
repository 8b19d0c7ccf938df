"""Privacy accounting: (ε, δ) of a number of rounds, the noise that a budget needs, the rounds that it allows.

dp-accounting (an extra: ``pip install 'metapulse[privacy]'``) does the mathematics; here stands which of its analyses
is true of which way to draw people, in which units it wants the noise, and how finely losses are told apart.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any, Literal

import numpy as np

from metapulse.errors import ConfigError

Accountant = Literal["pld", "rdp"]
ADD_OR_REMOVE, REPLACE = "add or remove one person", "replace one person"
FINE, COARSE = 1e-4, 1e-3  # grids of privacy losses: for what is stated, and, ten times as fast, for searches
STEPS = 2**21  # at most so many steps of a grid: 16 MiB a distribution, seconds of computing
MANY = 10**7  # rounds; for more of them a grid's own error is larger than what it finds
WIDEST = 1.0  # of a step: where losses are larger than such grids hold, amplification is bounded in closed form
TAIL = 1e-20  # probability of losses that no grid has to reach
SMALLEST, LARGEST = 1e-4, 1e7  # noise multipliers that are looked at
AMPLIFIED = 0.5  # σ below which being drawn seldom helps little


@dataclass(frozen=True)
class Release:
    """One round, as an accountant knows it: a Gaussian of σC around a sum in which each person counts for C at most.

    Args:
        sigma: σ > 0, noise over C.
        cohort: people in a round, expected or exactly, ≥ 1.
        people: who could be in it, ≥ cohort.
        sampling: "poisson": each with probability cohort / people by himself; "fixed": exactly cohort of them;
            "none": a draw that is seen together with the release (local privacy).
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

        Replacing a person moves the sum by 2C, so that σ protects half as well.
        """
        return ADD_OR_REMOVE if self.sampling == "poisson" else REPLACE


#: Releases and how many of each.
Spent = tuple[tuple[Release, int], ...]


@lru_cache(maxsize=256)
def epsilon(release: Release, rounds: int, delta: float, accountant: Accountant = "pld", grid: float = FINE) -> float:
    """The smallest ε for which so many rounds together are shown to be (ε, δ)-private; an upper bound.

    "pld" composes privacy loss distributions, rounded upwards; "rdp" adds Rényi divergences, and is looser. Fixed
    sampling amplifies for "rdp" alone (Wang, Balle and Kasiviswanathan 2019): no distribution is known to dominate it,
    and "pld" then is T rounds of all people, one Gaussian of σ/√T (Balle and Wang 2018), exactly.

    Args:
        rounds: how many, ≥ 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        grid: width of a step of the losses ("pld"); wider where there would be more than STEPS of them.

    Raises:
        ConfigError: dp-accounting is not installed.

    Source:
        Koskela, Jälkö and Honkela 2020, arXiv:1906.03049; Mironov, Talwar and Zhang 2019, arXiv:1908.10530; Wang,
        Balle and Kasiviswanathan 2019, arXiv:1808.00087, Theorem 27; Balle and Wang 2018, arXiv:1805.06530, Theorem 8.
    """
    return spent(((release, rounds),), delta, accountant, grid)


@lru_cache(maxsize=256)
def spent(releases: Spent, delta: float, accountant: Accountant = "pld", grid: float = FINE) -> float:
    """``epsilon`` of rounds that need not be alike, all with the same neighbours.

    Args:
        releases: each with how many there were.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        grid: as for ``epsilon``.
    """
    some = tuple((release, count) for release, count in releases if count)
    if not some:
        return 0.0
    with np.errstate(all="ignore"):  # of losses beyond the range of numbers, which are taken for infinite
        return _spent(some, delta, accountant, grid)


def _spent(some: Spent, delta: float, accountant: Accountant, grid: float) -> float:
    if accountant == "pld" and some[0][0].relation == REPLACE:
        return _gaussian(0.5 / math.sqrt(sum(count / r.sigma**2 for r, count in some)), delta)
    if accountant == "rdp":
        made = _rdp(some[0][0])
        for release, count in some:
            made.compose(_event(release), count)
        return float(made.get_epsilon(delta))
    step = max(_step(release, count, grid) for release, count in some)
    if step > WIDEST or max(count for _, count in some) > MANY:
        return min(_bounded(some, delta), spent(some, delta, "rdp"))
    parts = [_losses(release, step).self_compose(count) for release, count in some]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.compose(part)
    return float(whole.get_epsilon_for_delta(delta))


def analysis(release: Release, rounds: int, accountant: Accountant) -> str:
    """How ``epsilon`` is found, in words."""
    if accountant == "rdp":
        return "Rényi divergences"
    if release.relation == REPLACE:
        return "one Gaussian, exactly"
    step = _step(release, rounds, FINE)
    if step > WIDEST or rounds > MANY:
        return "closed-form upper bound: too much for a grid of losses"
    return f"privacy loss distributions in steps of {step:.3g}"


def _step(release: Release, rounds: int, grid: float) -> float:
    """Width of a step: the grid asked for, or as many times wider as the losses of all rounds need.

    Losses lie within two ε at a δ that is beyond notice: by the number of rounds that a person is in, or by Rényi
    divergences, which are slower and closer.
    """
    reach = 2.0 * _bounded(((release, rounds),), TAIL)
    if reach > grid * STEPS:
        made = _rdp(release)
        made.compose(_event(release), rounds)
        reach = min(reach, 2.0 * float(made.get_epsilon(TAIL)))
    return grid if reach <= grid * STEPS else reach / (STEPS // 2)


def _bounded(releases: Spent, delta: float) -> float:
    """ε without a grid: a person is in k rounds at most, but with probability δ/2; these are one Gaussian, at δ/2.

    Given the rounds that a person is in, the others say nothing of him, and k Gaussians are one of σ/√k. Probabilities
    average over coins, and (ε, δ/2) holds for each outcome of them that has no more than k heads.
    """
    heads = [_most_heads(count, release.rate, delta / (2 * len(releases))) for release, count in releases]
    weight = sum(k / release.sigma**2 for k, (release, _) in zip(heads, releases, strict=True))
    return _gaussian(1.0 / math.sqrt(weight), delta / 2) if weight else 0.0


def _most_heads(coins: int, rate: float, tail: float) -> int:
    """The smallest k ≥ nq with exp(−n KL(k/n ‖ q)) ≤ tail: more heads have at most that probability (Chernoff 1952)."""

    def unlikely(k: int) -> bool:
        share = k / coins
        rest = (1.0 - share) * math.log((1.0 - share) / (1.0 - rate)) if share < 1.0 else 0.0
        return coins * (share * math.log(share / rate) + rest) >= -math.log(tail)

    if rate == 1.0:
        return coins
    return bisect_left(range(coins), True, lo=min(math.ceil(coins * rate) or 1, coins), key=unlikely)


def _gaussian(sigma: float, delta: float) -> float:
    """ε of one Gaussian of σ times what a neighbour moves."""
    if sigma < SMALLEST / 100:  # beyond what roots are found of; ε ≤ 1/2σ² + √(2 ln(1/δ))/σ
        return 0.5 / sigma**2 + math.sqrt(2.0 * math.log(1.0 / delta)) / sigma
    return float(package().get_epsilon_gaussian(sigma, delta))


def noise_multiplier(
    release: Release, rounds: int, target: float, delta: float, accountant: Accountant, first: Release | None = None
) -> float:
    """The smallest σ (to 1e-4 of it) with which so many rounds are (ε, δ)-private.

    Args:
        release: one round; its σ does not matter.
        rounds: ≥ 1.
        target: ε > 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        first: what is released once, before them, with the same σ.

    Raises:
        ConfigError: no σ up to LARGEST does.
    """

    @cache
    def cost(sigma: float, grid: float = COARSE) -> float:
        return spent(after(first, replace(release, sigma=sigma), rounds), delta, accountant, grid)

    guess = _gaussian_noise(release, rounds + (first is not None), target, delta)
    if accountant == "pld" and release.relation == REPLACE:
        return guess
    amplified = max(guess * release.rate, min(guess, AMPLIFIED))
    sigma = _smallest(cost, target, amplified)
    while cost(sigma, FINE) > target:
        sigma *= 1.0 + 1e-4
    return sigma


def _gaussian_noise(release: Release, rounds: int, target: float, delta: float) -> float:
    """σ of as many rounds with all people, exactly."""
    moved = 2.0 if release.relation == REPLACE else 1.0
    return moved * math.sqrt(rounds) * float(package().get_sigma_gaussian(target, delta)) * (1.0 + 1e-9)


def _smallest(cost: Callable[[float], float], target: float, enough: float) -> float:
    """The smallest σ, to 1e-4 of it, that costs no more: halve until it is too little, then close in on it.

    Args:
        cost: ε of a σ, falling.
        target: ε.
        enough: a σ that is about large enough.
    """
    while cost(enough) > target:
        enough *= 2.0
        if enough > LARGEST:
            raise ConfigError("privacy.epsilon", target, f"no noise multiplier up to {LARGEST:g} keeps it")
    little = enough / 2.0
    while little > SMALLEST and cost(little) <= target:
        enough, little = little, little / 2.0
    high, low = (math.log(max(cost(s), 1e-300) / target) for s in (enough, little))
    side = 0
    while enough > little * (1.0 + 1e-4) and high < 0.0 < low:  # false position, the end that stays weighted down
        share = min(max(low / (low - high), 0.02), 0.98)
        middle = little * (enough / little) ** share
        value = math.log(max(cost(middle), 1e-300) / target)
        if value <= 0:
            enough, high, low, side = middle, value, low / (2.0 if side > 0 else 1.0), 1
        else:
            little, low, high, side = middle, value, high / (2.0 if side < 0 else 1.0), -1
    return enough


def after(first: Release | None, release: Release, rounds: int, times: int = 1) -> Spent:
    """So many rounds, and before them what is released with their σ, once or, after a kill, again."""
    before = () if first is None else ((replace(first, sigma=release.sigma), times),)
    return (*before, (release, rounds))


def most_rounds(
    release: Release,
    target: float,
    delta: float,
    accountant: Accountant,
    limit: int,
    first: Release | None = None,
    times: int = 1,
) -> int:
    """The largest number of rounds up to ``limit`` that are (ε, δ)-private; −1 where ``first`` alone is not.

    Args:
        target: ε > 0.
        delta: δ in (0, 1).
        accountant: "pld" or "rdp".
        limit: ≥ 0.
        first: what is released before them.
        times: how often.
    """

    def last(low: int, high: int, grid: float) -> int:
        more = range(low + 1, high + 1)
        return low + bisect_right(
            more, target, key=lambda n: spent(after(first, release, n, times), delta, accountant, grid)
        )

    if first is not None and spent(after(first, release, 0, times), delta, accountant) > target:
        return -1

    rough = last(0, limit, COARSE)
    if accountant == "rdp":
        return rough
    low, step = rough, 1  # a coarse grid states more: the answer is this or a few more
    while low < limit and spent(after(first, release, min(low + step, limit), times), delta, accountant) <= target:
        low, step = min(low + step, limit), 2 * step
    return last(low, min(low + step, limit) - 1, FINE) if low < limit else low


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
    """dp-accounting; it takes seconds to import, so it is imported when it is needed.

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
