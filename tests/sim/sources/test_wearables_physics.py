"""Wearables: rigid-body physics against finite differences, and the chain from motion to readings."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.sim.sources.wearables.activities import ACTIVITIES, NAMES
from metapulse.sim.sources.wearables.device import (
    MODELS,
    cut,
    draw_wearing,
    read_out,
    resample,
    rotations,
    sample_times,
)
from metapulse.sim.sources.wearables.gait import limb_course
from metapulse.sim.sources.wearables.motion import GRAVITY, Course, sense_ideal
from metapulse.sim.sources.wearables.person import draw_executions, draw_person

DEVICES = tuple(MODELS)


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def equal(a, b):
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("x", "y", "group", "held_out"))


# --- kinematics ------------------------------------------------------------------------------------------------


def limb_of(user, limb, radius, side=1):
    person = draw_person(0, user, 1.0, 0.0)
    done = draw_executions(0, user, person, 2, 4)
    return limb_course(person, done, limb, side, radius, 1.0), done


def angles_and_trunk(limb, t):
    """The definition of a course in double precision: seven signals at times t."""
    m, nu, rho = limb.wander.T[:, :, None]
    phi = limb.omega[:, None] * t + limb.phase[:, None] + m * np.sin(nu * t + rho)
    k = np.arange(1, limb.periodic.shape[2] + 1)
    q = np.einsum("esk,emk->sem", limb.periodic, np.exp(1j * phi[:, :, None] * k)).real
    irregular = np.exp(1j * limb.irregular_rad_s[:, None, :] * t[None, :, None])
    q[:4] += np.einsum("esj,emj->sem", limb.irregular, irregular).real
    q[:4] += limb.pose.T[:, :, None]
    return q


def frames(q):
    """Segment axes (rows f, y, l in world coordinates) from pitch, roll, twist by elementary rotations."""
    pitch, roll, twist = q[1], q[2], q[3]
    one, zero = np.ones_like(pitch), np.zeros_like(pitch)
    c, s = np.cos(pitch), np.sin(pitch)
    P = np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]])
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[one, zero, zero], [zero, c, s], [zero, -s, c]])
    c, s = np.cos(twist), np.sin(twist)
    T = np.array([[c, s, zero], [-s, c, zero], [zero, zero, one]])
    return np.einsum("abem,bcem,cdem->emad", T, R, P)


@pytest.mark.parametrize(
    ("limb", "radius", "side"), [("leg", 0.12, 1), ("arm", 0.1, -1), ("forearm", 0.14, 1), ("forearm", 0.2, -1)]
)
def test_sensor_reads_the_motion_of_the_limb(limb, radius, side):
    """Position and axes are differentiated numerically, in double precision, without any formula of the module.

    Central differences of step h = 2e-4 s err by h² q''''/12: harmonics reach 2π · 8.3 Hz, so relative 1e-5.
    """
    moving, _ = limb_of(5, limb, radius, side)
    t, h = np.linspace(0.1, 3.0, 23), 2e-4

    def state(times):
        q = angles_and_trunk(moving, times)
        axes = frames(q)
        position = -moving.radius_m * axes[:, :, 2]
        if moving.proximal_m:  # the elbow hangs from the shoulder in the sagittal plane
            upper = np.stack([np.sin(q[0]), np.zeros_like(q[0]), -np.cos(q[0])], -1)
            position = position + moving.proximal_m * upper
        return q, axes, position

    q, axes, here = state(t)
    _, before_axes, before = state(t - h)
    _, after_axes, after = state(t + h)
    acceleration = (after - 2 * here + before) / h**2 + np.moveaxis(q[4:], 0, -1) + [0, 0, GRAVITY]
    force = np.einsum("emad,emd->ema", axes, acceleration)
    # ω × e_f · e_y = ω_l, and cyclic: rates of the axes seen from the axes.
    turning = np.einsum("emad,embd->emab", (after_axes - before_axes) / (2 * h), axes)
    rate = np.stack([turning[..., 1, 2], turning[..., 2, 0], turning[..., 0, 1]], -1)

    read = np.moveaxis(sense_ideal(moving, np.tile(t, (len(q[0]), 1)).astype(np.float32)), 0, -1)
    assert np.abs(read[..., :3] - force).max() < 2e-4 * np.abs(force).max()
    assert np.abs(read[..., 3:] - rate).max() < 2e-4 * np.abs(rate).max()


def test_a_still_limb_reads_gravity_along_its_tilt():
    still = Course(
        omega=np.ones(1),
        phase=np.zeros(1),
        wander=np.zeros((1, 3)),
        pose=np.radians([[20.0, 90.0, 0.0, -90.0]]),
        periodic=np.zeros((1, 7, 6), np.complex64),
        irregular_rad_s=np.ones((1, 4)),
        irregular=np.zeros((1, 4, 4), np.complex64),
        proximal_m=0.3,
        radius_m=0.25,
    )
    read = sense_ideal(still, np.linspace(0, 1, 5, dtype=np.float32)[None])[:, 0, 0]
    # A forearm held out level, palm down: "left" of the twisted segment, the back of the hand, points up.
    assert np.allclose(read, [0, GRAVITY, 0, 0, 0, 0], atol=1e-5)


def test_walking_has_the_step_frequency_of_its_person_in_the_vertical_axis():
    person = draw_person(0, 11, 1.0, 0.0)
    done = draw_executions(0, 11, person, 2, 40)
    walk = int(np.flatnonzero(done.activity == NAMES.index("walking"))[0])
    t = np.tile(np.arange(0, 20, 0.02, dtype=np.float32), (len(done), 1))
    limb = limb_course(person, done, "arm", 1, 0.1, 1.0)
    along = sense_ideal(limb, t)[2, walk].astype(float)
    power = np.abs(np.fft.rfft(along - along.mean())) ** 2
    step_hz = np.fft.rfftfreq(len(along), 0.02)[power.argmax()]
    assert step_hz == pytest.approx(2 * limb.omega[walk] / (2 * np.pi), abs=0.11)  # wander is ± .075 · 2 Hz
    assert 1.4 < step_hz < 2.4


# --- devices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.5])
def test_orientations_are_rotations(device, spread):
    for seed in range(20):
        wearing = draw_wearing(rng(seed), MODELS[device], 8, spread)
        R = wearing.rotation
        assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-12)
        assert np.allclose(np.linalg.det(R), 1.0, atol=1e-12)
        assert abs(wearing.rate_hz / MODELS[device].rate_hz - 1) <= 0.03 + 1e-12
        if spread == 0:
            assert np.array_equal(R, np.tile(np.array(MODELS[device].left_axes, float), (8, 1, 1)))
            assert np.array_equal(wearing.gain, np.ones(6))
            assert not wearing.bias.any()


def test_rotation_vectors_turn_by_their_length_about_their_direction():
    v = rng().standard_normal((50, 3))
    R = rotations(v)
    angle = np.linalg.norm(v, axis=1)
    assert np.allclose(np.einsum("eij,ej->ei", R, v), v)
    assert np.allclose(np.trace(R, axis1=1, axis2=2), 1 + 2 * np.cos(angle))
    quarter = rotations(np.array([[0, 0, np.pi / 2]]))[0]
    assert np.allclose(quarter @ [1, 0, 0], [0, 1, 0])


@pytest.mark.parametrize("device", DEVICES)
def test_sampling_times_keep_their_order_and_their_jitter(device):
    model = MODELS[device]
    wearing = draw_wearing(rng(1), model, 6, 1.0)
    t = sample_times(rng(2), model, wearing, 6, 4.0).astype(float)
    error = t * wearing.rate_hz - np.arange(t.shape[1])
    assert np.abs(error).max() <= model.jitter + 1e-4  # float32 of 400 periods
    assert np.abs(error).max() > 0.9 * model.jitter
    assert (np.diff(t) > 0).all()
    assert t[:, -1].min() > 4.0  # reaches beyond the last instant that is interpolated


@pytest.mark.parametrize("device", DEVICES)
def test_readings_lie_on_the_lattice_and_within_range(device):
    model = MODELS[device]
    wearing = draw_wearing(rng(3), model, 4, 1.0)
    strong = 60 * rng(4).standard_normal((6, 4, 500), dtype=np.float32)
    value = read_out(rng(5), model, wearing, strong, np.full(4, 0.5), 1.0)
    steps = np.repeat([model.acc_range, model.gyro_range], 3).astype(np.float32)[:, None] / 2 ** (model.bits - 1)
    count = value / steps
    assert np.abs(count - np.rint(count)).max() < 1e-2  # float32 of up to 2^15 steps
    assert np.abs(count).max() <= 2 ** (model.bits - 1)
    clipped = np.abs(count).max((0, 2)) == 2 ** (model.bits - 1)
    assert clipped[3:].all()  # 60 rad/s is beyond every gyroscope here
    gentle = read_out(rng(5), model, wearing, strong / 100, np.zeros(4), 0.0)
    exact = wearing.gain[:, None] * np.concatenate(
        [np.einsum("eij,jem->eim", wearing.rotation, part / 100) for part in (strong[:3], strong[3:])], axis=1
    )
    exact = exact + wearing.bias[:, None]
    assert np.abs(gentle - exact).max(axis=(0, 2)) == pytest.approx(steps[:, 0] / 2, rel=0.05)


@given(seed=st.integers(0, 10_000), loss=st.floats(0.0, 8.0), device=st.sampled_from(DEVICES))
def test_resampling_bridges_losses_by_straight_lines(seed, loss, device):
    """A reading linear in time comes back exactly, whatever was lost and whatever the rate."""
    model = dataclasses.replace(MODELS[device], loss_hz=loss)
    wearing = draw_wearing(rng(seed), model, 3, 1.0)
    m = sample_times(rng(0), model, wearing, 3, 4.46).shape[1]
    slope = np.arange(1, 7, dtype=np.float32)[:, None]
    ramp = np.tile(slope * (np.arange(m, dtype=np.float32) / np.float32(wearing.rate_hz)), (3, 1, 1))
    out = resample(rng(seed), model, wearing, ramp, 224)
    assert np.allclose(out, slope * np.arange(224) / 50, atol=2e-5)


def test_losses_change_the_signal_only_where_they_fall():
    wearing = dataclasses.replace(draw_wearing(rng(), MODELS["band"], 40, 0.0), rate_hz=50.0)
    value = rng(1).standard_normal((40, 6, 230), dtype=np.float32)
    none = dataclasses.replace(MODELS["band"], loss_hz=0.0)
    assert np.array_equal(resample(rng(2), none, wearing, value, 224), value[:, :, :224])
    some = dataclasses.replace(MODELS["band"], loss_hz=0.5, loss_s=0.1)
    changed = (resample(rng(2), some, wearing, value, 224) != value[:, :, :224]).any(1).mean()
    # .5 bursts of .1 s per second: 5 % of samples, 4 standard errors of ~ 90 bursts.
    assert 0.05 * (1 - 0.42) < changed < 0.05 * (1 + 0.42)


def test_cut_takes_the_first_windows_of_every_execution():
    stream = rng().standard_normal((3, 6, 64 + 32 * 4), dtype=np.float32)
    x, execution = cut(stream, np.array([2, 5, 1]))
    assert execution.tolist() == [0, 0, 1, 1, 1, 1, 1, 2]
    assert np.array_equal(x[1], stream[0, :, 32:96])
    assert np.array_equal(x[6], stream[1, :, 128:192])


def test_models_fit_their_sampling_to_their_content():
    for model in MODELS.values():
        assert model.jitter < 0.5
        assert sum(model.flips) == pytest.approx(1.0)
        assert model.rate_hz / 2 > 12  # each person's tremor is below half the rate
        for axes in (model.left_axes, model.right_axes):
            assert np.linalg.det(np.array(axes, float)) == pytest.approx(1.0)
    assert len({a.name for a in ACTIVITIES}) == len(ACTIVITIES) == 6
