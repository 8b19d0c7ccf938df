"""What noise costs, against other accountants and closed forms."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace

import pytest
from scipy.stats import norm

from metapulse.errors import ConfigError
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.accounting import Release, after, epsilon, most_rounds, noise_multiplier, spent
from metapulse.strategies.privacy.plan import complete_plan
from metapulse.strategies.privacy.settings import PrivacySettings

DELTA = 1e-6
POISSON = Release(1.0, 100, 10_000, "poisson")
FIXED = Release(2.0, 100, 10_000, "fixed")


def test_the_figure_everybody_quotes() -> None:
    """q 0.01, σ 1, T 1000, δ 1e-6."""
    assert epsilon(POISSON, 1000, DELTA) == pytest.approx(2.125, abs=0.002)


def test_another_accountant_agrees_within_its_error() -> None:
    """prv-accountant (Gopi, Lee and Wutschitz 2021, arXiv:2106.02848) brackets ε from both sides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        from prv_accountant import PoissonSubsampledGaussianMechanism, PRVAccountant

        one = PoissonSubsampledGaussianMechanism(sampling_probability=0.01, noise_multiplier=1.0)
        other = PRVAccountant(prvs=one, max_self_compositions=1000, eps_error=0.005, delta_error=1e-10)
        low, _, high = other.compute_epsilon(delta=DELTA, num_self_compositions=[1000])
    assert low <= epsilon(POISSON, 1000, DELTA) <= high


def test_the_rougher_accountant_never_promises_more() -> None:
    for release in (POISSON, Release(0.8, 50, 1000, "poisson"), Release(5.0, 1000, 1000, "poisson")):
        assert epsilon(release, 100, DELTA) <= epsilon(release, 100, DELTA, "rdp")


def gaussian_delta(sigma: float, eps: float) -> float:
    """δ(ε) of one Gaussian of noise σ times the sensitivity: Balle and Wang 2018, arXiv:1805.06530, Theorem 8."""
    a, b = 1 / (2 * sigma), eps * sigma
    return float(norm.cdf(a - b) - math.exp(eps) * norm.cdf(-a - b))


@pytest.mark.parametrize(
    ("release", "factor"), [(Release(40.0, 9, 9, "poisson"), 1.0), (Release(40.0, 9, 9, "none"), 0.5)]
)
def test_rounds_of_everybody_are_one_gaussian(release: Release, factor: float) -> None:
    """T rounds of σ are one of σ/√T; a replacement moves the sum by 2C, so that σ counts half."""
    eps = epsilon(release, 100, DELTA)
    assert gaussian_delta(40.0 * factor / 10.0, eps) == pytest.approx(DELTA, rel=0.01)


def test_fixed_sampling_is_accounted_as_replacement_and_amplifies_for_renyi_divergences_alone() -> None:
    pld, rdp = (epsilon(FIXED, 1000, DELTA, name) for name in ("pld", "rdp"))
    assert FIXED.relation == accounting.REPLACE
    assert pld == epsilon(replace(FIXED, sampling="none"), 1000, DELTA)
    assert epsilon(POISSON, 1000, DELTA, "rdp") < rdp < pld  # σ/2 = 1 here, and a neighbour that is replaced
    assert rdp == pytest.approx(4.021, abs=0.001)  # dp-accounting's SampledWithoutReplacementDpEvent(10000, 100, σ = 1)


def test_one_more_round_costs_more_and_no_round_costs_nothing() -> None:
    costs = [epsilon(POISSON, rounds, DELTA) for rounds in (0, 1, 2, 50, 51)]
    assert costs[0] == 0.0
    assert costs == sorted(set(costs))


@pytest.mark.parametrize("release", [POISSON, Release(1.0, 20, 20, "none")])
@pytest.mark.parametrize("target", [0.3, 1.0])
def test_calibration_inverts_accounting(release: Release, target: float) -> None:
    sigma = noise_multiplier(release, 60, target, DELTA, "pld")
    found = epsilon(replace(release, sigma=sigma), 60, DELTA)
    assert target * 0.995 <= found <= target


def test_calibration_finds_the_noise_everybody_quotes() -> None:
    assert noise_multiplier(POISSON, 1000, 2.1245, DELTA, "pld") == pytest.approx(1.0, abs=1e-3)


def test_the_most_rounds_are_affordable_and_one_more_is_not() -> None:
    most = most_rounds(POISSON, 1.0, DELTA, "pld", 400)
    assert epsilon(POISSON, most, DELTA) <= 1.0 < epsilon(POISSON, most + 1, DELTA)


@pytest.mark.parametrize(
    ("sampling", "sigma", "limit"), [("fixed", 20.0, 1.45), ("poisson", 1.0, 5.2), ("poisson", 1.0, 0.5)]
)
def test_what_is_released_before_the_rounds_counts_in_how_many_are_left(
    sampling: str, sigma: float, limit: float
) -> None:
    """By the same accountant, exactly: the last round is affordable, and one more is not."""
    release, first = Release(sigma, 100, 10_000, sampling), Release(sigma, 10_000, 10_000, sampling)
    for times in (1, 2):

        def cost(rounds: int, times: int = times) -> float:
            return spent(after(first, release, rounds, times), DELTA, "pld")

        most = most_rounds(release, limit, DELTA, "pld", 2000, first, times)
        assert most == -1 or cost(most) <= limit
        assert most == 2000 or cost(most + 1) > limit


def settings(**given: object) -> PrivacySettings:
    return PrivacySettings(**{"mechanism": "central", **given})  # type: ignore[arg-type]


def test_a_plan_that_would_overspend_is_refused_with_what_it_allows() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.epsilon = 1\.0: 1000 rounds would spend 2\.125; it allows \d+"):
        complete_plan(settings(noise_multiplier=1.0, epsilon=1.0), 100, 10_000, 1000)
    assert complete_plan(settings(noise_multiplier=1.0, epsilon=2.13), 100, 10_000, 1000).release.sigma == 1.0


def test_a_plan_finds_the_noise_that_is_left_open() -> None:
    plan = complete_plan(settings(epsilon=2.0), 100, 10_000, 50)
    assert plan.stated(50)["epsilon"] == pytest.approx(2.0, rel=0.005)
    assert plan.allowed is not None
    assert plan.allowed >= 50


def test_a_cohort_of_zero_is_everybody_and_a_larger_one_than_there_are_is_refused() -> None:
    assert complete_plan(settings(noise_multiplier=1.0), 0, 30, 2).release.rate == 1.0
    with pytest.raises(ConfigError, match=r"strategy\.cohort = 31: must be ≤ 30, the people"):
        complete_plan(settings(noise_multiplier=1.0), 31, 30, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"privacy\.noise_multiplier = 0\.0: it or privacy\.epsilon"),
        ({"mechanism": "client", "noise_multiplier": 1.0}, r"privacy\.sampling = 'poisson': must be fixed"),
        ({"mechanism": "local", "noise_multiplier": 1.0, "adaptive": True}, r"privacy\.adaptive = True: needs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**given)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match=r"needs dp-accounting: pip install 'metapulse\[privacy\]'"):
        complete_plan(settings(noise_multiplier=1.0), 100, 10_000, 5)
