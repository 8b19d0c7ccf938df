"""Kinematics of a limb: from joint angles to what an ideal inertial sensor on it would read.

A limb hangs from the hip or the shoulder. Frame of a segment: f forward, y left, l along it towards the joint
(up when it hangs). It is pitched by θ (forward positive), rolled by ψ about f, twisted by χ about l. With
c = cos ψ, s = sin ψ, the segment turns, in its own axes before the twist, at

    ω = (ψ', −θ' c, θ' s)         ω' = (ψ'', −θ'' c + θ' ψ' s, θ'' s + θ' ψ' c)

and a sensor at distance r below the joint, whose acceleration is a, reads the specific force

    F = R (a + g ẑ) + r (−ω'_y − ω_f ω_l,  ω'_f − ω_y ω_l,  ω_f² + ω_y²)

which is exact for a rigid segment. The forearm's joint is the elbow, which the upper arm (length L, angle θ_u)
carries along in the sagittal plane: a = a_trunk + L (θ_u'' e_f + θ_u'² e_l). The twist leaves the point where it
is: it turns the components of F and ω about l and adds χ' to ω_l.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64

GRAVITY = 9.81
#: Rows of a course: four angles (rad), then the acceleration of the trunk (m/s²).
PROXIMAL, DISTAL, ROLL, TWIST, SURGE, SWAY, HEAVE = range(7)
ANGLES = 4


@dataclass(frozen=True)
class Course:
    """How one limb moves in e executions.

        φ(t) = ω t + φ0 + m sin(ν t + ρ)
        q_s(t) = pose_s + Re Σ_k periodic_sk e^{ikφ(t)} + Re Σ_j irregular_sj e^{iω_j t}

    Args:
        omega, phase: ω (rad/s) and φ0 (rad).
        wander: m (rad), ν (rad/s), ρ (rad).
        pose: constant part of the four angles, rad.
        periodic: harmonics of the four angles (rad) and of surge, sway, heave (m/s²).
        irregular_rad_s, irregular: ω_j and complex amplitudes of the four angles (rad).
        proximal_m: length of the upper arm for a sensor beyond the elbow, else 0.
        radius_m: distance of the sensor from the last joint.
    """

    omega: Float64[np.ndarray, " e"]
    phase: Float64[np.ndarray, " e"]
    wander: Float64[np.ndarray, "e 3"]
    pose: Float64[np.ndarray, "e 4"]
    periodic: Complex64[np.ndarray, "e 7 harmonics"]
    irregular_rad_s: Float64[np.ndarray, "e gestures"]
    irregular: Complex64[np.ndarray, "e 4 gestures"]
    proximal_m: float
    radius_m: float


def signals(
    course: Course, t: Float32[np.ndarray, "e m"]
) -> tuple[Float32[np.ndarray, "7 e m"], Float32[np.ndarray, "4 e m"], Float32[np.ndarray, "4 e m"]]:
    """The seven signals at times t (s), and first and second time derivative of the four angles."""
    m, nu, rho = (course.wander[:, i, None].astype(np.float32) for i in range(3))
    slow = nu * t + rho
    sine, cosine = np.sin(slow), np.cos(slow)
    phi = course.omega[:, None].astype(np.float32) * t + course.phase[:, None].astype(np.float32) + m * sine
    phi_1 = course.omega[:, None].astype(np.float32) + m * nu * cosine
    phi_2 = -m * nu * nu * sine

    k = np.arange(1, course.periodic.shape[2] + 1, dtype=np.float32)
    a = course.periodic[:, :ANGLES]
    coefficients = np.concatenate([course.periodic, 1j * k * a, -k * k * a], 1)
    waves = _series(coefficients, _powers(phi, len(k)))
    q, slope, bend = waves[:7], waves[7:11], waves[11:]

    w = course.irregular_rad_s[:, None, :].astype(np.float32)
    b = course.irregular
    turning = w[:, 0, :, None] * t[:, None, :]
    extra = _series(np.concatenate([b, 1j * w * b, -w * w * b], 1), np.stack([np.cos(turning), np.sin(turning)], 1))
    q[:ANGLES] += extra[:4] + course.pose.T[:, :, None].astype(np.float32)
    q_1 = slope * phi_1 + extra[4:8]
    q_2 = bend * (phi_1 * phi_1) + slope * phi_2 + extra[8:]
    return q, q_1, q_2


def _powers(phi: Float32[np.ndarray, "e m"], count: int) -> Float32[np.ndarray, "e 2 count m"]:
    """The functions cos kφ and sin kφ, k = 1 … count, by the angle-addition recurrence."""
    out = np.empty((len(phi), 2, count, phi.shape[1]), dtype=np.float32)
    c, s = np.cos(phi), np.sin(phi)
    out[:, 0, 0], out[:, 1, 0] = c, s
    for k in range(1, count):
        np.subtract(out[:, 0, k - 1] * c, out[:, 1, k - 1] * s, out=out[:, 0, k])
        np.add(out[:, 1, k - 1] * c, out[:, 0, k - 1] * s, out=out[:, 1, k])
    return out


def _series(
    coefficients: Complex64[np.ndarray, "e s k"], basis: Float32[np.ndarray, "e 2 k m"]
) -> Float32[np.ndarray, "s e m"]:
    """Re Σ_k C_k e^{ikφ} = Σ_k Re C_k cos kφ − Im C_k sin kφ, for every signal s."""
    e, _, k, m = basis.shape
    weights = np.concatenate([coefficients.real, -coefficients.imag], 2)  # (e, s, 2k)
    sums: Float32[np.ndarray, "e s m"] = weights @ basis.reshape(e, 2 * k, m)
    return sums.swapaxes(0, 1)


def sense_ideal(course: Course, t: Float32[np.ndarray, "e m"]) -> Float32[np.ndarray, "6 e m"]:
    """Specific force (m/s²) and angular rate (rad/s) in the axes f, y, l of the twisted segment.

    Args:
        course: how the limb moves.
        t: times of e executions, s.
    """
    q, q_1, q_2 = signals(course, t)
    x, y, z = q[SURGE], q[SWAY], q[HEAVE] + np.float32(GRAVITY)
    if course.proximal_m:
        c, s = np.cos(q[PROXIMAL]), np.sin(q[PROXIMAL])
        tangential = np.float32(course.proximal_m) * q_2[PROXIMAL]
        central = np.float32(course.proximal_m) * q_1[PROXIMAL] ** 2
        x = x + tangential * c - central * s
        z = z + tangential * s + central * c
    c, s = np.cos(q[DISTAL]), np.sin(q[DISTAL])
    forward, along = x * c + z * s, z * c - x * s
    c, s = np.cos(q[ROLL]), np.sin(q[ROLL])
    left, along = y * c + along * s, along * c - y * s

    pitch, roll = q_1[DISTAL], q_1[ROLL]
    rate_f, rate_y, rate_l = roll, -pitch * c, pitch * s
    turn_f, turn_y = q_2[ROLL], pitch * roll * s - q_2[DISTAL] * c
    r = np.float32(course.radius_m)
    forward -= r * (turn_y + rate_f * rate_l)
    left += r * (turn_f - rate_y * rate_l)
    along += r * (rate_f * rate_f + rate_y * rate_y)

    c, s = np.cos(q[TWIST]), np.sin(q[TWIST])
    return np.stack(
        [
            forward * c + left * s,
            left * c - forward * s,
            along,
            rate_f * c + rate_y * s,
            rate_y * c - rate_f * s,
            rate_l + q_1[TWIST],
        ]
    )
