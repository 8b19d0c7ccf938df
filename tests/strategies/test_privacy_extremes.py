"""Plans at the edge: bounded in time and memory, and still upper bounds."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import build_config
from metapulse.settings import build
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.accounting import Release, epsilon, noise_multiplier, spent
from metapulse.strategies.privacy.plan import complete_plan, sentence
from metapulse.strategies.privacy.settings import PrivacySettings

pytestmark = pytest.mark.long

DELTA = 1e-6


@pytest.mark.parametrize("sigma", [1e-6, 0.01, 0.05])
def test_little_noise_costs_little_memory(sigma: float) -> None:
    """Losses go up to 1/2σ² = 5 · 10¹¹: a grid of 1e-4 would have 10¹⁵ steps."""
    tracemalloc.start()
    found = epsilon(Release(sigma, 100, 10_000, "poisson"), 1000, DELTA)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert math.isfinite(found)
    assert found > 1 / (2 * sigma**2)  # a person who is in one round at least, which 1 − 4e-5 of people are
    assert peak < 5e8


@pytest.mark.parametrize(("sigma", "rounds"), [(1.0, 100), (0.4, 30), (5.0, 1000)])
def test_the_closed_form_is_an_upper_bound(sigma: float, rounds: int) -> None:
    release = Release(sigma, 100, 1000, "poisson")
    assert epsilon(release, rounds, DELTA) <= accounting._bounded(((release, rounds),), DELTA)


def test_wider_steps_promise_no_less() -> None:
    release = Release(1.0, 100, 10_000, "poisson")
    fine, coarse = (epsilon(release, 100, DELTA, "pld", grid) for grid in (1e-3, 0.3))
    assert fine <= coarse


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize("target", [1e-6, 200.0])
def test_any_budget_has_its_noise(target: float, accountant: accounting.Accountant) -> None:
    release = Release(1.0, 100, 10_000, "poisson")
    sigma = noise_multiplier(release, 10, target, DELTA, accountant)
    assert epsilon(Release(sigma, 100, 10_000, "poisson"), 10, DELTA, accountant) <= target


def test_rounds_that_differ_are_composed() -> None:
    """Two halves of one plan are the whole; one Gaussian of each is one of (σ₁⁻² + σ₂⁻²)^(−1/2)."""
    one, other = Release(1.0, 50, 1000, "poisson"), Release(2.0, 50, 1000, "poisson")
    assert spent(((one, 20), (one, 20)), DELTA) == pytest.approx(epsilon(one, 40, DELTA), rel=1e-3)
    assert epsilon(one, 20, DELTA) < spent(((one, 20), (other, 20)), DELTA) < epsilon(one, 40, DELTA)
    fixed = [Release(sigma, 5, 10, "fixed") for sigma in (30.0, 40.0, 24.0)]
    assert spent(((fixed[0], 1), (fixed[1], 1)), DELTA) == pytest.approx(epsilon(fixed[2], 1, DELTA))


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.999])
def test_a_delta_that_is_no_privacy_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.delta"):
        build(PrivacySettings, {"mechanism": "central", "noise_multiplier": 1.0, "delta": delta}, "privacy")
    with pytest.raises(ConfigError, match=r"privacy\.delta"):
        PrivacySettings("central", noise_multiplier=1.0, delta=delta)


def test_a_delta_above_one_person_is_warned_of() -> None:
    loose = complete_plan(PrivacySettings("central", noise_multiplier=5.0, delta=0.01), 10, 100, 3)
    assert "not below 1/N" in sentence(loose.stated(3))
    assert not complete_plan(PrivacySettings("central", noise_multiplier=5.0, delta=0.001), 10, 100, 3).warnings


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"privacy": {"epsilon": 1.0, "delta": 1e-5, "clip": 0.5}}, r"privacy\.mechanism = 'none': must be given with"),
        ({"privacy": {"noise_multiplier": 1.0}}, r"privacy\.mechanism = .* with privacy\.noise_multiplier"),
        ({"secure_aggregation": {"bits": 16}}, r"secure_aggregation\.on = False: must be given with secure_agg"),
    ],
)
def test_what_nothing_turns_on_is_refused(section: dict[str, dict[str, object]], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        build_config(section)
    (name,) = section
    off = {"privacy": {"mechanism": "none"}, "secure_aggregation": {"on": False}}[name]
    build_config({name: section[name] | off})
