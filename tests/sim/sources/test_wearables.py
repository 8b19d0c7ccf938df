"""Wearables: the source, people and habits, addressing, the device gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Source, check_samples
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES
from metapulse.sim.sources.wearables import Wearables
from metapulse.sim.sources.wearables.activities import NAMES
from metapulse.sim.sources.wearables.device import (
    HOP,
    MODELS,
)
from metapulse.sim.sources.wearables.person import draw_executions, draw_person

DEVICES = tuple(MODELS)


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def equal(a, b):
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("x", "y", "group", "held_out"))


# --- the source ------------------------------------------------------------------------------------------------


def test_is_a_source_of_finite_float32_windows():
    source = SOURCES.make({"name": "wearables", "users": 3})
    assert isinstance(source, Source)
    assert len(source) == 12
    for i in range(len(source)):
        who = source.client(i)
        assert (who.index, who.user, who.device) == (i, i // 4, DEVICES[i % 4])
        assert i in source.clients_of(who.user)
        samples = check_samples(source.samples(i), source.task, who.label)
        assert samples.x.dtype == np.float32
        assert samples.x.flags.c_contiguous
        assert not samples.held_out.any()
        for group in np.unique(samples.group):
            assert len(set(samples.y[samples.group == group])) == 1  # an execution is of one activity


@settings(max_examples=25)
@given(user=st.integers(0, 999_999), device=st.sampled_from(DEVICES))
def test_a_client_is_the_same_alone_and_among_any_others(user, device):
    alone = Wearables(users=1_000_000, devices=(device,)).samples(user)
    crowd = Wearables(users=user + 1, devices=DEVICES[::-1])
    index = crowd.clients_of(user)[DEVICES[::-1].index(device)]
    crowd.samples((index + 5) % len(crowd))
    assert crowd.client(index).device == device
    assert equal(alone, crowd.samples(index))


def test_a_million_people_cost_nothing_until_asked(monkeypatch):
    drawn = []

    def counted(seed, user, *rest):
        drawn.append(user)
        return draw_person(seed, user, *rest)

    monkeypatch.setattr("metapulse.sim.sources.wearables.population.draw_person", counted)
    monkeypatch.setattr("metapulse.sim.sources.wearables.population.simulator", lambda *settings: None)  # NumPy
    source = Wearables(users=1_000_000)
    assert len(source) == 4_000_000
    assert source.client(3_999_999).user == 999_999
    assert list(source.clients_of(999_999)) == [3_999_996, 3_999_997, 3_999_998, 3_999_999]
    assert drawn == []
    assert len(source.samples(734_201 * 4)) > 0
    assert drawn == [734_201]


def test_all_devices_of_a_person_record_the_same_executions():
    source = Wearables(users=2)
    first, *others = (source.samples(i) for i in source.clients_of(1))
    for other in others:
        assert np.array_equal(first.y, other.y)
        assert np.array_equal(first.group, other.group)
        assert not np.array_equal(first.x, other.x)


def test_a_person_has_one_label_whatever_the_device():
    source = Wearables(users=3)
    assert [{source.client(i).label for i in source.clients_of(user)} for user in range(3)] == [{"0"}, {"1"}, {"2"}]


def test_what_a_process_remembers_cannot_be_changed():
    samples = Wearables(users=1).samples(0)
    with pytest.raises(ValueError, match="read-only"):
        samples.x[0] = 0.0


def test_seeds_people_and_devices_differ():
    source = Wearables(users=2, devices=("watch",))
    x = source.samples(0).x
    assert not np.array_equal(x[:10], source.samples(1).x[:10])
    assert not np.array_equal(x[:10], Wearables(users=2, devices=("watch",), seed=1).samples(0).x[:10])


def test_windows_overlap_by_half_within_an_execution_and_never_across():
    samples = Wearables(users=1, missing=0.0).samples(0)
    shared = (samples.x[:-1, :, HOP:] == samples.x[1:, :, :HOP]).all((1, 2))
    assert np.array_equal(shared, samples.group[:-1] == samples.group[1:])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"devices": ["phone", "pager"]}, "must be one of phone, watch, band, ring"),
        ({"devices": []}, "must name at least one device, none twice"),
        ({"devices": ["phone", "phone"]}, "must name at least one device, none twice"),
        ({"missing": 1.0}, r"source.missing = 1.0: must be ≥ 0.0 and < 1.0"),
        ({"executions": 1}, r"source.executions = 1: must be ≥ 2"),
        ({"user": 3}, "did you mean 'users'"),
    ],
)
def test_refuses_settings_that_cannot_be(section, message):
    with pytest.raises(ConfigError, match=message):
        SOURCES.make({"name": "wearables", **section})


def test_refuses_clients_that_do_not_exist():
    with pytest.raises(DataError, match="no client 8: allowed are 0 to 7"):
        Wearables(users=2).samples(8)
    with pytest.raises(DataError, match="no user 2: allowed are 0 to 1"):
        Wearables(users=2).clients_of(2)


# --- people and habits -----------------------------------------------------------------------------------------


def test_activities_are_missing_at_the_set_rate_and_two_always_remain():
    present = np.array([draw_person(0, u, 1.0, 0.3).present for u in range(2000)])
    # Binomial standard error √(.21/2000) = .0102; keeping two back moves a class by less than .004
    # (.3⁶ + 6 · .7 · .3⁵ = .011 people, one or two of six classes each).
    assert np.abs((1 - present.mean(0)) - 0.3).max() < 4 * 0.0103 + 0.004
    assert present.sum(1).min() >= 2
    assert all(draw_person(0, u, 1.0, 0.999).present.sum() == 2 for u in range(20))
    assert all(draw_person(0, u, 1.0, 0.0).present.all() for u in range(20))


def test_a_client_holds_exactly_the_activities_its_person_does():
    source = Wearables(users=30, devices=("ring",), missing=0.4)
    for u in range(30):
        person = draw_person(0, u, 1.0, 0.4)
        samples = source.samples(u)
        assert set(samples.y) == set(np.flatnonzero(person.present))
        for label in set(samples.y):  # support and query can always come from different executions
            assert len(set(samples.group[samples.y == label])) >= 2


def test_people_use_activities_unequally():
    counts = np.array([np.bincount(Wearables(missing=0.0).samples(4 * u).y, minlength=6) for u in range(40)])
    share = counts / counts.sum(1, keepdims=True)
    assert share.max(1).mean() > 1.4 / 6
    assert np.abs(share.mean(0) - 1 / 6).max() < 0.03  # over people no activity is preferred


def test_executions_follow_their_settings():
    person = draw_person(3, 9, 1.0, 0.0)
    done = draw_executions(3, 9, person, 5, 7)
    assert len(done) == 5 * 6
    assert done.windows.min() >= 4
    assert done.windows.max() <= 7
    least = draw_executions(3, 9, person, 2, 1)
    assert np.array_equal(np.bincount(least.activity), np.full(6, 2))
    assert np.array_equal(least.windows, np.ones(12))


def test_traits_stay_in_their_ranges_and_no_spread_means_one_average_adult():
    people = [draw_person(1, u, 1.0, 0.1) for u in range(300)]
    assert all(1.4 <= p.height_m <= 2.1 for p in people)
    assert all(8 <= p.tremor_hz <= 12 for p in people)
    assert np.std([p.arm_swing for p in people]) > 0.2
    for person in (draw_person(1, u, 0.0, 0.1) for u in range(3)):
        assert (person.height_m, person.vigour, person.stride, person.asymmetry) == (1.70, 1.0, 1.0, 0.0)
        assert np.array_equal(person.timbre, np.ones((3, 6)))
        assert not person.pose.any()


def ratio_of_variances(source, label):
    """Between-person over within-person variance of log sd of |acceleration|, a value per execution."""
    values = []
    for i in range(len(source)):
        samples = source.samples(i)
        strength = np.log(np.linalg.norm(samples.x[:, :3], axis=1).std(1))
        groups = np.unique(samples.group[samples.y == label])
        values.append([strength[samples.group == g].mean() for g in groups])
    return np.var([np.mean(v) for v in values], ddof=1) / np.mean([np.var(v, ddof=1) for v in values])


@pytest.mark.parametrize("device", DEVICES)
def test_people_differ_more_than_executions_of_a_person(device):
    walking = NAMES.index("walking")
    usual = {"users": 40, "devices": (device,), "missing": 0.0}
    assert ratio_of_variances(Wearables(**usual), walking) > 1
    assert ratio_of_variances(Wearables(**usual, person_spread=0.0, device_spread=0.0), walking) < 1
