"""People: gait, posture, tremor and habits, and the executions they perform.

Everything is drawn from the person's own address, so a person is the same whatever devices they wear and however
many other people there are. Deviations from the average adult scale with ``spread``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex64, Float64, Int64

from metapulse.rng import generator
from metapulse.sim.sources.wearables.activities import ACTIVITIES, HARMONICS, JOINTS, column

PERSON_PURPOSE, EXECUTIONS_PURPOSE = "wearables/person", "wearables/executions"
GESTURES = 4  # slow, middle, fine, tremor
_LIMBS = 3  # leg, arm, trunk: each has its own timbre
_LOOSE = column("loose")


@dataclass(frozen=True)
class Person:
    """One person; the average adult has every factor 1 and every offset 0.

    Args:
        height_m: body height, 1.4 to 2.1 m.
        tempo: factor on each activity's frequency.
        vigour: factor on the accelerations of the trunk.
        stride: factor on leg angles.
        arm_swing: factor on arm angles.
        arm_lag: how far the arms run behind the opposite leg, rad.
        asymmetry: share of the step rhythm that alternates between left and right, ≥ 0.
        timbre: complex factor on each harmonic of leg, arm and trunk; the first is 1.
        pose: offset of each joint in each activity, rad.
        other_arm: probability of holding the arm the second way, 0 to 1.
        sway, fidget: factors on the movement of a resting body and on gestures.
        tremor_hz, tremor_ms2: frequency (8 to 12 Hz) and acceleration at the wrist.
        present: which activities this person ever does.
        usage: relative frequency of each activity, 0 where not present, sums to 1.
    """

    height_m: float
    tempo: Float64[np.ndarray, " activities"]
    vigour: float
    stride: float
    arm_swing: float
    arm_lag: float
    asymmetry: float
    timbre: Complex64[np.ndarray, "3 harmonics"]
    pose: Float64[np.ndarray, "activities joints"]
    other_arm: Float64[np.ndarray, " activities"]
    sway: float
    fidget: float
    tremor_hz: float
    tremor_ms2: float
    present: Bool[np.ndarray, " activities"]
    usage: Float64[np.ndarray, " activities"]


@dataclass(frozen=True)
class Executions:
    """What one person did, e executions in the order they happened; shared by all devices of the person.

    Args:
        activity: index into ``ACTIVITIES``.
        windows: how many windows were recorded.
        tempo, size: factors on frequency and on amplitude.
        phase: stride phase at the start, rad.
        wander: slow wander of the phase: amplitude (rad), angular frequency (rad/s), phase (rad).
        pose: offset of each joint, rad.
        other_arm: whether the arm was held the second way.
        gesture_rad_s: angular frequency of each irregular component.
        gesture: complex size of each component at (upper arm or thigh, elbow, roll, twist), relative.
    """

    activity: Int64[np.ndarray, " e"]
    windows: Int64[np.ndarray, " e"]
    tempo: Float64[np.ndarray, " e"]
    size: Float64[np.ndarray, " e"]
    phase: Float64[np.ndarray, " e"]
    wander: Float64[np.ndarray, "e 3"]
    pose: Float64[np.ndarray, "e joints"]
    other_arm: Bool[np.ndarray, " e"]
    gesture_rad_s: Float64[np.ndarray, "e gestures"]
    gesture: Complex64[np.ndarray, "e 4 gestures"]

    def __len__(self) -> int:
        return len(self.activity)


def draw_person(seed: int, user: int, spread: float, missing: float) -> Person:
    """Person ``user`` of the population ``seed``.

    Args:
        seed: seed of the population.
        user: the person, ≥ 0.
        spread: how much bodies differ; 0 makes each person the average adult (habits stay their own).
        missing: probability that a person never does an activity (two always remain).
    """
    rng = generator(seed, PERSON_PURPOSE, client=user)
    n = len(ACTIVITIES)
    z = spread * rng.standard_normal(9)
    height = float(np.clip(1.70 + 0.10 * z[0], 1.4, 2.1))
    timbre = np.exp(spread * (0.25 * rng.standard_normal((_LIMBS, HARMONICS)) + 0j))
    timbre *= np.exp(0.4j * spread * rng.standard_normal((_LIMBS, HARMONICS)))
    timbre[:, 0] = 1.0
    chance, weight = rng.random(n), rng.standard_gamma(2.0, n)
    # Two activities always remain: those whose chance of staying was best.
    present = (chance >= missing) | (chance >= np.sort(chance)[-2])
    weight = weight * present
    return Person(
        height_m=height,
        tempo=np.sqrt(1.70 / height) * np.exp(0.06 * z[1] + 0.04 * spread * rng.standard_normal(n)),
        vigour=float(np.exp(0.20 * z[2])),
        stride=float(np.exp(0.12 * z[3])),
        arm_swing=float(np.exp(0.35 * z[4])),
        arm_lag=float(0.3 * z[5]),
        asymmetry=float(0.15 * abs(z[6])),
        timbre=timbre.astype(np.complex64),
        pose=np.radians(6.0) * spread * rng.standard_normal((n, len(JOINTS))),
        other_arm=0.5 * rng.random(n),
        sway=float(np.exp(0.3 * z[7])),
        fidget=float(np.exp(0.4 * z[8])),
        tremor_hz=10.0 + 2.0 * min(spread, 1.0) * float(rng.uniform(-1, 1)),
        tremor_ms2=float(0.08 * np.exp(0.5 * spread * rng.standard_normal())),
        present=present,
        usage=weight / weight.sum(),
    )


def draw_executions(seed: int, user: int, person: Person, executions: int, windows: int) -> Executions:
    """What person ``user`` did.

    Args:
        seed, user, person: whose.
        executions: mean number of executions of an activity, ≥ 2; two of each present one are certain and the
            others fall on activities by ``person.usage``.
        windows: most windows of an execution; it has ⌈windows/2⌉ to windows of them.
    """
    rng = generator(seed, EXECUTIONS_PURPOSE, client=user)
    counts = 2 * person.present
    counts = counts + rng.multinomial((executions - 2) * int(person.present.sum()), person.usage)
    activity = rng.permutation(np.repeat(np.arange(len(ACTIVITIES)), counts))
    e = len(activity)
    z = rng.standard_normal((e, 2))
    u = rng.random((e, 4 + GESTURES))
    wander = np.stack([0.25 * u[:, 1], 2 * np.pi * (0.1 + 0.2 * u[:, 2]), 2 * np.pi * u[:, 3]], 1)
    gesture_hz = np.array([0.15, 0.5, 2.5, 0.0]) + np.array([0.35, 0.8, 2.5, 0.0]) * u[:, 4:]
    gesture_hz[:, 3] = person.tremor_hz
    gesture = rng.standard_normal((e, 4, GESTURES)) + 1j * rng.standard_normal((e, 4, GESTURES))
    return Executions(
        activity=activity,
        windows=rng.integers((windows + 1) // 2, windows + 1, e),
        tempo=np.exp(0.03 * z[:, 0]),
        size=np.exp(0.08 * z[:, 1] + 0.04 * z[:, 0]),  # faster strides are larger
        phase=2 * np.pi * u[:, 0],
        wander=wander,
        pose=np.radians(_LOOSE[activity])[:, None] * rng.standard_normal((e, len(JOINTS))),
        other_arm=rng.random(e) < person.other_arm[activity],
        gesture_rad_s=2 * np.pi * gesture_hz,
        gesture=gesture.astype(np.complex64),
    )
