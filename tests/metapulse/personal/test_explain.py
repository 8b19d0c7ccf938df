"""Explanations, against models whose answer is known."""

import numpy as np
import pytest
import torch

from metapulse.errors import DataError
from metapulse.gaussian_head import GaussianHead, condition
from metapulse.personal.adapt import adapted
from metapulse.personal.explain import _drivers, attribute, by_change, explained, lean, moment
from metapulse.personal.person import questions_of
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from tests.metapulse.personal.made_up import WIDTH, linear_features, person
from tests.streams import glucose, made_up_model


def window(seed):
    return np.random.default_rng(seed).normal(size=(1, WIDTH)).astype(np.float32)


def test_of_a_linear_model_every_way_tells_weight_times_difference():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(WIDTH + 1, 1))
    x, baseline = window(1), window(2)
    found = attribute(linear_features(), torch.from_numpy(weights), x, baseline)
    right = weights[:-1, 0] * (x - baseline)[0]
    for way in (found.gradient, found.integrated, found.occlusion):
        assert np.allclose(way[0], right, atol=1e-5)
    assert found.difference == pytest.approx(right.sum(), abs=1e-5)


def test_level_and_changes_sum_to_the_same_and_a_flat_window_has_no_change():
    head = torch.from_numpy(np.random.default_rng(3).normal(size=(WIDTH + 1, 1)))
    zero = np.zeros((1, WIDTH), np.float32)
    found = attribute(linear_features(), head, window(4), zero)
    level, change = by_change(found)
    assert level.sum() + change.sum() == pytest.approx(found.difference, abs=1e-5)
    level, change = by_change(attribute(linear_features(), head, zero + 2.0, zero))
    assert np.allclose(change, 0.0)
    assert level[0] == pytest.approx(2.0 * float(head[:-1].sum()), abs=1e-5)


def test_one_step_is_told_where_it_is():
    weights = torch.zeros(WIDTH + 1, 1, dtype=torch.float64)
    weights[-3:-1, 0] = torch.tensor([-1.0, 1.0])  # last minus the one before
    x = np.zeros((1, WIDTH), np.float32)
    x[0, -1] = 3.0
    level, change = by_change(attribute(linear_features(), weights, x, np.zeros_like(x)))
    assert level[0] == pytest.approx(0.0, abs=1e-6)
    assert change[0, -1] == pytest.approx(3.0)
    assert np.allclose(change[0, :-1], 0.0)


def test_integrated_gradients_of_a_curved_model_sum_to_the_difference():
    features = linear_features((16,))
    head = torch.from_numpy(np.random.default_rng(5).normal(size=(17, 1)))
    found = attribute(features, head, window(6), window(7))
    assert found.integrated.sum() == pytest.approx(found.difference, rel=0.02)
    assert not np.allclose(found.gradient, found.integrated, atol=1e-3)


def test_population_and_own_part_sum_to_the_forecast_and_shares_of_the_unknown_shrink():
    width = 4
    prior = GaussianHead(torch.ones(1, width, 1).double(), torch.eye(width)[None].double(), torch.ones(1, 1).double())
    x = torch.zeros(1, 50, width).double()
    x[:, :, 0] = 1.0
    after = condition(prior, x, 3.0 * torch.ones(1, 50, 1).double(), torch.ones(1, 50).double())
    along, across = torch.eye(width).double()[:2]
    here = lean(prior, after, along)
    assert here.population + here.own == pytest.approx(float(along @ after.mean[0, :, 0]))
    assert here.own == pytest.approx(2.0 * 50 / 51)
    assert here.known == pytest.approx(50 / 51)
    there = lean(prior, after, across)
    assert (there.own, there.known) == (0.0, 0.0)


def test_an_explanation_is_in_the_metric_s_unit_and_complete():
    model, own = person()
    found = explained(model.features, model.start, model.belief, model.made, own.x[10], own.unit)
    features = model.features.of(own.x[10:11])[0]
    change = 50.0 * float(features @ model.belief.mean[0, :, 0])
    facts = found.facts
    assert facts["population"] + facts["own"] == pytest.approx(change)
    assert found.drivers["contribution"].sum() + facts["typical"] == pytest.approx(change, abs=1e-3)
    assert found.inputs["integrated"].sum() + facts["typical"] == pytest.approx(change, abs=1e-3)
    assert abs(facts["left"]) < 1e-3
    strength = found.drivers["contribution"].abs().to_list()
    assert strength == sorted(strength, reverse=True)
    assert set(found.drivers["until"]) == {0.0, 25.0, 55.0, 85.0}


def test_the_moment_asked_about():
    times = np.array([1_000_000, 2_000_000, 3_000_000], np.int64)
    assert moment(times, "") == 2
    assert moment(times, "1970-01-01T00:00:02") == 1
    assert moment(times, "1970-01-01T01:00:02+01:00") == 1
    with pytest.raises(DataError, match="must be a time"):
        moment(times, "yesterday")
    with pytest.raises(DataError, match="first forecast"):
        moment(times, "1970-01-01T00:00:00")


def test_days_are_told_by_value_and_sum_to_the_same():
    found = attribute(linear_features(), torch.ones(WIDTH + 1, 1).double(), window(8), window(9))
    table = _drivers(found, ("steps",), 1440.0, 2.0)
    assert set(table["what"]) == {"level", "value"}
    assert table["contribution"].sum() == pytest.approx(2.0 * found.difference, abs=1e-4)
    (last,) = table.filter(what="level")["contribution"]
    assert last == pytest.approx(2.0 * found.integrated[0, -1])


def test_a_forecast_of_the_past_is_explained_with_the_head_that_made_it(tmp_path):
    some, whole = tmp_path / "some.parquet", tmp_path / "whole.parquet"
    rows = [
        Row("glucose", one.time, one.value, row=i, device=Device("", one.device))
        for i, one in enumerate(glucose(1_300))
    ]
    for path, upto in ((some, 900), (whole, 1_300)):
        write_rows(rows[:upto], path, FileTally("test", "test"))
    bare = made_up_model()
    device, own = questions_of(some, bare.made)
    model = adapted("glucose_30min", bare.features, bare.start, own, (), {"device": device})
    made = model.predict(whole)
    for place in (100, 640, 641, 860, 900, 1_200):
        given = made.row(place, named=True)
        told = model.explain(whole, given["time"].isoformat())
        summed = sum(told.facts[key] for key in ("base", "typical", "left")) + told.drivers["contribution"].sum()
        assert given["value"] == pytest.approx(summed, abs=1e-6)
        assert given["value"] == pytest.approx(sum(told.facts[key] for key in ("base", "population", "own")), abs=1e-6)
