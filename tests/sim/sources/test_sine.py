"""Sine tasks: the three published formulas, their parameter ranges, and addressing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Source, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES
from metapulse.rng import generator
from metapulse.sim.sources.sine import Sine

VARIANTS = ("finn", "meta_sgd", "reptile")


def fit(x, y, omega):
    """Least squares of y on sin(ωx), cos(ωx): coefficients (A cos φ, A sin φ) and largest residual."""
    basis = np.stack([np.sin(omega * x), np.cos(omega * x)], 1)
    coefficients, *_ = np.linalg.lstsq(basis, y, rcond=None)
    return coefficients, np.abs(basis @ coefficients - y).max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_a_source_that_the_registry_builds(variant):
    source = SOURCES.make({"name": "sine", "variant": variant, "clients": 3})
    assert isinstance(source, Source)
    assert len(source) == source.users == 3
    assert source.devices == ("sine",)
    for i in range(3):
        who = source.client(i)
        assert (who.index, who.user, who.device) == (i, i, "sine")
        assert list(source.clients_of(i)) == [i]
        samples = check_samples(source.samples(i), source.task, who.label)
        assert samples.x.dtype == samples.y.dtype == np.float32
        assert samples.y.shape == (len(samples), 1)
        assert len(set(samples.group)) == len(samples)
        assert not samples.held_out.any()


@pytest.mark.parametrize(("variant", "phase_end", "sign"), [("finn", math.pi, -1), ("reptile", 2 * math.pi, 1)])
def test_samples_lie_on_one_sine_whose_parameters_fill_the_published_ranges(variant, phase_end, sign):
    source = Sine(variant=variant, points=50)
    amplitudes, phases = [], []
    for i in range(400):
        samples = source.samples(i)
        (sine, cosine), residual = fit(samples.x[:, 0].astype(float), samples.y[:, 0].astype(float), 1.0)
        assert residual < 2e-6  # float32 rounding of x and y, |y| ≤ 5
        amplitudes.append(math.hypot(sine, cosine))
        phases.append(math.atan2(sign * cosine, sine) % (2 * math.pi))
    # U[a, b] of 400 draws: mean within 4 standard errors (b − a)/√(12·400), extremes near the ends.
    for values, low, high in ((amplitudes, 0.1, 5.0), (phases, 0.0, phase_end)):
        assert abs(np.mean(values) - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 400)
        assert low - 1e-5 <= min(values) < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < max(values) <= high + 1e-5


def test_meta_sgd_draws_a_frequency_between_0_8_and_1_2():
    grid = np.linspace(0.8, 1.2, 401)
    best = []
    for i in range(60):
        samples = Sine(variant="meta_sgd", points=60).samples(i)
        x, y = samples.x[:, 0].astype(float), samples.y[:, 0].astype(float)
        residuals = [fit(x, y, omega)[1] for omega in grid]
        # Half a grid step away: |∂y/∂ω| ≤ A |x| ≤ 25, so 25 · .0005 bounds the misfit.
        assert min(residuals) < 0.0125
        best.append(grid[int(np.argmin(residuals))])
    assert min(best) < 0.85
    assert max(best) > 1.15
    assert abs(np.mean(best) - 1.0) < 4 * 0.4 / math.sqrt(12 * 60)


def test_reptile_always_has_its_fifty_points():
    expected = np.linspace(-5, 5, 50).astype(np.float32)
    for i in (0, 7):
        assert np.array_equal(Sine(variant="reptile", points=3).samples(i).x[:, 0], expected)


def test_inputs_are_uniform_on_minus_five_to_five():
    x = np.concatenate([Sine().samples(i).x for i in range(1000)])
    histogram, _ = np.histogram(x, bins=10, range=(-5, 5))
    assert histogram.sum() == 10_000
    assert np.abs(histogram - 1000).max() < 4 * 30  # 4 binomial standard deviations, √(10⁴ · .1 · .9) = 30


def test_the_draws_are_the_documented_ones():
    # u = (amplitude, phase, frequency, points …) from the client's own address, each mapped to its range.
    u = generator(4, "sine", client=123_456).random(13)
    samples = Sine(seed=4).samples(123_456)
    x = 10 * u[3:] - 5
    assert np.array_equal(samples.x[:, 0], x.astype(np.float32))
    assert np.allclose(samples.y[:, 0], (0.1 + 4.9 * u[0]) * np.sin(x - math.pi * u[1]), rtol=0, atol=1e-6)


@given(index=st.integers(0, 999_999), points=st.integers(1, 40), variant=st.sampled_from(VARIANTS))
def test_a_client_depends_on_its_address_only(index, points, variant):
    source = Sine(variant=variant, points=points)
    alone = source.samples(index)
    source.samples((index * 7 + 1) % 1_000_000)
    again = Sine(variant=variant, points=points, clients=2_000_000).samples(index)
    assert np.array_equal(alone.x, again.x)
    assert np.array_equal(alone.y, again.y)
    more = Sine(variant=variant, points=points + 5).samples(index)
    assert np.array_equal(more.x[: len(alone)], alone.x)
    assert np.array_equal(more.y[: len(alone)], alone.y)


def test_another_seed_is_another_population():
    assert not np.array_equal(Sine(seed=0).samples(0).x, Sine(seed=1).samples(0).x)
    assert not np.array_equal(Sine().samples(0).x, Sine().samples(1).x)


def test_refuses_what_does_not_exist():
    with pytest.raises(DataError, match="no client 3: allowed are 0 to 2"):
        Sine(clients=3).samples(3)
    with pytest.raises(DataError, match="no client -1"):
        Sine(clients=3).client(-1)
    with pytest.raises(ConfigError, match=r"source.variant = 'fin': must be one of finn, meta_sgd, reptile"):
        SOURCES.make({"name": "sine", "variant": "fin"})
    with pytest.raises(ConfigError, match=r"source.points = 0: must be ≥ 1"):
        SOURCES.make({"name": "sine", "points": 0})
