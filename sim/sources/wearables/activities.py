"""What each activity does to the body, before any person or device: a table of joint angles and accelerations.

A periodic motion is a Fourier series in the stride phase φ (one stride is two steps), for the left side of the
body; amplitudes are magnitudes of harmonics 1, 2, 3 …, ``shift`` their phases in cycles:

    q(φ) = pose + Σ_k A_k cos(k φ + 2π shift_k)

Angles in degrees: thigh and upper arm from hanging straight down, forward positive; the elbow adds to the upper
arm. Accelerations in m/s²: surge forward, sway to the left, heave up. Orders of magnitude follow the textbooks of
gait analysis (Winter, "Biomechanics and Motor Control of Human Movement"); they are chosen, not fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float64

HARMONICS = 6
#: Rows of the tables below, and of everything indexed by joint.
JOINTS = ("thigh", "leg_roll", "leg_twist", "upper_arm", "elbow", "arm_roll", "arm_twist")
TRUNK = ("surge", "sway", "heave")

_Wave = tuple[tuple[float, float], ...]  # (amplitude, shift in cycles) of harmonics 1, 2, 3 …


@dataclass(frozen=True)
class Activity:
    """One activity of an average adult.

    Args:
        frequency_hz: strides (walking), pedal turns (cycling) or body sways (rest) per second.
        pose: mean angle of each joint of ``JOINTS``, degrees.
        waves: joint or trunk direction → its harmonics (degrees, m/s²).
        other_arm: (upper_arm, elbow, arm_twist) of the second way to hold the arm, degrees.
        gesture: size of irregular arm movement, degrees.
        fine: size of fast hand movement (2.5–5 Hz), degrees.
        vibration: broadband shaking at the wrist, m/s².
        loose: how much poses differ from one execution to the next, degrees.
    """

    name: str
    frequency_hz: float
    pose: tuple[float, ...]
    waves: dict[str, _Wave]
    other_arm: tuple[float, float, float]
    gesture: float
    fine: float
    vibration: float
    loose: float


ACTIVITIES = (
    Activity(
        name="walking",
        frequency_hz=0.93,
        pose=(4.0, 0.0, 0.0, -2.0, 20.0, 6.0, -15.0),
        waves={
            "thigh": ((21.0, 0.0), (4.5, 0.30), (1.5, 0.60)),
            "leg_roll": ((4.0, 0.25), (1.0, 0.0)),
            "leg_twist": ((5.0, 0.1), (2.0, 0.4)),
            "upper_arm": ((13.0, 0.5), (2.0, 0.1)),
            "elbow": ((9.0, 0.45), (2.0, 0.2)),
            "arm_roll": ((3.0, 0.2),),
            "arm_twist": ((7.0, 0.4), (2.0, 0.1)),
            "surge": ((0.0, 0.0), (1.5, 0.15), (0.0, 0.0), (0.6, 0.5), (0.0, 0.0), (0.3, 0.2)),
            "sway": ((0.8, 0.25), (0.0, 0.0), (0.5, 0.6), (0.0, 0.0), (0.2, 0.1)),
            "heave": ((0.0, 0.0), (2.4, 0.35), (0.0, 0.0), (1.1, 0.1), (0.0, 0.0), (0.6, 0.7)),
        },
        other_arm=(5.0, 75.0, -60.0),
        gesture=3.0,
        fine=0.15,
        vibration=0.25,
        loose=4.0,
    ),
    Activity(
        name="running",
        frequency_hz=1.38,
        pose=(14.0, 0.0, 0.0, -12.0, 85.0, 12.0, -20.0),
        waves={
            "thigh": ((33.0, 0.0), (8.0, 0.35), (3.0, 0.7)),
            "leg_roll": ((6.0, 0.25), (2.0, 0.0)),
            "leg_twist": ((8.0, 0.1), (3.0, 0.4)),
            "upper_arm": ((24.0, 0.5), (4.0, 0.1)),
            "elbow": ((9.0, 0.55), (4.0, 0.3)),
            "arm_roll": ((6.0, 0.2), (2.0, 0.5)),
            "arm_twist": ((10.0, 0.4), (3.0, 0.1)),
            "surge": ((0.0, 0.0), (2.6, 0.2), (0.0, 0.0), (1.2, 0.6), (0.0, 0.0), (0.5, 0.2)),
            "sway": ((1.4, 0.25), (0.0, 0.0), (0.9, 0.6), (0.0, 0.0), (0.4, 0.1)),
            "heave": ((0.0, 0.0), (8.5, 0.45), (0.0, 0.0), (3.0, 0.2), (0.0, 0.0), (1.3, 0.8)),
        },
        other_arm=(-5.0, 70.0, -40.0),
        gesture=2.0,
        fine=0.15,
        vibration=0.7,
        loose=4.0,
    ),
    Activity(
        name="stairs",
        frequency_hz=0.84,
        pose=(17.0, 0.0, 0.0, 3.0, 26.0, 7.0, -15.0),
        waves={
            "thigh": ((24.0, 0.0), (5.0, 0.20), (2.0, 0.5)),
            "leg_roll": ((5.0, 0.25), (2.0, 0.3)),
            "leg_twist": ((5.0, 0.2), (2.0, 0.1)),
            "upper_arm": ((8.0, 0.5), (2.0, 0.3)),
            "elbow": ((6.0, 0.4), (2.0, 0.4)),
            "arm_roll": ((3.0, 0.3),),
            "arm_twist": ((6.0, 0.5), (2.0, 0.1)),
            "surge": ((0.0, 0.0), (1.0, 0.35), (0.0, 0.0), (0.4, 0.7), (0.0, 0.0), (0.2, 0.2)),
            "sway": ((1.1, 0.25), (0.0, 0.0), (0.3, 0.6), (0.0, 0.0), (0.1, 0.1)),
            "heave": ((0.0, 0.0), (1.9, 0.5), (0.0, 0.0), (0.8, 0.3), (0.0, 0.0), (0.4, 0.9)),
        },
        other_arm=(35.0, 45.0, -60.0),  # a hand on the rail
        gesture=3.0,
        fine=0.15,
        vibration=0.2,
        loose=5.0,
    ),
    Activity(
        name="cycling",
        frequency_hz=1.2,
        pose=(60.0, 3.0, 0.0, 62.0, 18.0, 10.0, -75.0),
        waves={
            "thigh": ((23.0, 0.0), (2.0, 0.2)),
            "leg_roll": ((2.0, 0.3),),
            "leg_twist": ((2.0, 0.1),),
            "upper_arm": ((1.0, 0.2),),
            "elbow": ((1.5, 0.7),),
            "arm_roll": ((1.0, 0.3),),
            "arm_twist": ((1.0, 0.3),),
            "surge": ((0.0, 0.0), (0.3, 0.1)),
            "sway": ((0.4, 0.25),),
            "heave": ((0.0, 0.0), (0.3, 0.4)),
        },
        other_arm=(45.0, 40.0, -80.0),
        gesture=1.5,
        fine=0.15,
        vibration=1.1,
        loose=5.0,
    ),
    Activity(
        name="sitting",
        frequency_hz=0.25,
        pose=(84.0, 4.0, 0.0, 22.0, 66.0, 10.0, -80.0),
        waves={
            "thigh": ((0.3, 0.0),),
            "upper_arm": ((0.5, 0.2),),
            "surge": ((0.03, 0.1),),
            "sway": ((0.02, 0.2),),
            "heave": ((0.03, 0.3),),
        },
        other_arm=(10.0, 45.0, -60.0),  # hands in the lap
        gesture=3.0,
        fine=0.35,
        vibration=0.02,
        loose=7.0,
    ),
    Activity(
        name="standing",
        frequency_hz=0.32,
        pose=(2.0, 1.0, 0.0, 2.0, 14.0, 5.0, -12.0),
        waves={
            "thigh": ((0.6, 0.0),),
            "leg_roll": ((0.4, 0.3),),
            "upper_arm": ((1.0, 0.2),),
            "elbow": ((0.5, 0.3),),
            "surge": ((0.06, 0.1),),
            "sway": ((0.05, 0.2),),
            "heave": ((0.02, 0.3),),
        },
        other_arm=(15.0, 95.0, -40.0),  # holding something, looking at it
        gesture=4.0,
        fine=0.2,
        vibration=0.02,
        loose=6.0,
    ),
)
NAMES = tuple(a.name for a in ACTIVITIES)


def harmonics(names: tuple[str, ...]) -> Complex64[np.ndarray, "activities signals harmonics"]:
    """Complex amplitudes A_k e^{2πi shift_k} of the named joints (rad) or trunk directions (m/s²)."""
    table = np.zeros((len(ACTIVITIES), len(names), HARMONICS), dtype=np.complex64)
    for a, activity in enumerate(ACTIVITIES):
        for s, name in enumerate(names):
            unit = np.pi / 180 if name in JOINTS else 1.0
            for k, (amplitude, shift) in enumerate(activity.waves.get(name, ())):
                table[a, s, k] = unit * amplitude * np.exp(2j * np.pi * shift)
    return table


def poses() -> Float64[np.ndarray, "activities joints"]:
    """Mean angle of every joint, rad."""
    return np.radians(np.array([a.pose for a in ACTIVITIES], dtype=np.float64))


def column(field: str) -> Float64[np.ndarray, "activities *values"]:
    """One field of every activity, as in the table."""
    return np.array([getattr(a, field) for a in ACTIVITIES], dtype=np.float64)
