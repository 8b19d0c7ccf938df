"""The generators of FedEM, LEAF, Ditto and FedRep: their recipes written out, their laws, and the contract."""

import math
from typing import Any

import numpy as np
import pytest

from metapulse.data import Source, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES
from metapulse.sim.sources.gaussian_means import GaussianMeans
from metapulse.sim.sources.leaf import Leaf
from metapulse.sim.sources.low_rank import LowRank
from metapulse.sim.sources.mixture import Mixture

NAMES = ("mixture", "leaf", "gaussian_means", "low_rank")


@pytest.mark.parametrize("name", NAMES)
def test_is_a_source_of_lone_clients(name):
    source = SOURCES.make({"name": name})
    assert isinstance(source, Source)
    assert len(source) == source.users == source.clients
    for i in (0, 3, len(source) - 1):
        who = source.client(i)
        assert (who.index, who.user, who.device, who.label) == (i, i, name, f"{name}-{i}")
        assert list(source.clients_of(i)) == [i]
        samples = check_samples(source.samples(i), source.task, who.label)
        assert samples.x.dtype == np.float32
        assert samples.held_out.any()
        assert not samples.held_out.all()
        assert np.all(np.diff(samples.held_out.astype(int)) >= 0)  # the held-out ones are last
        samples.x[:] = 7  # a caller's copy
        assert not np.array_equal(source.samples(i).x, samples.x)
    with pytest.raises(DataError, match=f"{name} has no client {len(source)}"):
        source.samples(len(source))


def test_mixture_has_the_published_population():
    """The recipe published with arXiv 2108.10252, step by step, for its seed 12345 and 300 clients."""
    legacy = np.random.RandomState(12345)
    sizes = [min(int(s) + 50, 1000) for s in legacy.lognormal(4, 2, 300).astype(int)]
    shares = [legacy.dirichlet(alpha=0.4 * np.ones(3)) for _ in range(300)]
    theta = legacy.uniform(-1.0, 1.0, size=(3, 150))
    source = Mixture(test=10)
    assert source.population.sizes.tolist() == sizes
    assert np.array_equal(source.population.shares, np.array(shares))
    assert np.array_equal(source.population.components, theta)
    assert [len(source.samples(i)) for i in range(20)] == [n + 10 for n in sizes[:20]]


def test_a_mixtures_labels_are_those_of_its_components():
    """Component m explains π_m of the labels, and by chance half of the rest; the noise of .1 costs less than .01.

    Two random classifiers agree on 1 − angle/π of the samples; bounds are four standard errors of 5000 samples.
    """
    source = Mixture()
    shares, theta = source.population.shares, source.population.components
    cosine = theta @ theta.T / np.linalg.norm(theta, axis=1) / np.linalg.norm(theta, axis=1)[:, None]
    agree = 1 - np.arccos(cosine.clip(-1, 1)) / np.pi  # exact for directions without preference: x is nearly so
    for i in (1, 2, 40):
        samples = source.samples(i)
        test = samples.held_out
        found = ((samples.x[test] @ theta.T > 0) == samples.y[test, None]).mean(0)
        assert np.abs(found - agree @ shares[i]).max() < 4 * 0.5 / math.sqrt(5000) + 0.02
        assert np.abs(samples.x).max() <= 1


def leaf_reference(tasks: int, upto: int):
    """LEAF's program (arXiv 1812.01097), loop by loop, one cluster."""
    legacy = np.random.RandomState(931231)
    sizes = [min(s + 5, 1000) for s in legacy.lognormal(3, 2, tasks).astype(int)]
    legacy = np.random.RandomState(931231)
    q = legacy.normal(loc=0.0, scale=1.0, size=(61, 5, 1))
    sigma = np.diag([(i + 1) ** -1.2 for i in range(60)])
    mean = legacy.normal(loc=legacy.normal(loc=0, scale=1.0), scale=1.0, size=1)
    for n in sizes[:upto]:
        legacy.choice(range(1), p=[1.0])
        loc = legacy.normal(loc=legacy.normal(), scale=1.0, size=60)
        x = np.ones((n, 61))
        x[:, 1:] = legacy.multivariate_normal(mean=loc, cov=sigma, size=n)
        w = np.matmul(q, legacy.normal(loc=mean, scale=0.1, size=1))
        z = np.exp(x @ w + legacy.normal(loc=0.0, scale=0.1, size=(n, 5)))
        yield x[:, 1:], np.argmax(z / sum(z), axis=1)


def test_leaf_has_the_samples_of_its_program():
    source = Leaf()
    for i, (x, y) in enumerate(leaf_reference(1000, upto=12)):
        samples = source.samples(i)
        assert np.allclose(samples.x, x, rtol=2e-7, atol=0)  # rounding to float32
        assert np.array_equal(samples.y, y)
        assert (~samples.held_out).sum() == int(0.6 * len(x))


def test_leafs_clusters_are_all_used():
    """k = 3: of 60 clients none of three classifiers is left out, but with probability 3 (2/3)^60 < 1e-9."""
    one, three = Leaf(clients=60), Leaf(clients=60, clusters=3)
    assert not np.array_equal(one.samples(0).x, three.samples(0).x)
    labels = [np.bincount(three.samples(i).y, minlength=5).argmax() for i in range(60)]
    assert len(set(labels)) > 1


def test_gaussian_means_follow_their_law():
    """Local error σ²/n, global τ²(K − 1)/K + σ²/(nK): the closed forms of arXiv 2012.04221, §3.3.

    10 000 coordinates of 8 clients; four standard errors, the clients of a coordinate taken as one.
    """
    source = GaussianMeans(coordinates=10_000, seed=3)
    clients = [source.samples(i) for i in range(8)]
    truth = np.stack([c.y[-1] for c in clients]).astype(float)
    local = np.stack([c.y[:-1].astype(float).mean(0) for c in clients])
    width = 4 * math.sqrt(2 / 10_000)
    assert ((local - truth) ** 2).mean() == pytest.approx(0.8**2 / 30, rel=width)
    expected = 0.1**2 * 7 / 8 + 0.8**2 / (30 * 8)
    assert ((local.mean(0) - truth) ** 2).mean() == pytest.approx(expected, rel=width)
    assert not clients[0].x.any()


def test_low_rank_regressions_share_a_plane():
    source = LowRank(points=50, noise=0.0)
    samples = [source.samples(i) for i in range(30)]
    theta = np.stack([s.y[s.held_out, 0] / math.sqrt(20) for s in samples])
    assert np.linalg.norm(theta, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.svd(theta)[1][2:] == pytest.approx(0.0, abs=1e-5)
    for s, model in zip(samples, theta, strict=True):
        assert s.y[:, 0] == pytest.approx(s.x @ model, abs=1e-5)
    # x ~ N(0, I)/√m: the mean square of 30 · 50 · 20 numbers is 1/m, four standard errors 4 √(2/30 000)
    inputs = np.stack([s.x[~s.held_out] for s in samples])
    assert (inputs**2).mean() == pytest.approx(1 / 50, rel=4 * math.sqrt(2 / 30_000))


def test_low_rank_noise_has_its_deviation():
    """1000 residuals of deviation .3: four standard errors are 4/√2000."""
    source = LowRank(points=50, noise=0.3)
    residuals = []
    for i in range(20):
        s = source.samples(i)
        theta = s.y[s.held_out, 0] / math.sqrt(20)
        residuals.append((s.y[:, 0] - s.x @ theta)[~s.held_out])
    assert np.std(residuals) == pytest.approx(0.3, rel=4 / math.sqrt(2000))


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ({"name": "low_rank", "dimension": 4, "rank": 5}, "source.rank"),
        ({"name": "low_rank", "dimension": 40, "rank": 9, "clients": 8}, "source.rank"),
        ({"name": "low_rank", "dimension": 2**20}, "source.dimension"),
        ({"name": "gaussian_means", "coordinates": 2**20}, "source.coordinates"),
    ],
)
def test_sizes_that_no_subspace_or_memory_has_are_refused(source: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        SOURCES.make(source)
