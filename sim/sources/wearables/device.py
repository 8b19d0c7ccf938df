"""Device models, how a person wears one, and the chain from ideal motion to recorded windows.

    v = clip(round((G · R s + b + n) / Δ) Δ, ±range)

s: specific force and angular rate in the axes of the body segment; R: orientation, one rotation per wearing;
G, b: gains and biases of this unit; n: white noise; Δ: quantisation step. Samples are taken at jittered times of a
clock that runs a little fast or slow, some are lost in bursts, and what is left is interpolated to 50 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Int64

from metapulse.rng import generator
from metapulse.sim.sources.wearables.gait import Limb

RATE_HZ, LENGTH, HOP = 50, 64, 32
_G = 9.81


@dataclass(frozen=True)
class DeviceModel:
    """A device model: where it is worn and what its sensors are.

    Args:
        limb, radius: body segment, and distance from its joint as a share of body height.
        left_axes, right_axes: sensor axes as rows, in (forward, left, along) of the segment, by side of the body.
        left: probability of wearing it on the left.
        flips: probability of each way to put it on, as half turns about (none, z, y, x) of the device.
        tilt_deg: orientation error between people and from wearing to wearing.
        spin_deg: turn about the limb, between people and from wearing to wearing.
        fingers: factor on fine hand movement.
        shake: share of the wrist's broadband vibration that reaches it.
        rate_hz, jitter: nominal sampling rate; largest timing error as a share of the period, < .5.
        acc_range, gyro_range, bits: full scale (m/s², rad/s) and resolution of both sensors.
        acc_noise, gyro_noise: standard deviation of white noise (m/s², rad/s).
        gain, acc_bias, gyro_bias: standard deviation between units (1, m/s², rad/s).
        loss_hz, loss_s: bursts of lost samples per second, and their length.
    """

    limb: Limb
    radius: float
    left_axes: tuple[tuple[int, int, int], ...]
    right_axes: tuple[tuple[int, int, int], ...]
    left: float
    flips: tuple[float, float, float, float]
    tilt_deg: tuple[float, float]
    spin_deg: tuple[float, float]
    fingers: float
    shake: float
    rate_hz: float
    jitter: float
    acc_range: float
    gyro_range: float
    bits: int
    acc_noise: float
    gyro_noise: float
    gain: float
    acc_bias: float
    gyro_bias: float
    loss_hz: float
    loss_s: float

    @property
    def steps(self) -> Float32[np.ndarray, "6 1"]:
        """Quantisation step of each channel: 2 · range / 2^bits."""
        return self.ranges / np.float32(2 ** (self.bits - 1))

    @property
    def ranges(self) -> Float32[np.ndarray, "6 1"]:
        """Full scale of each channel."""
        return np.repeat([self.acc_range, self.gyro_range], 3)[:, None].astype(np.float32)


DeviceName: TypeAlias = Literal["phone", "watch", "band", "ring"]
MODELS: dict[DeviceName, DeviceModel] = {
    # Upright in a front trouser pocket, screen outwards: x left, y up, z forward.
    "phone": DeviceModel(
        limb="leg", radius=0.12,
        left_axes=((0, 1, 0), (0, 0, 1), (1, 0, 0)), right_axes=((0, 1, 0), (0, 0, 1), (1, 0, 0)),
        left=0.3, flips=(0.4, 0.2, 0.2, 0.2), tilt_deg=(8.0, 8.0), spin_deg=(12.0, 8.0),
        fingers=0.0, shake=0.3, rate_hz=100.0, jitter=0.3, acc_range=8 * _G, gyro_range=34.9, bits=16,
        acc_noise=0.03, gyro_noise=0.004, gain=0.01, acc_bias=0.15, gyro_bias=0.01, loss_hz=0.05, loss_s=0.06,
    ),
    # On the back of the wrist: y backwards, z out of the face, x towards the hand (right wrist: the elbow).
    "watch": DeviceModel(
        limb="forearm", radius=0.14,
        left_axes=((0, 0, -1), (-1, 0, 0), (0, 1, 0)), right_axes=((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
        left=0.85, flips=(0.9, 0.1, 0.0, 0.0), tilt_deg=(5.0, 4.0), spin_deg=(10.0, 8.0),
        fingers=1.0, shake=1.0, rate_hz=52.0, jitter=0.2, acc_range=8 * _G, gyro_range=34.9, bits=16,
        acc_noise=0.04, gyro_noise=0.006, gain=0.015, acc_bias=0.2, gyro_bias=0.02, loss_hz=0.1, loss_s=0.1,
    ),
    # On the outside of the upper arm: x up, z outwards.
    "band": DeviceModel(
        limb="arm", radius=0.1,
        left_axes=((0, 0, 1), (1, 0, 0), (0, 1, 0)), right_axes=((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
        left=0.7, flips=(0.85, 0.15, 0.0, 0.0), tilt_deg=(5.0, 4.0), spin_deg=(15.0, 12.0),
        fingers=0.3, shake=0.6, rate_hz=64.0, jitter=0.1, acc_range=4 * _G, gyro_range=8.73, bits=12,
        acc_noise=0.06, gyro_noise=0.01, gain=0.02, acc_bias=0.3, gyro_bias=0.03, loss_hz=0.2, loss_s=0.15,
    ),
    # On a finger, free to turn: x towards the fingertip, z forwards on the hanging left hand.
    "ring": DeviceModel(
        limb="forearm", radius=0.2,
        left_axes=((0, 0, -1), (0, 1, 0), (1, 0, 0)), right_axes=((0, 0, -1), (0, -1, 0), (-1, 0, 0)),
        left=0.6, flips=(0.8, 0.0, 0.0, 0.2), tilt_deg=(8.0, 8.0), spin_deg=(30.0, 20.0),
        fingers=2.5, shake=1.2, rate_hz=26.0, jitter=0.1, acc_range=4 * _G, gyro_range=17.5, bits=10,
        acc_noise=0.08, gyro_noise=0.02, gain=0.02, acc_bias=0.3, gyro_bias=0.04, loss_hz=0.3, loss_s=0.2,
    ),
}  # fmt: skip
#: Half turns about no axis, z, y, x of the device.
_FLIPS = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=np.float64)


@dataclass(frozen=True)
class Wearing:
    """How one person wears one unit of a model.

    Args:
        side: +1 left, −1 right.
        rotation: sensor axes ← segment axes, one per execution.
        gain, bias: of the six channels.
        rate_hz: true sampling rate of this unit's clock.
        start_s: when this device began to record, after the execution began.
    """

    side: int
    rotation: Float64[np.ndarray, "e 3 3"]
    gain: Float64[np.ndarray, "6"]
    bias: Float64[np.ndarray, "6"]
    rate_hz: float
    start_s: float


def device_purpose(device: str) -> str:
    """What the random numbers of a device model are drawn for, as ``metapulse.rng`` names it."""
    return f"wearables/device/{device}"


def device_generator(seed: int, user: int, device: str) -> np.random.Generator:
    """The stream of one person's unit of a device model: wearing first, then noise."""
    return generator(seed, device_purpose(device), client=user)


def draw_wearing(rng: np.random.Generator, model: DeviceModel, executions: int, spread: float) -> Wearing:
    """Draw how a unit is worn; deviations from the model's convention scale with ``spread``.

    Args:
        rng: stream of the unit.
        model: which device.
        executions: how often it was put on.
        spread: 0 makes all units of a model alike and alike worn, on the left.
    """
    z, u = spread * rng.standard_normal(17), rng.random(3)
    wear = spread * rng.standard_normal((executions, 4))
    odd = rng.random((executions, 2))
    side = -1 if u[0] < (1 - model.left) * min(spread, 1) else 1
    # A person's habit, and one wearing in ten otherwise.
    cumulative = np.cumsum(chances(model, spread))
    habit = np.searchsorted(cumulative, u[1], side="right")
    now = np.where(odd[:, 0] < 0.1, np.searchsorted(cumulative, odd[:, 1], side="right"), habit)
    tilt = np.radians(model.tilt_deg[0] * z[0:3] + model.tilt_deg[1] * wear[:, :3])
    spin = np.radians(model.spin_deg[0] * z[3] + model.spin_deg[1] * wear[:, 3])
    turn = rotations(np.stack([0 * spin, 0 * spin, spin], 1)) @ rotations(tilt)
    axes = np.array(model.left_axes if side > 0 else model.right_axes, dtype=np.float64)
    return Wearing(
        side=side,
        rotation=_FLIPS[now][:, :, None] * (axes @ turn),
        gain=1 + model.gain * z[4:10],
        bias=np.repeat([model.acc_bias, model.gyro_bias], 3) * z[10:16],
        rate_hz=model.rate_hz * (1 + 0.01 * float(np.clip(z[16], -3, 3))),
        start_s=float(u[2]),
    )


def chances(model: DeviceModel, spread: float) -> Float64[np.ndarray, "4"]:
    """Probabilities of the four ways to put it on; unusual ones shrink with the spread."""
    chances = np.array(model.flips) * min(spread, 1.0)
    chances[0] = 1.0 - chances[1:].sum()
    return chances


def rotations(vector: Float64[np.ndarray, "e 3"]) -> Float64[np.ndarray, "e 3 3"]:
    """Rotation matrices by Rodrigues' formula: R = 1 + sin a [k] + (1 − cos a) [k]², a = |v|, k = v / a."""
    angle = np.sqrt((vector**2).sum(1))[:, None, None]
    x, y, z = (vector / np.maximum(angle[:, :, 0], 1e-12)).T
    zero = np.zeros_like(x)
    k = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    matrix: Float64[np.ndarray, "e 3 3"] = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
    return matrix


def sample_times(
    rng: np.random.Generator, model: DeviceModel, wearing: Wearing, executions: int, seconds: float
) -> Float32[np.ndarray, "e m"]:
    """True times of the samples, s: regular stamps k / rate, each off by at most jitter / rate."""
    m = int(np.ceil(seconds * wearing.rate_hz)) + 2
    error = rng.random((executions, m), dtype=np.float32) * 2 - 1
    return (np.arange(m, dtype=np.float32) + np.float32(model.jitter) * error) / np.float32(wearing.rate_hz)


def read_out(
    rng: np.random.Generator,
    model: DeviceModel,
    wearing: Wearing,
    ideal: Float32[np.ndarray, "6 e m"],
    shake: Float64[np.ndarray, " e"],
    noise: float,
) -> Float32[np.ndarray, "e 6 m"]:
    """What the unit's converter puts out for an ideal signal in segment axes (module docstring).

    Args:
        rng: stream of the unit.
        model, wearing: the device.
        ideal: specific force and angular rate in the axes of the segment.
        shake: broadband vibration of each execution at the wrist, m/s².
        noise: factor on the sensor's own noise.
    """
    _, e, m = ideal.shape
    gain = wearing.gain.reshape(2, 3, 1)
    turned = (gain * wearing.rotation[:, None]).astype(np.float32) @ ideal.reshape(2, 3, e, m).transpose(2, 0, 1, 3)
    acc = np.sqrt((noise * model.acc_noise) ** 2 + (model.shake * shake) ** 2)
    gyro = np.sqrt((noise * model.gyro_noise) ** 2 + (0.1 * model.shake * shake) ** 2)
    scale = np.repeat(np.stack([acc, gyro], 1), 3, axis=1)[:, :, None].astype(np.float32)
    value = rng.standard_normal((e, 6, m), dtype=np.float32)
    value *= scale
    value += turned.reshape(e, 6, m)
    value += wearing.bias[:, None].astype(np.float32)
    steps, ranges = model.steps, model.ranges
    value *= 1 / steps
    np.rint(value, out=value)
    value *= steps
    return np.clip(value, -ranges, ranges, out=value)


def resample(
    rng: np.random.Generator, model: DeviceModel, wearing: Wearing, value: Float32[np.ndarray, "e 6 m"], count: int
) -> Float32[np.ndarray, "e 6 count"]:
    """Lose bursts of samples, then interpolate linearly between what is left to ``count`` times at 50 Hz."""
    e, _, m = value.shape
    starts = rng.random((e, m), dtype=np.float32) < model.loss_hz / wearing.rate_hz
    burst = max(1, round(model.loss_s * wearing.rate_hz))
    total = np.cumsum(starts, axis=1, dtype=np.int32)
    total[:, burst:] -= total[:, :-burst].copy()
    kept = total == 0
    kept[:, [0, -1]] = True
    index = np.arange(m)
    before = np.maximum.accumulate(np.where(kept, index, 0), axis=1)
    after = np.minimum.accumulate(np.where(kept, index, m - 1)[:, ::-1], axis=1)[:, ::-1]
    position = np.arange(count) * (wearing.rate_hz / RATE_HZ)
    floor = position.astype(np.int64)
    left, right = before[:, floor], after[:, floor + 1]
    weight = ((position - left) / (right - left)).astype(np.float32)[:, None]
    low = np.take_along_axis(value, left[:, None], axis=2)
    high = np.take_along_axis(value, right[:, None], axis=2)
    between: Float32[np.ndarray, "e 6 count"] = low + weight * (high - low)
    return between


def cut(
    stream: Float32[np.ndarray, "e 6 count"], windows: Int64[np.ndarray, " e"]
) -> tuple[Float32[np.ndarray, "n 6 64"], Int64[np.ndarray, " n"]]:
    """The first windows of each execution, half overlapping, and the execution of each."""
    views = np.lib.stride_tricks.sliding_window_view(stream, LENGTH, axis=2)[:, :, ::HOP]  # (e, 6, w, 64)
    execution, window = np.nonzero(np.arange(views.shape[2]) < windows[:, None])
    return np.ascontiguousarray(views[execution, :, window]), execution.astype(np.int64)
