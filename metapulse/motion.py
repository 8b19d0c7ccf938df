"""Motion windows: channels that do not depend on how a device is worn, and, in training, simulated other devices.

A person changes phones for a watch: the sensor sits elsewhere, turned otherwise, and moves more. While it trains, a
client therefore imagines a new device for every episode (domain randomisation): one random orientation, gain, tempo,
swing and noise for all of the episode's windows, and a little more for each window. Adaptation and tests see real
windows only.

Source: the rotations of Um et al. 2017, arXiv:1706.00527, drawn per episode instead of per window, in the manner of
Tobin et al. 2017, arXiv:1703.06907.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.settings import setting
from metapulse.transforms import Inputs, Pool, Standardise, Transform, Windows

GRAVITY = 9.81  # m/s²
Readings = Float32[np.ndarray, "n 6 time"]
Vectors = Float[np.ndarray, "n 3 time"]


@dataclass(frozen=True)
class Motion(Transform):
    """Accelerometer (m/s²) and gyroscope (rad/s) windows of shape (6, time) to twelve standardised channels.

    The channels: both vectors, their norms, and their parts along and across gravity (the window's mean acceleration);
    the last six do not change when the device is turned. Ranges below are of the imagined devices; 0 switches one off.
    """

    random: ClassVar[bool] = True

    rate_hz: float = setting(50.0, "sampling rate of the windows", gt=0)
    rotation: float = setting(1.0, "probability of a random orientation", ge=0, le=1)
    tempo: float = setting(0.5, "tempo, factor exp U(±tempo)", ge=0, le=2)
    gain: float = setting(1.2, "gain of moving acceleration and of rotation, each exp U(±gain)", ge=0, le=3)
    mirror: float = setting(0.5, "probability of the mirror image (worn on the other side)", ge=0, le=1)
    reverse: float = setting(0.5, "probability of time running backwards", ge=0, le=1)
    tilt_deg: float = setting(8.0, "sd of each window's own small rotation, degrees per axis", ge=0, le=90)
    effort: float = setting(0.4, "sd of each window's own log gain", ge=0, le=2)
    swing: float = setting(0.7, "amplitude of a periodic rotation, rad; half of the devices swing", ge=0, le=3)
    noise: float = setting(1.5, "largest sd of white noise, m/s² (and 0.3 of it in rad/s)", ge=0)

    def task(self, task: Task) -> Task:
        """Twelve channels instead of six."""
        if len(task.features) != 2 or task.features[0] != 6 or task.features[1] < 2:
            raise ConfigError("transform.name", "motion", f"needs windows of 6 × time (≥ 2), not {task.features}")
        return replace(task, features=(12, task.features[1]))

    def apply(self, x: Windows, pool: Pool, rng: np.random.Generator | None) -> Inputs:
        """Imagine a device where ``rng`` is given, compute the channels, standardise by the pool's."""
        windows = np.concatenate([x, pool])
        if rng is not None:
            windows = self.imagine(windows, rng)
        channels = invariant_channels(windows)
        return Standardise().apply(channels[: len(x)], channels[len(x) :], None)

    def imagine(self, x: Readings, rng: np.random.Generator) -> Readings:
        """The same movements as another device would have seen them."""
        a, w = x[:, :3], x[:, 3:]
        if rng.random() < self.rotation:
            turn = random_rotation(rng)
            a, w = turn @ a, turn @ w
        if self.tempo:
            tempo = math.exp(rng.uniform(-self.tempo, self.tempo))
            a, w = retime(a, tempo), retime(w, tempo, odd=True)
        gains = np.exp(rng.uniform(-self.gain, self.gain, 2))
        a, w = _gain(a, gains[0]), w * gains[1]
        a, w = self._mirrored(a, w, rng)
        if self.tilt_deg:
            turns = small_rotations(len(x), math.radians(self.tilt_deg), rng)
            a, w = turns @ a, turns @ w
        effort = np.exp(self.effort * rng.standard_normal((len(x), 1, 1)))
        a, w = _gain(a, effort), w * effort
        if self.swing and rng.random() < 0.5:
            a, w = self._swung(a, w, rng)
        sd = self.noise * rng.random(2)
        a = a + sd[0] * rng.standard_normal(a.shape, dtype=np.float32)
        w = w + 0.3 * sd[1] * rng.standard_normal(w.shape, dtype=np.float32)
        return np.concatenate([a, w], 1).astype(np.float32)

    def _mirrored(self, a: Vectors, w: Vectors, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
        """Mirror at the y–z plane (rotation rate is a pseudo-vector), and let time run backwards."""
        if rng.random() < self.mirror:
            flip = np.array([-1.0, 1.0, 1.0], dtype=np.float32)[:, None]
            a, w = a * flip, -w * flip
        if rng.random() < self.reverse:
            a, w = a[:, :, ::-1], -w[:, :, ::-1]
        return a, w

    def _swung(self, a: Vectors, w: Vectors, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
        """Let the device swing about one axis: θ(t) = A sin(2πft + phase), f ~ U[0.6, 1.8] Hz, phases per window."""
        n, time = len(a), a.shape[2]
        axis = rng.standard_normal(3)
        axis = (axis / np.linalg.norm(axis))[:, None]  # (3, 1)
        turning = 2 * math.pi * rng.uniform(0.6, 1.8)  # rad/s
        amplitude = self.swing * rng.random() * np.exp(0.5 * rng.standard_normal((n, 1, 1)))
        argument = turning * np.arange(time) / self.rate_hz + rng.uniform(0, 2 * math.pi, (n, 1, 1))
        angle, speed = amplitude * np.sin(argument), amplitude * turning * np.cos(argument)  # (n, 1, time)
        # What stands still in the world turns by −θ in the eyes of a device that turns by θ.
        return _turn_about(axis, -angle, a), _turn_about(axis, -angle, w) + axis * speed


def invariant_channels(x: Readings) -> Float32[np.ndarray, "n 12 time"]:
    """Acceleration (g), rotation rate (rad/s), their norms, and their parts along and across gravity.

    Args:
        x: accelerometer in m/s², gyroscope in rad/s.
    """
    a, w = x[:, :3] / GRAVITY, x[:, 3:]
    down = a.mean(2, keepdims=True)
    down = down / np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-6)
    parts = [a, w, _norm(a), _norm(w)]
    for vector in (a, w):
        along = (vector * down).sum(1, keepdims=True)
        parts += [along, _norm(vector - along * down)]
    return np.concatenate(parts, 1).astype(np.float32)


def random_rotation(rng: np.random.Generator) -> Float32[np.ndarray, "3 3"]:
    """A rotation drawn uniformly, from a normalised Gaussian quaternion."""
    q = rng.standard_normal(4)
    r, i, j, k = q / np.linalg.norm(q)
    matrix = [
        [1 - 2 * (j * j + k * k), 2 * (i * j - r * k), 2 * (i * k + r * j)],
        [2 * (i * j + r * k), 1 - 2 * (i * i + k * k), 2 * (j * k - r * i)],
        [2 * (i * k - r * j), 2 * (j * k + r * i), 1 - 2 * (i * i + j * j)],
    ]
    return np.array(matrix, dtype=np.float32)


def small_rotations(n: int, sd: float, rng: np.random.Generator) -> Float32[np.ndarray, "n 3 3"]:
    """Rotations by Gaussian rotation vectors (Rodrigues' formula).

    Args:
        n: how many.
        sd: standard deviation of each component, rad.
    """
    v = sd * rng.standard_normal((n, 3))
    angle = np.linalg.norm(v, axis=1)[:, None, None]
    cross = np.zeros((n, 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    cross -= cross.transpose(0, 2, 1)
    safe = np.maximum(angle, 1e-9)
    turns = np.eye(3) + np.sin(angle) / safe * cross + (1 - np.cos(angle)) / safe**2 * (cross @ cross)
    out: np.ndarray = turns.astype(np.float32)
    return out


def retime(
    x: Float32[np.ndarray, "n channels time"], tempo: float, odd: bool = False
) -> Float32[np.ndarray, "n channels time"]:
    """Play windows ``tempo`` times as fast about their middle: linear interpolation, reflected at the ends.

    Args:
        x: the windows.
        tempo: factor, > 0.
        odd: x changes its sign when time runs backwards, as it does beyond the ends (rotation rate does).
    """
    last = x.shape[2] - 1
    there = (np.arange(last + 1) - last / 2) * tempo + last / 2
    position = last - np.abs(last - np.abs(there) % (2 * last))
    left = np.minimum(position.astype(np.int64), last - 1)
    share = (position - left).astype(np.float32)
    out: np.ndarray = x[:, :, left] * (1 - share) + x[:, :, left + 1] * share
    if odd:
        out = out * np.where(np.floor(there / last) % 2 == 0, 1.0, -1.0).astype(np.float32)
    return out


def _gain(a: Vectors, factor: float | Float[np.ndarray, "n 1 1"]) -> Vectors:
    """Scale what moves; gravity, the window's mean, stays."""
    rest = a.mean(2, keepdims=True)
    out: np.ndarray = rest + (a - rest) * factor
    return out


def _turn_about(axis: Float[np.ndarray, "3 1"], angle: Float[np.ndarray, "n 1 time"], v: Vectors) -> Vectors:
    """Rodrigues' rotation of every sample by its own angle."""
    sine, cosine = np.sin(angle), np.cos(angle)
    across = np.cross(axis[None], v, axis=1)
    out: np.ndarray = v * cosine + across * sine + axis * (axis * v).sum(1, keepdims=True) * (1 - cosine)
    return out


def _norm(v: Vectors) -> Float[np.ndarray, "n 1 time"]:
    length: np.ndarray = np.linalg.norm(v, axis=1, keepdims=True)
    return length
