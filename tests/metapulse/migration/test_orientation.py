"""Orientation and gain of motion windows: found exactly where they exist, refused where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.migration.orientation import nearest_rotation, orientation_of
from metapulse.motion import random_rotation
from metapulse.rng import generator


def windows(seed: int, n: int = 12) -> np.ndarray:
    rng = generator(seed, "windows")
    moving = rng.standard_normal((n, 6, 64)) * np.array([2.0, 1.0, 3.0, 0.5, 1.0, 0.3])[:, None]
    return (moving + np.array([0, 0, 9.81, 0, 0, 0])[:, None]).astype(np.float32)


def worn(windows: np.ndarray, turn: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """As a device that sits otherwise: gravity turned, movement turned and louder."""
    rest = windows.mean(2, keepdims=True) * np.array([1, 1, 1, 0, 0, 0])[:, None]
    turned = [np.concatenate([turn @ x[:, :3], turn @ x[:, 3:]], 1) for x in (rest, windows - rest)]
    return (turned[0] + np.repeat(gain, 3, 0)[None] * turned[1]).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_turn_and_gains_are_found_and_undone(seed: int) -> None:
    old, turn = windows(seed), random_rotation(generator(seed, "turn"))
    gain = np.exp(generator(seed, "gain").uniform(-0.5, 0.5, (2, 1)))
    new = worn(old, turn, gain)
    found = orientation_of(old, new)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-4)
    np.testing.assert_allclose(found.gain, np.broadcast_to(gain, (2, 3)), atol=1e-3)
    assert found.explained > 0.9999
    assert found.holds
    other = windows(seed + 1)
    np.testing.assert_allclose(found.apply(other), worn(other, turn, gain), atol=2e-2)


def test_a_mirror_image_is_answered_with_a_turn() -> None:
    vectors = generator(0, "vectors").standard_normal((50, 3))
    rotation = nearest_rotation(vectors, vectors * np.array([-1.0, 1.0, 1.0]))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_no_other_turn_is_nearer() -> None:
    rng = generator(1, "noise")
    old = rng.standard_normal((40, 3))
    new = old @ random_rotation(rng).T + 0.5 * rng.standard_normal((40, 3))
    best = np.square(old @ nearest_rotation(old, new).T - new).sum()
    for _ in range(200):
        assert best <= np.square(old @ random_rotation(rng).T - new).sum()


def test_what_turns_freely_has_no_map() -> None:
    old = windows(3, 40)
    new = np.stack(
        [
            np.concatenate([turn @ w[:3], turn @ w[3:]])
            for w, turn in ((w, random_rotation(generator(i, "free"))) for i, w in enumerate(old))
        ]
    )
    found = orientation_of(old, new.astype(np.float32))
    assert not found.holds
    assert found.apply(old) is old
