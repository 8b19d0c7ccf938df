"""Imagined devices against a rigid body: what a sensor on it feels when it is turned, mirrored, reversed, sped up.

The body's attitude R(t) maps its own axes to the world's. A sensor fixed to it reads the specific force Rᵀ(p̈ − g) and
the rate w with [w]× = RᵀṘ; both are taken from R and p here by differences, without a formula of the code under test.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError
from metapulse.motion import GRAVITY, Motion, invariant_channels, random_rotation, retime, small_rotations
from metapulse.rng import generator
from metapulse.settings import build
from tests.cases import classification, regression

RATE = 2000.0  # Hz: differences are then as good as derivatives
TIME = 800
NOTHING = Motion(
    RATE, rotation=0, tempo=0, gain=0, mirror=0, reverse=0, tilt_deg=0, effort=0, swing=0, noise=0
)  # imagines the device that is there
seeds = st.integers(0, 2**20)


def rng(seed: int = 0) -> np.random.Generator:
    return generator(seed, "augment")


def rotations(vectors: np.ndarray) -> np.ndarray:
    """exp([v]×) for vectors (time, 3), by its series."""
    cross = np.zeros((*vectors.shape[:-1], 3, 3))
    for (i, j), k in {(2, 1): 0, (0, 2): 1, (1, 0): 2}.items():
        cross[..., i, j], cross[..., j, i] = vectors[..., k], -vectors[..., k]
    total = term = np.broadcast_to(np.eye(3), cross.shape)
    for n in range(1, 25):
        term = term @ cross / n
        total = total + term
    return total


def sense(attitude: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Window (6, time) of a sensor on a body: specific force in m/s², rate in rad/s, in the body's axes."""
    gravity = np.array([0.0, 0.0, -GRAVITY])
    second = np.gradient(np.gradient(place, 1 / RATE, axis=0), 1 / RATE, axis=0)
    force = np.einsum("tji,tj->ti", attitude, second - gravity)
    spin = np.einsum("tji,tjk->tik", attitude, np.gradient(attitude, 1 / RATE, axis=0))
    rate = np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], 1)
    return np.concatenate([force, rate], 1).T


def body(seed: int = 0, time: int = TIME) -> tuple[np.ndarray, np.ndarray]:
    """Smooth attitude (time, 3, 3) and place (time, 3) of something tumbling and shaken."""
    draw = rng(seed)
    t = np.arange(time) / RATE
    frequency, phase = draw.uniform(1, 4, (4, 3)), draw.uniform(0, 6, (4, 3))
    waves = np.sin(2 * np.pi * frequency * t[:, None, None] + phase)  # (time, 4, 3)
    attitude = rotations(waves[:, 0] + waves[:, 1]) @ rotations(np.ones((1, 3)))
    return attitude, 0.05 * (waves[:, 2] + waves[:, 3])


def inner(window: np.ndarray) -> np.ndarray:
    """Without the ends, where differences are one-sided."""
    return window[..., 5:-5]


def imagined(motion: Motion, *windows: np.ndarray, seed: int = 0) -> np.ndarray:
    return motion.imagine(np.stack(windows).astype(np.float32), rng(seed))


def close(a: np.ndarray, b: np.ndarray, atol: float = 2e-3) -> None:
    np.testing.assert_allclose(inner(a), inner(b), rtol=1e-3, atol=atol)


@given(seed=seeds)
def test_rotations_keep_lengths_angles_and_handedness(seed: int) -> None:
    turns = [random_rotation(rng(seed)), *small_rotations(5, 0.8, rng(seed))]
    for turn in turns:
        assert turn.dtype == np.float32
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=2e-6)
        assert np.linalg.det(turn) == pytest.approx(1.0, abs=2e-6)


def test_random_rotations_are_uniform() -> None:
    """Haar measure: every axis lands evenly (mean 0, covariance I/3), and E[trace²] = 1 (characters of SO(3))."""
    draw = rng()
    turns = np.stack([random_rotation(draw) for _ in range(4000)])
    for axis in range(3):
        np.testing.assert_allclose(turns[:, :, axis].mean(0), 0.0, atol=4 / np.sqrt(3 * 4000))
        np.testing.assert_allclose(turns[:, :, axis].T @ turns[:, :, axis] / 4000, np.eye(3) / 3, atol=0.03)
    trace = np.trace(turns, axis1=1, axis2=2)
    assert (trace**2).mean() == pytest.approx(1.0, abs=4 * (trace**2).std() / np.sqrt(4000))


def test_small_rotations_turn_by_their_vector() -> None:
    """exp([v]×) of the same draws, by its series; sd 0 is no rotation."""
    vectors = 0.3 * rng(4).standard_normal((6, 3))
    np.testing.assert_allclose(small_rotations(6, 0.3, rng(4)), rotations(vectors), atol=1e-6)
    np.testing.assert_array_equal(small_rotations(2, 0.0, rng(4)), np.broadcast_to(np.eye(3), (2, 3, 3)))


@given(seed=seeds)
def test_the_last_six_channels_do_not_care_how_the_device_is_worn(seed: int) -> None:
    window = sense(*body(seed, 64))[None].astype(np.float32)
    turn = random_rotation(rng(seed))
    turned = np.concatenate([turn @ window[:, :3], turn @ window[:, 3:]], 1)
    a, b = invariant_channels(window), invariant_channels(turned)
    np.testing.assert_allclose(b[:, 6:], a[:, 6:], atol=2e-4 * max(1.0, np.abs(a).max()))
    assert np.abs(b[:, :6] - a[:, :6]).max() > 1e-2  # the first six do, or the turn was none


def test_channels_of_a_device_at_rest_and_of_one_that_turns_about_gravity() -> None:
    """At rest: 1 g along gravity and nothing else. Turning about it: the rate is all along."""
    x = np.zeros((2, 6, 4), np.float32)
    x[:, :3] = GRAVITY * np.array([[0.6], [0.0], [0.8]])
    x[1, 3:] = 2.0 * np.array([[0.6], [0.0], [0.8]])
    out = invariant_channels(x)
    np.testing.assert_allclose(out[0, 6:, 0], [1, 0, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(out[1, 6:, 0], [1, 2, 1, 0, 2, 0], atol=1e-6)
    np.testing.assert_allclose(out[1, :6, 0], [0.6, 0, 0.8, 1.2, 0, 1.6], atol=1e-6)


def test_a_turned_device_is_the_same_body_with_other_axes() -> None:
    attitude, place = body()
    draw = rng(0)
    draw.random()  # whether to turn
    turn = random_rotation(draw).astype(np.float64)
    out = imagined(replace(NOTHING, rotation=1), sense(attitude, place))
    close(out[0], sense(attitude @ turn.T, place))


def test_the_mirror_image_is_a_motion_that_a_body_can_make() -> None:
    """Mirror the world at its y–z plane and the body at its own: R ↦ MRM, p ↦ Mp; the rate is a pseudo-vector."""
    attitude, place = body()
    mirror = np.diag([-1.0, 1.0, 1.0])
    out = imagined(replace(NOTHING, mirror=1), sense(attitude, place))
    close(out[0], sense(mirror @ attitude @ mirror, place @ mirror))


def test_time_backwards_is_a_motion_that_a_body_can_make() -> None:
    attitude, place = body()
    out = imagined(replace(NOTHING, reverse=1), sense(attitude, place))
    close(out[0], sense(attitude[::-1], place[::-1]))


def test_a_swinging_device_rotates_in_a_world_that_stands_still() -> None:
    """At rest, gravity is fixed in the world: whatever the rate says, dv/dt = −w × v of every vector fixed there."""
    still = np.zeros((1, 6, TIME), np.float32)
    still[0, :3] = GRAVITY * np.array([[0.48], [0.6], [0.64]])
    swinging = [imagined(replace(NOTHING, swing=1), still[0], seed=seed)[0].astype(np.float64) for seed in range(6)]
    moving = [out for out in swinging if np.abs(out[3:]).max() > 0]
    assert 1 <= len(moving) < 6  # half of the devices
    for out in moving:
        force, rate = out[:3].T, out[3:].T
        np.testing.assert_allclose(np.linalg.norm(force, axis=1), GRAVITY, rtol=1e-5)
        turned = np.gradient(force, 1 / RATE, axis=0)
        np.testing.assert_allclose(inner(turned.T), inner(-np.cross(rate, force).T), atol=0.05)


def test_a_swing_adds_the_slope_of_its_angle_about_one_axis() -> None:
    """Of a body that turns already: the rate is turned with everything else, and the swing's own added to it."""
    attitude, place = body()
    window = sense(attitude, place)
    still = np.zeros_like(window)
    still[:3] = GRAVITY * np.array([[0.0], [0.0], [1.0]])
    draw = replace(NOTHING, swing=1)
    rates = ((seed, imagined(draw, still, seed=seed)[0][3:].astype(np.float64)) for seed in range(8))
    seed, own = next((seed, rate) for seed, rate in rates if rate.any())  # at rest, all of the rate is the swing's
    axis = own[:, np.abs(own).sum(0).argmax()]
    axis = axis / np.linalg.norm(axis)
    np.testing.assert_allclose(own, np.outer(axis, axis @ own), atol=1e-5)
    out = imagined(draw, window, seed=seed)[0]
    # About its axis a swing changes nothing but the rate, by its own speed.
    np.testing.assert_allclose(axis @ out[:3], axis @ window[:3], atol=1e-3)
    np.testing.assert_allclose(axis @ (out[3:] - window[3:]), axis @ own, atol=1e-3)


def test_tempo_plays_a_wave_faster() -> None:
    t = np.arange(101) - 50.0
    wave = np.sin(0.05 * t)[None, None].astype(np.float32)
    np.testing.assert_array_equal(retime(wave, 1.0), wave)
    np.testing.assert_allclose(retime(wave, 0.5)[0, 0], np.sin(0.025 * t), atol=1e-3)
    faster = retime(wave, 2.0)[0, 0]
    np.testing.assert_allclose(faster[25:76], np.sin(0.1 * t[25:76]), atol=1e-3)
    np.testing.assert_allclose(faster[:25], faster[50:25:-1], atol=1e-6)  # reflected where the window ends


@given(tempo=st.floats(0.05, 20), time=st.integers(2, 40))
def test_a_tempo_of_any_size_stays_within_the_window(tempo: float, time: int) -> None:
    ramp = np.arange(time, dtype=np.float32)[None, None]
    out = retime(ramp, tempo)
    assert out.shape == ramp.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= time - 1


def test_gains_scale_what_moves_and_leave_gravity() -> None:
    window = sense(*body())
    out = imagined(replace(NOTHING, gain=1.0), window)[0]
    rest = window[:3].mean(1, keepdims=True)
    np.testing.assert_allclose(out[:3].mean(1, keepdims=True), rest, atol=1e-4)
    factors = [np.vdot(b, a) / np.vdot(b, b) for a, b in ((out[:3] - rest, window[:3] - rest), (out[3:], window[3:]))]
    assert all(np.exp(-1) <= factor <= np.exp(1) and abs(factor - 1) > 0.01 for factor in factors)
    np.testing.assert_allclose(out[:3], rest + factors[0] * (window[:3] - rest), atol=1e-3)
    np.testing.assert_allclose(out[3:], factors[1] * window[3:], atol=1e-3)


def test_with_everything_switched_off_the_device_is_the_one_that_is_there() -> None:
    window = sense(*body()).astype(np.float32)
    np.testing.assert_allclose(imagined(NOTHING, window)[0], window, rtol=1e-5, atol=1e-5)


def test_one_device_for_all_windows_and_a_little_more_for_each() -> None:
    """Turn and tempo are the episode's; tilt and effort each window's own."""
    window = sense(*body()).astype(np.float32)
    device = replace(NOTHING, rotation=1, tempo=0.5, gain=1.0, mirror=0.5, reverse=0.5)
    first, second = imagined(device, window, window)
    np.testing.assert_array_equal(first, second)
    for own in (replace(NOTHING, tilt_deg=8), replace(NOTHING, effort=0.4), replace(NOTHING, noise=1.0)):
        first, second = imagined(own, window, window)
        assert np.abs(first - second).max() > 1e-2


def some(n: int, seed: int = 0) -> np.ndarray:
    return np.stack([sense(*body(seed + i, 64)) for i in range(n)]).astype(np.float32)


def test_without_a_generator_nothing_is_imagined() -> None:
    x, pool = some(5), some(4, 50)
    out = Motion().apply(x, pool, None)
    np.testing.assert_array_equal(out, Motion(rotation=0, noise=0, swing=3.0).apply(x, pool, None))
    np.testing.assert_array_equal(Motion().apply(x[:2], pool, None), out[:2])
    channels, reference = invariant_channels(x).astype(np.float64), invariant_channels(pool).astype(np.float64)
    mean, sd = reference.mean((0, 2), keepdims=True), reference.std((0, 2), keepdims=True)
    np.testing.assert_allclose(out, (channels - mean) / sd, rtol=1e-4, atol=1e-4)


def test_the_generator_decides_and_the_inputs_stay_as_they_were() -> None:
    x, pool = some(5), some(4, 50)
    before = x.copy(), pool.copy()
    a, b, c = (Motion().apply(x, pool, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.1
    assert a.dtype == np.float32
    assert a.shape == (5, 12, 64)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(pool, before[1])


@given(seed=seeds)
def test_whatever_is_imagined_is_finite_even_of_a_device_that_says_nothing(seed: int) -> None:
    for x in (np.zeros((3, 6, 16), np.float32), some(3, seed)):
        for motion in (Motion(), Motion(tempo=2, gain=3, tilt_deg=90, effort=2, swing=3, noise=10)):
            assert np.isfinite(motion.apply(x, x[:2], rng(seed))).all()
            assert np.isfinite(motion.apply(x, x[:2], None)).all()


def test_it_makes_twelve_channels_of_six_and_refuses_other_tasks() -> None:
    assert Motion().task(classification(6, 64)).features == (12, 64)
    for task in (classification(3, 64), classification(6), regression(6, 8, 8), classification(6, 1)):
        with pytest.raises(ConfigError, match="6 × time"):
            Motion().task(task)
    for key, value in (("rate_hz", 0), ("rotation", 1.5), ("noise", -1), ("turn", 1)):
        with pytest.raises(ConfigError, match=key):
            build(Motion, {key: value})
