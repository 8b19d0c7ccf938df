"""Motion windows of an old device as the new one would have recorded them: orientation and gain from shared moments.

    a_new ≈ R ā_old + g_a ∘ R (a_old − ā_old),   ω_new ≈ g_w ∘ R ω_old

R is the rotation that takes the old device's readings nearest to the new one's, by a singular value decomposition with
a proper determinant (Kabsch 1976, doi:10.1107/S0567739476001873), g a gain for each axis of the new device; gravity, a
window's mean acceleration ā, has none. What turns freely against the old device, such as a wrist against a pocket, has
no such rotation: the share of the new device's movement that the map accounts for says so, and a map that accounts for
too little leaves windows as they are. Gravity alone is no evidence, for most things are worn upright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

Readings = Float32[np.ndarray, "n 6 time"]
Vectors = Float[np.ndarray, "m 3"]
LEAST_EXPLAINED = 0.25  # share of the new device's movement under which there is no map
GAIN = (0.2, 5.0)  # limits of an axis's gain
SENSORS = (slice(0, 3), slice(3, 6))  # acceleration, rotation rate


@dataclass(frozen=True)
class Orientation:
    """A turn and a gain for each axis and sensor.

    Args:
        rotation: R, of determinant 1.
        gain: of the new device's axes, acceleration first; (2, 3).
        explained: share of the new device's movement that the map accounts for at the shared moments.
    """

    rotation: Float[np.ndarray, "3 3"]
    gain: Float[np.ndarray, "2 3"]
    explained: float

    @property
    def holds(self) -> bool:
        """Whether the devices sit firmly enough against each other for a map."""
        return self.explained >= LEAST_EXPLAINED

    def apply(self, windows: Readings) -> Readings:
        """Old windows in the new device's axes; as they are where the map does not hold.

        Args:
            windows: acceleration in m/s², then rotation in rad/s.
        """
        if not self.holds:
            return windows
        turned = np.concatenate([self.rotation @ windows[:, part] for part in SENSORS], 1)
        rest = _rest(turned)
        out: np.ndarray = (rest + (turned - rest) * self.gain.reshape(1, 6, 1)).astype(np.float32)
        return out


def nearest_rotation(old: Vectors, new: Vectors) -> Float[np.ndarray, "3 3"]:
    """R of determinant 1 that makes Σ‖R old − new‖² least (Kabsch 1976).

    Args:
        old, new: vectors of the same moments, row by row.
    """
    u, _, v = np.linalg.svd(new.T @ old)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v)) or 1.0])
    rotation: np.ndarray = u @ sign @ v
    return rotation


def orientation_of(old: Readings, new: Readings) -> Orientation:
    """The turn and the gains between two devices.

    Both sensors turn alike; each counts by its own spread, so that neither's unit decides.

    Args:
        old, new: windows of the same moments, (pairs, 6, time), at least one.
    """
    moving = [x - _rest(x) for x in (old, new)]
    scale = [max(float(np.sqrt(np.square(new[:, part]).mean())), 1e-9) for part in SENSORS]
    both = [
        np.concatenate([_vectors(x[:, part]) / s for part, s in zip(SENSORS, scale, strict=True)]) for x in (old, new)
    ]
    rotation = nearest_rotation(*both)
    gains, left, whole = [], 0.0, 0.0
    for part, s in zip(SENSORS, scale, strict=True):
        a, b = _vectors(moving[0][:, part]) @ rotation.T, _vectors(moving[1][:, part])
        own = np.square(a).sum(0)
        gain = np.clip(np.where(own > 1e-9, (a * b).sum(0) / np.maximum(own, 1e-9), 1.0), *GAIN)
        gains.append(gain)
        left += float(np.square((b - a * gain) / s).sum())
        whole += float(np.square(b / s).sum())
    return Orientation(rotation, np.stack(gains), 1.0 - left / max(whole, 1e-12))


def _rest(windows: Float[np.ndarray, "n 6 time"]) -> Float[np.ndarray, "n 6 1"]:
    """What stands still: the mean acceleration; of rotation nothing."""
    rest: np.ndarray = windows.mean(2, keepdims=True) * np.array([1, 1, 1, 0, 0, 0], np.float32)[:, None]
    return rest


def _vectors(windows: Float[np.ndarray, "n 3 time"]) -> Vectors:
    """A vector a row, of all windows and times."""
    rows: np.ndarray = np.moveaxis(windows, 1, 2).reshape(-1, 3).astype(np.float64)
    return rows
