"""What a device does to its windows: standardised by the pool alone."""

from __future__ import annotations

import numpy as np
import pytest

from client.registry import TRANSFORMS
from client.rng import generator
from client.transforms import Identity, Standardise
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
