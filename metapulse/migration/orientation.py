"""Motion windows of an old device as the new one would have recorded them: orientation and gain from shared moments.

    a_new ≈ g_a ∘ R a_old,   ω_new ≈ g_w ∘ R ω_old

R is the rotation that takes the old device's readings nearest to the new one's, by a singular value decomposition with
a proper determinant (Kabsch 1976, doi:10.1107/S0567739476001873), g a gain for each axis of the new device. What turns
freely against the old device, such as a wrist against a pocket, has no such rotation; how much of the new device's
movement the map accounts for says so, and a map that accounts for too little leaves windows as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

Readings = Float32[np.ndarray, "n 6 time"]
Vectors = Float[np.ndarray, "m 3"]
LEAST_EXPLAINED = 0.25  # share of the new device's variance under which there is no map
GAIN = (0.2, 5.0)  # limits of an axis's gain


@dataclass(frozen=True)
class Orientation:
    """A turn and a gain for each axis and sensor.

    Args:
        rotation: R, of determinant 1.
        gain: of the new device's axes, acceleration first; (2, 3).
        explained: share of the new device's readings, around 0, that the map accounts for at the shared moments.
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
        turned = np.concatenate([self.rotation @ windows[:, :3], self.rotation @ windows[:, 3:]], 1)
        out: np.ndarray = (turned * self.gain.reshape(1, 6, 1)).astype(np.float32)
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
        old, new: windows of the same moments, (pairs, 6, time).
    """
    sides = [
        [np.moveaxis(x[:, part], 1, 2).reshape(-1, 3).astype(np.float64) for part in (slice(3), slice(3, 6))]
        for x in (old, new)
    ]
    scale = [max(float(np.sqrt(np.square(one).mean())), 1e-9) for one in sides[1]]
    weighed = [np.concatenate([one / s for one, s in zip(side, scale, strict=True)]) for side in sides]
    rotation = nearest_rotation(*weighed)
    turned = [one @ rotation.T for one in sides[0]]
    gains = []
    for a, b in zip(turned, sides[1], strict=True):
        own = np.square(a).sum(0)
        gains.append(np.clip(np.where(own > 1e-9, (a * b).sum(0) / np.maximum(own, 1e-9), 1.0), *GAIN))
    left = sum(np.square(b - a * g).sum() / s**2 for a, b, g, s in zip(turned, sides[1], gains, scale, strict=True))
    whole = sum(np.square(b).sum() / s**2 for b, s in zip(sides[1], scale, strict=True))
    return Orientation(rotation, np.stack(gains), float(1.0 - left / max(float(whole), 1e-12)))
