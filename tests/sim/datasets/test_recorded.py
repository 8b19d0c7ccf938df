"""Recorded sources: the contract of every one, and checks against the published facts on real data."""

import os
from pathlib import Path

import numpy as np
import pytest

from metapulse.data import Outline, Source, check_samples, outline
from metapulse.episodes import EpisodePlan
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES
from metapulse.rng import generator
from metapulse.sim.importers.compact import read_npz
from metapulse.sim.sources.catalogue import catalogue

PUBLISHED = [entry.name for entry in catalogue() if entry.read]
RECORDED = {"spsw_har": (23, 46), "aw_fitbit": (49, 98), "uci_har": (30, 30), "cgm_open": (498, 498)}

real = pytest.mark.usefixtures("data_dir")  # skips without METAPULSE_DATA


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch, tmp_path):
    """Nothing a developer has imported may change a result."""
    monkeypatch.setenv("METAPULSE_CACHE", str(tmp_path / "cache"))


@real
@pytest.mark.parametrize("name", PUBLISHED)
def test_contract_holds(name):
    source = SOURCES.make({"name": name})
    if source.dataset.path is None:
        pytest.skip(f"METAPULSE_DATA has no {name}")
    assert isinstance(source, Source)
    assert outline(source) == Outline(source.task.kind, len(source.task.features))
    assert len(source) >= source.users >= 1
    picked = np.unique(np.linspace(0, len(source) - 1, 40).astype(int))
    for index in picked:
        who = source.client(int(index))
        assert who.index == index
        assert who.device in source.devices
        assert index in source.clients_of(who.user)
        assert all(source.client(i).user == who.user for i in source.clients_of(who.user))
        samples = check_samples(source.samples(int(index)), source.task, who.label)
        assert samples.x.dtype == np.float32
        again = SOURCES.make({"name": name}).samples(int(index))
        assert np.array_equal(samples.x, again.x)
        assert np.array_equal(samples.y, again.y)
        samples.x[:] = 7  # a caller's copy: the source must not see this
        assert not np.array_equal(source.samples(int(index)).x, samples.x)


@real
@pytest.mark.parametrize(("name", "counts"), RECORDED.items())
def test_numbers_of_people_and_clients_are_the_published_ones(name, counts):
    source = SOURCES.make({"name": name})
    assert (source.users, len(source)) == counts
    assert source.dataset.users == str(source.users)
    assert sorted({source.client(i).user for i in range(len(source))}) == list(range(source.users))


@real
def test_sorting_by_client_loses_and_mixes_nothing():
    source = SOURCES.make({"name": "spsw_har"})
    stored = read_npz(Path(os.environ["METAPULSE_DATA"]) / "spsw_har/spsw_har.npz")
    assert sum(len(source.samples(i)) for i in range(len(source))) == len(stored["x"])
    device_code = {"phone": 0, "watch": 1}
    for index in range(len(source)):
        who = source.client(index)
        rows = (stored["user"] == int(who.label)) & (stored["device"] == device_code[who.device])
        samples = source.samples(index)
        assert np.array_equal(samples.x, stored["x"][rows])
        assert np.array_equal(samples.y, stored["y"][rows])
        assert np.array_equal(samples.group, stored["execution"][rows])


@real
def test_bouts_are_runs_of_one_activity():
    source = SOURCES.make({"name": "aw_fitbit"})
    for index in range(0, len(source), 7):
        samples = source.samples(index)
        for bout in np.unique(samples.group):
            assert len(np.unique(samples.y[samples.group == bout])) == 1


@real
def test_glucose_windows_are_the_readings():
    """x and y back in mg/dL equal the readings of a five-minute sensor, and the mean is the published 100 to 152."""
    source = SOURCES.make({"name": "cgm_open", "max_windows": 100_000, "target_scale": 1.0})
    stored = read_npz(Path(os.environ["METAPULSE_DATA"]) / "cgm_open/cgm_open.npz")
    label = "BIGIDEAs/001"
    index = next(i for i in range(len(source)) if source.client(i).label == label)
    assert source.client(index).device == "Dexcom G6"
    study, person = (list(stored[k]).index(v) for k, v in zip(("dataset_names", "user_names"), label.split("/")))
    rows = (stored["dataset"] == study) & (stored["user"] == person)
    t, glucose = stored["t_min"][rows], stored["mg_dl"][rows]
    samples = source.samples(index)
    at = dict(zip(t.tolist(), glucose.tolist(), strict=True))
    exact = 0
    for x, y, day in zip(samples.x[:, 0], samples.y[:, 0], samples.group, strict=True):
        history = x * 50 + 140
        presents = [
            s for s in at if s // 1440 == day and abs(at[s] - history[-1]) < 1e-3 and all(
                s - 5 * k in at and abs(at[s - 5 * k] - history[-1 - k]) < 1e-3 for k in range(24)
            ) and s + 30 in at and abs(at[s + 30] - at[s] - y) < 1e-3
        ]  # fmt: skip
        exact += bool(presents)
        if exact == 25:
            break
    assert exact == 25
    means = [source.samples(i).x.mean() * 50 + 140 for i in range(0, len(source), 25)]
    assert 95 < np.mean(means) < 155


def test_what_is_not_imported_says_where_to_get_it(monkeypatch):
    monkeypatch.delenv("METAPULSE_DATA", raising=False)
    for name in PUBLISHED:
        source = SOURCES.make({"name": name})
        with pytest.raises(DataError, match=rf"{name} has not been imported .* https://.*metapulse data import {name}"):
            source.samples(0)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"history_min.*multiple of 5"):
        SOURCES.make({"name": "cgm_open", "history_min": 61})
    with pytest.raises(ConfigError, match=r"split.*background, evaluation"):
        SOURCES.make({"name": "omniglot", "split": ["train"]})


@real
def test_small_omniglot_pools_share_no_character_and_task_t_is_drawn_alone():
    source = SOURCES.make({"name": "omniglot", "way": 5, "tasks": 1_000_000_000})
    from metapulse.sim.datasets.omniglot import pools

    found = pools(Path(os.environ["METAPULSE_DATA"]) / "omniglot_small/omniglot_small.npz")
    background, evaluation = (set(found[k].names) for k in ("background", "evaluation"))
    assert not background & evaluation
    assert len(background | evaluation) == 242
    samples = source.samples(1_234_567_890)
    assert np.array_equal(np.bincount(samples.y), [20] * 5)
    assert np.array_equal(np.bincount(samples.group), [5] * 20)
    assert 0.02 < samples.x.mean() < 0.25  # ink is 1 and covers a small part of the paper
    assert not np.array_equal(samples.x, source.samples(1_234_567_892).x)
    turned = SOURCES.make({"name": "omniglot", "tasks": 100, "rotations": True}).samples(4)
    plain = SOURCES.make({"name": "omniglot", "tasks": 100}).samples(4)
    pictures = SOURCES.make({"name": "omniglot", "tasks": 100, "images": True})
    assert pictures.task.features == (1, 28, 28)
    assert np.array_equal(pictures.samples(4).x.reshape(100, 784), plain.x)
    images = [s.x.reshape(5, 20, 28, 28) for s in (plain, turned)]
    for a, b in zip(*images):
        assert any(np.array_equal(np.rot90(a, k, (1, 2)), b) for k in range(4))


@real
def test_the_official_runs_are_classified_by_pixels_as_published():
    """One training image per character and one test image, by two people; 1-NN on pixels gets 83 of 400 (.208)."""
    source = SOURCES.make({"name": "omniglot", "way": 20, "tasks": 40, "split": ["background", "runs"]})
    plan, hits = EpisodePlan("forward", 1), 0
    for user in range(20):
        index = list(source.clients_of(user))[1]
        samples = check_samples(source.samples(index), source.task, "run")
        cut = plan.testing(samples, source.task, generator(0, "meta-test", client=index))
        assert samples.group[cut.support].tolist() == [0] * 20
        assert samples.group[cut.query].tolist() == [1] * 20
        learn, other = samples.x[cut.support], samples.x[cut.query]
        nearest = ((other[:, None] - learn) ** 2).sum(2).argmin(1)
        hits += int((samples.y[cut.support][nearest] == samples.y[cut.query]).sum())
        again = source.samples(list(source.clients_of(user + 20))[1])
        assert np.array_equal(again.x, samples.x)
    assert hits == 83


def test_runs_have_twenty_characters():
    with pytest.raises(ConfigError, match=r"source.way.*must be 20"):
        SOURCES.make({"name": "omniglot", "way": 5, "split": ["background", "runs"]})
