"""Wearables in C: the same people, the same executions and the same readings as with NumPy, on vectors of any width."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.compiler import compiled
from metapulse.sim.sources.wearables import Wearables, population
from metapulse.sim.sources.wearables.device import MODELS
from metapulse.sim.sources.wearables.native import simulate
from metapulse.sim.sources.wearables.native.simulate import EXECUTION, PERSON, Simulator, simulator
from metapulse.sim.sources.wearables.person import draw_executions, draw_person
from metapulse.sim.sources.wearables.population import simulated

DEVICES = tuple(MODELS)
#: A converter that neither rounds as much as float32 does nor cuts.
FINE = {"bits": 44, "acc_range": 1e6, "gyro_range": 1e6}


@pytest.fixture(params=[(), ("-mno-avx512f",), ("-mno-avx",)], ids=["native", "256 bits", "128 bits"])
def width(request: pytest.FixtureRequest) -> Iterator[None]:
    """Code for vectors of each width."""
    with pytest.MonkeyPatch.context() as patch:
        if compiled(simulate.SOURCE, *simulate.FLAGS, *request.param) is None:
            pytest.skip(f"nothing is compiled here with {request.param}")
        patch.setattr(simulate, "compiled", lambda source, *flags: compiled(source, *flags, *request.param))
        yield


def in_c(source: Wearables, device: str) -> Simulator:
    made = dataclasses.asdict(source)
    made.pop("users"), made.pop("devices")
    found = simulator(device=device, **made)
    if found is None:
        pytest.skip("no C compiler on this machine")
    return found


populations = st.fixed_dictionaries(
    {
        "executions": st.integers(2, simulate.MOST_EXECUTIONS),
        "windows": st.integers(1, 9),
        "missing": st.sampled_from([0.0, 0.1, 0.9]),
        "person_spread": st.sampled_from([0.0, 0.4, 1.0, 3.0]),
        "device_spread": st.sampled_from([0.0, 0.4, 1.0, 3.0]),
        "noise": st.sampled_from([0.0, 1.0, 5.0]),
        "seed": st.integers(0, 2**64),
    }
)
anyone = st.integers(0, 2**40 - 1)


@settings(max_examples=60)
@given(chosen=populations, user=anyone)
def test_people_and_what_they_do_are_those_of_numpy(chosen: dict[str, Any], user: int) -> None:
    """Double precision throughout but for what either rounds to single; the order of what happened is the same."""
    source = Wearables(users=2**40, **chosen)
    found, did = in_c(source, "phone").people(user)
    person = draw_person(source.seed, user, source.person_spread, source.missing)
    done = draw_executions(source.seed, user, person, source.executions, source.windows)
    assert len(did) == len(done)
    for whole in ("activity", "windows", "other_arm"):
        assert np.array_equal(did[whole], getattr(done, whole))
    for names, ours, theirs in ((PERSON.names, found[0], person), (EXECUTION.names, did, done)):
        for name in names or ():
            close = 2**-22 if name in ("timbre", "gesture") else 1e-11
            np.testing.assert_allclose(ours[name], getattr(theirs, name), rtol=close, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
def test_readings_are_those_of_numpy_up_to_rounding(width: None, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fine converter, so that nothing is hidden by a step of it or made larger.

    Angular accelerations are sums of harmonics k of size k² A ω², a few of them against each other, in single
    precision (6e-8): a few millionths of the largest reading.
    """
    monkeypatch.setitem(MODELS, device, dataclasses.replace(MODELS[device], **FINE))
    simulate._prepared.cache_clear()
    for seed, spread, noise in ((0, 1.0, 1.0), (1, 0.0, 0.0), (2, 3.0, 0.0)):
        source = Wearables(seed=seed, person_spread=spread, device_spread=spread, noise=noise)
        for user in (0, 7, 31_415_926, 2**39):
            ours, theirs = in_c(source, device).record(user), simulated(source, user, device)
            assert np.array_equal(ours.y, theirs.y)
            assert np.array_equal(ours.group, theirs.group)
            assert not ours.held_out.any()
            for kind in (slice(0, 3), slice(3, 6)):
                error = np.abs(ours.x[:, kind] - theirs.x[:, kind]).max() / np.abs(theirs.x[:, kind]).max()
                assert error < 4e-6
    simulate._prepared.cache_clear()


@settings(max_examples=40)
@given(chosen=populations, user=anyone, device=st.sampled_from(DEVICES))
def test_a_reading_is_on_the_same_step_or_on_the_next(chosen: dict[str, Any], user: int, device: str) -> None:
    """Rounding of 1e-6 of a range is at most .03 steps (2⁻¹⁵ of it), so few readings come to lie on another step."""
    source = Wearables(users=2**40, **chosen)
    ours, theirs = in_c(source, device).record(user), simulated(source, user, device)
    assert np.array_equal(ours.y, theirs.y)
    assert np.array_equal(ours.group, theirs.group)
    off = np.abs(ours.x - theirs.x) / MODELS[device].steps
    assert off.max() < 1.01
    assert (off > 0.01).mean() < 0.03


def test_what_is_too_long_for_the_code_in_c_is_left_to_numpy() -> None:
    usual = {"seed": 0, "device": "ring", "missing": 0.1, "person_spread": 1.0, "device_spread": 1.0, "noise": 1.0}
    assert simulator(executions=simulate.MOST_EXECUTIONS + 1, windows=6, **usual) is None
    assert simulator(executions=2, windows=simulate.MOST_WINDOWS + 1, **usual) is None
    source = Wearables(users=1, devices=("ring",), executions=simulate.MOST_EXECUTIONS + 1, windows=2, seed=5)
    assert np.array_equal(source.samples(0).x, simulated(source, 0, "ring").x)


def test_the_longest_execution_keeps_its_phase() -> None:
    source = Wearables(users=1, devices=("ring",), executions=2, windows=simulate.MOST_WINDOWS, missing=0.9)
    ours, theirs = in_c(source, "ring").record(3), simulated(source, 3, "ring")
    assert np.abs(ours.x - theirs.x).max() < 1.01 * MODELS["ring"].steps.max()
    assert (ours.x != theirs.x).mean() < 0.03


def test_without_a_compiler_numpy_simulates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "compiled", lambda source, *flags: None)
    source = Wearables(users=1, seed=77)
    for device, name in enumerate(source.devices):
        assert np.array_equal(source.samples(device).x, simulated(source, 0, name).x)


def test_a_client_does_not_depend_on_who_was_asked_before() -> None:
    source = Wearables(users=1_000_000, seed=3)
    first = in_c(source, "phone").record(999_999).x
    for name in DEVICES:
        in_c(source, name).record(17)
    assert np.array_equal(in_c(source, "phone").record(999_999).x, first)


def test_no_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = in_c(Wearables(seed=1), "band")

    monkeypatch.setattr(whole.code, "record", lambda *given: 1)
    with pytest.raises(MemoryError, match="no memory for a device's readings"):
        whole.record(0)


def test_the_population_is_simulated_in_c() -> None:
    source = Wearables(users=2, seed=11)
    for client in range(len(source)):
        expected = in_c(source, source.client(client).device).record(source.client(client).user)
        assert np.array_equal(source.samples(client).x, expected.x)
    assert population.simulator is simulator
