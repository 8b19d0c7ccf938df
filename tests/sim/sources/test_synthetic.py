"""Synthetic(α, β): checksums of the published data, the laws it was drawn from, and addressing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Source, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES
from metapulse.rng import generator
from metapulse.sim.sources.synthetic import Synthetic


def test_pfedme_is_the_published_population():
    """Checksums of the generator published with arXiv 2006.08848, as published (α = β = .5, seed 0)."""
    source = Synthetic()
    clients = [source.samples(i) for i in range(len(source))]
    assert [len(c) for c in clients[:10]] == [9545, 855, 2180, 24380, 11685, 285, 2075, 450, 470, 870]
    assert sum(len(c) for c in clients) == 205_795
    histogram = np.bincount(np.concatenate([c.y for c in clients]))
    assert histogram.tolist() == [20440, 15477, 13612, 7703, 17542, 21572, 9409, 48331, 32221, 19488]


def reference(seed, clients, factor, alpha, beta, upto):
    """The recipe of both papers, loop by loop as it is written there."""
    legacy = np.random.RandomState(seed)
    n = (legacy.lognormal(4, 2, clients).astype(int) + 50) * factor
    u = legacy.normal(0, alpha, clients)
    B = legacy.normal(0, beta, clients)
    v = np.zeros((clients, 60))
    for i in range(clients):
        v[i] = legacy.normal(B[i], 1, 60)
    sigma = np.diag([j**-1.2 for j in range(1, 61)])
    for i in range(upto):
        W = legacy.normal(u[i], 1, (60, 10))
        b = legacy.normal(u[i], 1, 10)
        x = legacy.multivariate_normal(v[i], sigma, n[i])
        yield x, np.array([np.argmax(np.dot(row, W) + b) for row in x])


@pytest.mark.parametrize(("variant", "seed", "clients", "factor"), [("pfedme", 0, 100, 5), ("fedprox", 3, 30, 1)])
def test_samples_are_those_of_the_papers_recipe(variant, seed, clients, factor):
    source = Synthetic(variant=variant, alpha=1.0, beta=0.7, seed=seed)
    assert len(source) == clients
    for i, (x, y) in enumerate(reference(seed, clients, factor, 1.0, 0.7, upto=3)):
        samples = source.samples(i)
        assert np.allclose(samples.x, x, rtol=2e-7, atol=0)  # rounding to float32
        assert np.array_equal(samples.y, y)


@pytest.mark.parametrize("variant", ["pfedme", "fedprox", "lazy"])
def test_is_a_source_with_a_tenth_held_out(variant):
    source = SOURCES.make({"name": "synthetic", "variant": variant})
    assert isinstance(source, Source)
    assert source.users == len(source) == {"pfedme": 100, "fedprox": 30, "lazy": 1_000_000}[variant]
    for i in (0, 5, len(source) - 1):
        who = source.client(i)
        assert (who.index, who.user, who.device) == (i, i, "synthetic")
        assert list(source.clients_of(i)) == [i]
        samples = check_samples(source.samples(i), source.task, who.label)
        n = len(samples)
        assert samples.x.dtype == np.float32
        assert samples.y.dtype == np.int64
        assert np.array_equal(samples.group, np.arange(n))
        assert (~samples.held_out).sum() == int(0.9 * n)
        assert not samples.held_out[: int(0.9 * n)].any()


def test_writing_into_samples_leaves_the_population_alone():
    source = Synthetic(variant="fedprox")
    first = source.samples(2)
    first.x[:] = 0
    first.held_out[:] = True
    assert source.samples(2).x.any()
    assert not source.samples(2).held_out.all()


def test_a_smaller_population_can_be_asked_for():
    source = Synthetic(variant="pfedme", clients=4)
    assert len(source) == 4
    assert len(source.samples(3)) >= 250  # 5 · 50
    with pytest.raises(DataError, match="no client 4: allowed are 0 to 3"):
        source.samples(4)


@settings(max_examples=30)
@given(index=st.integers(0, 999_999))
def test_a_lazy_client_depends_on_its_address_only(index):
    alone = Synthetic(variant="lazy").samples(index)
    source = Synthetic(variant="lazy", clients=5_000_000)
    source.samples((index + 1) % 1_000_000)
    again = source.samples(index)
    assert np.array_equal(alone.x, again.x)
    assert np.array_equal(alone.y, again.y)
    assert 50 <= len(alone) <= 1000


def test_lazy_clients_follow_the_stated_laws():
    """Moments of x and of n over 1500 clients, each bound four standard errors of its closed form."""
    source = Synthetic(variant="lazy", alpha=0.5, beta=2.0)
    clients = [source.samples(i) for i in range(1500)]
    within = np.mean([c.x.astype(float).var(0, ddof=1) for c in clients], 0)
    expected = np.arange(1, 61) ** -1.2
    assert np.allclose(within, expected, rtol=4 * math.sqrt(2 / 49 / 1500), atol=0)
    means = np.array([c.x.astype(float).mean() for c in clients])
    # mean over 60 inputs and n samples: β² + 1/60 + Σ j^−1.2 / (60² n), the last < 1e-4.
    assert means.var() == pytest.approx(4.0 + 1 / 60, rel=4 * math.sqrt(2 / 1500))
    # Median 50 + ⌊e⁴⌋; its logarithm's standard error is 1.2533 · 2 / √1500 = .065, four of them .26.
    median = np.median([len(c) for c in clients])
    assert 50 + math.exp(4 - 0.26) - 1 < median < 50 + math.exp(4 + 0.26)


def test_a_lazy_label_is_the_argmax_of_one_linear_model():
    """A softmax regression fits a client perfectly: its classes are linearly separable by construction."""
    samples = Synthetic(variant="lazy", seed=2).samples(9)
    rng = generator(2, "synthetic", client=9)
    n = min(int(rng.lognormal(4, 2)) + 50, 1000)
    u, B = 0.5 * rng.standard_normal(), 0.5 * rng.standard_normal()
    v = B + rng.standard_normal(60)
    W, b = u + rng.standard_normal((60, 10)), u + rng.standard_normal(10)
    assert len(samples) == n
    assert np.array_equal(samples.y, (samples.x.astype(float) @ W + b).argmax(1))
    # x − v has variance j^−1.2: mean of squares over the mean expectation, 4 √(2/n) around 1.
    scaled = (samples.x - v) * np.arange(1, 61) ** 0.6
    assert np.abs((scaled**2).mean() - 1) < 4 * math.sqrt(2 / (60 * n))


def test_beta_zero_and_alpha_zero_share_their_means():
    """The spread of client means over u and B vanishes with α and β; that of v and W, unit normal, stays."""
    spread = {
        beta: np.std([Synthetic(variant="lazy", beta=beta).samples(i).x.mean() for i in range(300)])
        for beta in (0.0, 3.0)
    }
    assert spread[0.0] < 2 / math.sqrt(60)
    assert spread[3.0] > 2.5


def test_refuses_settings_out_of_range():
    with pytest.raises(ConfigError, match=r"source.alpha = -1.0: must be ≥ 0"):
        SOURCES.make({"name": "synthetic", "alpha": -1})
    with pytest.raises(ConfigError, match="must be one of pfedme, fedprox, lazy"):
        SOURCES.make({"name": "synthetic", "variant": "fedproxx"})
