"""One person's executions as the course of the limb that a device sits on.

The arm hangs from the shoulder, the leg from the hip; both trunk points move alike. Limb lengths follow body height
by the usual proportions (Drillis, Contini 1966: upper arm .186, forearm .146 of it). The right side runs half a
stride behind the left, and mirrors roll and twist.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Complex128, Float64

from metapulse.sim.sources.wearables.activities import HARMONICS, JOINTS, NAMES, TRUNK, column, harmonics, poses
from metapulse.sim.sources.wearables.motion import ANGLES, DISTAL, PROXIMAL, ROLL, SURGE, TWIST, Course
from metapulse.sim.sources.wearables.person import GESTURES, Executions, Person

Limb = Literal["leg", "arm", "forearm"]
UPPER_ARM, WRIST = 0.186, 0.14  # of body height: shoulder to elbow, elbow to wrist

OMEGA_RAD_S = 2 * np.pi * column("frequency_hz")
_POSES = poses()
OTHER_ARM = np.radians(column("other_arm"))
AT_REST = np.array([name in ("sitting", "standing") for name in NAMES])
_K = np.arange(1, HARMONICS + 1)
_LEG, _ARM = JOINTS[:3], ("upper_arm", "elbow", "arm_roll", "arm_twist")
LEG_WAVES, ARM_WAVES, TRUNK_WAVES = harmonics(_LEG), harmonics(_ARM), harmonics(TRUNK)
#: Size of gestures (slow, middle, fine, tremor) at upper arm or thigh, last segment, roll, twist.
REACH = {
    "leg": np.array([[0, 0, 0, 0], [0.3, 0.3, 0.1, 0], [0.2, 0.2, 0.1, 0], [0.2, 0.2, 0.1, 0]]),
    "arm": np.array([[0, 0, 0, 0], [0.5, 0.4, 0.1, 0.2], [0.3, 0.2, 0.1, 0.1], [0.3, 0.2, 0.1, 0.1]]),
    "forearm": np.array([[0.5, 0.4, 0.1, 0], [1, 1, 1, 1], [0.4, 0.4, 0.4, 0.5], [1, 1, 1, 0.5]]),
}
GESTURE_RAD = np.radians(np.stack([column("gesture"), 0.6 * column("gesture"), column("fine")], 1))


def limb_course(person: Person, done: Executions, limb: Limb, side: int, radius: float, fingers: float) -> Course:
    """How the limb under a device moves.

    Args:
        person, done: who, and what they did.
        limb: the segment the device is strapped to.
        side: +1 left, −1 right.
        radius: distance of the device from the segment's joint, as a share of body height.
        fingers: factor on fine movement and tremor; 1 at the wrist, more on a finger.
    """
    a = done.activity
    periodic = np.zeros((len(done), 7, HARMONICS), dtype=np.complex128)
    periodic[:, :ANGLES] = _leg(person, done) if limb == "leg" else _arm(person, done, limb)
    periodic[:, :ANGLES] *= float(side) ** _K
    periodic[:, [ROLL, TWIST]] *= side
    periodic[:, SURGE:] = _trunk(person, done)
    return Course(
        omega=OMEGA_RAD_S[a] * person.tempo[a] * done.tempo,
        phase=done.phase,
        wander=done.wander,
        pose=_pose(person, done, limb, side),
        periodic=periodic.astype(np.complex64),
        irregular_rad_s=done.gesture_rad_s,
        irregular=_gestures(person, done, limb, fingers).astype(np.complex64),
        proximal_m=UPPER_ARM * person.height_m if limb == "forearm" else 0.0,
        radius_m=radius * person.height_m,
    )


def _scale(person: Person, done: Executions, factor: float) -> Float64[np.ndarray, "e 1 1"]:
    """Size of the periodic motion: the person's factor, or their sway when at rest, times the execution's."""
    scale: Float64[np.ndarray, " e"] = np.where(AT_REST[done.activity], person.sway, factor) * done.size
    return scale[:, None, None]


def _leg(person: Person, done: Executions) -> Complex128[np.ndarray, "e 4 harmonics"]:
    waves = LEG_WAVES[done.activity] * person.timbre[0] * _scale(person, done, person.stride)
    return np.concatenate([np.zeros_like(waves[:, :1]), waves], 1)


def _arm(person: Person, done: Executions, limb: Limb) -> Complex128[np.ndarray, "e 4 harmonics"]:
    # An arm that holds something swings less.
    swing = _scale(person, done, person.arm_swing) * np.where(done.other_arm, 0.5, 1.0)[:, None, None]
    waves = ARM_WAVES[done.activity] * (person.timbre[1] * np.exp(-1j * _K * person.arm_lag)) * swing
    upper, elbow, roll, twist = (waves[:, i] for i in range(4))
    last = upper + elbow if limb == "forearm" else upper
    return np.stack([upper, last, roll, twist], 1)


def _trunk(person: Person, done: Executions) -> Complex128[np.ndarray, "e 3 harmonics"]:
    waves: Complex128[np.ndarray, "e 3 harmonics"]
    waves = TRUNK_WAVES[done.activity] * person.timbre[2] * _scale(person, done, person.vigour)
    # Unequal steps: part of every even harmonic (steps) appears one below it (strides), up and forward.
    waves[:, 0, 0::2] += person.asymmetry * waves[:, 0, 1::2]
    waves[:, 2, 0::2] += person.asymmetry * waves[:, 2, 1::2]
    return waves


def _pose(person: Person, done: Executions, limb: Limb, side: int) -> Float64[np.ndarray, "e 4"]:
    a = done.activity
    joints = _POSES[a].copy()
    arm = [JOINTS.index(j) for j in ("upper_arm", "elbow", "arm_twist")]
    joints[:, arm] = np.where(done.other_arm[:, None], OTHER_ARM[a], joints[:, arm])
    joints += person.pose[a] + done.pose
    thigh, leg_roll, leg_twist, upper, elbow, arm_roll, arm_twist = joints.T
    out = np.zeros((len(done), ANGLES))
    if limb == "leg":
        out[:, DISTAL], out[:, ROLL], out[:, TWIST] = thigh, side * leg_roll, side * leg_twist
    elif limb == "arm":
        out[:, DISTAL], out[:, ROLL], out[:, TWIST] = upper, side * arm_roll, 0.3 * side * arm_twist
    else:
        out[:, PROXIMAL], out[:, DISTAL] = upper, upper + elbow
        out[:, ROLL], out[:, TWIST] = side * arm_roll, side * arm_twist
    return out


def _gestures(person: Person, done: Executions, limb: Limb, fingers: float) -> Complex128[np.ndarray, "e 4 gestures"]:
    size = np.empty((len(done), GESTURES))
    size[:, :3] = GESTURE_RAD[done.activity] * person.fidget
    size[:, 2] *= fingers
    # An acceleration T at the wrist takes an angle of T / (r ω²).
    arc = WRIST * person.height_m * (2 * np.pi * person.tremor_hz) ** 2
    size[:, 3] = fingers * person.tremor_ms2 / arc
    reach: Float64[np.ndarray, "e 4 gestures"] = size[:, None, :] * REACH[limb] / np.sqrt(2)
    gesture: Complex128[np.ndarray, "e 4 gestures"] = done.gesture * reach
    return gesture
