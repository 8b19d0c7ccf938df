"""What a device does to its windows: standardised by the pool alone."""

from __future__ import annotations

import numpy as np
import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, Trial
from metapulse.episodes import EpisodePlan
from metapulse.errors import ConfigError
from metapulse.registry import TRANSFORMS
from metapulse.rng import generator
from metapulse.transforms import Identity, Standardise
from tests.cases import classification


def windows(seed: int, *shape: int) -> np.ndarray:
    rng = generator(seed, "windows")
    channels = shape[1]
    scale = np.arange(1, channels + 1).reshape(1, -1, *(1,) * (len(shape) - 2))
    return (scale * rng.standard_normal(shape) + 10.0 * scale).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 3, 16), (40, 5)])
def test_the_pool_itself_comes_out_with_mean_zero_and_sd_one(shape: tuple[int, ...]) -> None:
    pool = windows(0, *shape)
    out = Standardise().apply(pool, pool, None)
    axes = (0, 2) if len(shape) == 3 else (0,)
    np.testing.assert_allclose(out.mean(axes, dtype=np.float64), 0.0, atol=1e-5)
    np.testing.assert_allclose(out.std(axes, dtype=np.float64), 1.0, rtol=1e-5)
    assert out.dtype == np.float32


@pytest.mark.parametrize("shape", [(40, 3, 16), (40, 5)])
def test_others_are_measured_by_the_pool_and_never_by_themselves(shape: tuple[int, ...]) -> None:
    pool, x = windows(0, *shape), 3.0 * windows(1, 6, *shape[1:])
    out = Standardise().apply(x, pool, None)
    axes = (0, 2) if len(shape) == 3 else (0,)
    wide = pool.astype(np.float64)
    expected = (x - wide.mean(axes, keepdims=True)) / wide.std(axes, keepdims=True)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(Standardise().apply(x[:2], pool, None), out[:2])


def test_a_channel_that_never_moves_becomes_zero() -> None:
    pool = windows(0, 10, 2, 8)
    pool[:, 1] = 9.81
    out = Standardise().apply(pool, pool, None)
    np.testing.assert_allclose(out[:, 1], 0.0, atol=1e-5)
    assert np.isfinite(Standardise().apply(np.zeros_like(pool), np.zeros_like(pool), None)).all()


def test_identity_and_the_task_they_leave_alone() -> None:
    x = windows(0, 4, 2, 8)
    assert np.array_equal(Identity().apply(x, x[:1], generator(0, "augment")), x)
    task = classification(2, 8)
    for name in ("none", "standardise"):
        transform = TRANSFORMS.make({"name": name})
        assert transform.task(task) == task
        before = x.copy()
        transform.apply(x, x[:2], generator(0, "augment"))
        assert np.array_equal(x, before)


def test_a_channel_that_hardly_moves_is_no_scale() -> None:
    """A pool at rest with rounding noise: what moves later is not thousands of standard deviations away."""
    pool = np.full((40, 2), 9.81, np.float32) + 1e-5 * windows(0, 40, 2)
    out = Standardise().apply(np.array([[12.0, 9.82]], np.float32), pool, None)
    np.testing.assert_allclose(out[0, 1], 1.0, atol=0.05)  # a thousandth of the mean is one standard deviation
    assert out[0, 0] == 50.0
    still = np.concatenate([np.full((40, 1), 1e-5), np.ones((40, 1))], 1).astype(np.float32)
    still[0] *= 2
    assert np.abs(Standardise(limit=10.0).apply(np.array([[5.0, 5.0]], np.float32), still, None)).max() == 10.0


def test_fixed_numbers_keep_the_level() -> None:
    x = windows(0, 4, 2, 8)
    out = TRANSFORMS.make({"name": "fixed", "centre": [10.0, 20.0], "scale": [2.0]}).apply(x, x[:1], None)
    np.testing.assert_allclose(out, (x - np.array([10.0, 20.0])[:, None]) / 2.0, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"transform.scale = \[1.0, 2.0, 3.0\]: must hold 1 or 2 numbers"):
        TRANSFORMS.make({"name": "fixed", "scale": [1.0, 2.0, 3.0]}).task(classification(2, 8))
    with pytest.raises(ConfigError, match=r"transform.scale = 0.0: must be > 0"):
        TRANSFORMS.make({"name": "fixed", "scale": [0.0]})


def test_shots_alone_may_say_the_scale() -> None:
    """``on = "support"``: other windows of the support side decide nothing."""
    source = {"name": "wearables", "users": 4}
    trial = Trial("new_user", EpisodePlan("groups", 1), episodes=1)
    found = {}
    for on in ("pool", "support"):
        spec = ClientConfig(1, source, {"name": "standardise", "on": on}, {"name": "mlp"}, {"name": "fedavg"})
        ((support, _),) = ClientExecutor(spec).episodes(0, trial)
        found[on] = support[0].mean((0, 2), dtype=np.float64)
    np.testing.assert_allclose(found["support"], 0.0, atol=1e-4)
    assert np.abs(found["pool"]).max() > 0.01
