"""A person's model: honest in time, the same after loading, covered, and silent where it knows nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from metapulse.errors import ConfigError, DataError, RunError
from metapulse.gaussian_head import predictive
from metapulse.personal.adapt import adapted
from metapulse.personal.conformal import conformal
from metapulse.personal.learn import mixture_quantiles
from metapulse.personal.past import PastDevice
from metapulse.personal.person import FACTS, TENSORS, Abstention, PersonModel
from metapulse.personal.walk import ALWAYS, PersonState, inside, sample_weights, told, walk
from metapulse.record.clock import MINUTE
from tests.metapulse.personal.made_up import (
    WIDTH,
    Unchanged,
    linear_features,
    person,
    population,
    questions,
    usual_population,
)


@pytest.fixture(scope="module")
def made():
    return person()


def test_no_forecast_knows_an_outcome_that_came_later(made):
    model, own = made
    before, _ = walk(model.start, model.features, model.fresh, own)
    moment = own.time[70]
    other = replace(own, y=np.where(own.due > moment, own.y + 10.0, own.y))
    after, _ = walk(model.start, model.features, model.fresh, other)
    known = own.time <= moment
    for part in ("mean", "scale", "promised"):
        assert np.array_equal(getattr(before, part)[known], getattr(after, part)[known])
    assert not np.array_equal(before.mean[~known], after.mean[~known])


def test_walking_ends_where_all_outcomes_at_once_lead(made):
    model, own = made
    batch = told(model.prior, model.features.of(own.x), own.y, sample_weights(own))
    assert torch.allclose(model.belief.mean, batch.mean, atol=1e-9)
    assert torch.allclose(model.belief.covariance, batch.covariance, atol=1e-9)


def test_overlapping_windows_count_for_less():
    assert sample_weights(questions(0, n=5, every_min=30)).tolist() == [1, 1, 1, 1, 1]
    assert np.allclose(sample_weights(questions(0, n=5, every_min=5)), [1, *[1 / 6] * 4])


def test_a_person_unlike_the_population_is_learned(made):
    model, _ = made
    odd = np.zeros(WIDTH)
    odd[-1] = -1.0
    own = questions(9, n=300, weights=odd)
    forecasts, _ = walk(model.start, model.features, model.fresh, own, refreshes=30)
    alone = predictive(model.prior, model.features.of(own.x)[None])[0][0, :, 0].numpy()
    late = slice(200, None)
    assert np.square(own.y - forecasts.mean)[late].mean() < 0.5 * np.square(own.y - alone)[late].mean()


def test_the_population_s_scores_cover_people_of_the_same_law():
    features = linear_features()
    start, common = population(features, judged=20, spread=0.0, rough=0.4)
    hits = []
    for seed in range(20):
        own = questions(1000 + seed, n=100, weights=common, rough=0.4)
        forecasts, _ = walk(start, features, PersonState(start.prior, conformal(start.scores)), own, refreshes=5)
        hits.append(inside(own, forecasts).mean())
    assert 0.87 < np.mean(hits) < 0.93


def test_scale_follows_where_forecasts_err_more():
    features = linear_features()
    start, common = population(features, people=20, rough=0.5)
    own = questions(3, n=300, weights=common, rough=0.5)
    wide = own.x[:, 0, -1] > np.quantile(own.x[:, 0, -1], 0.8)
    scale = start.rough.of(own.x)
    assert scale[wide].mean() > 1.5 * scale[~wide].mean()


def test_in_a_mixture_each_person_counts_alike():
    quantiles = mixture_quantiles([np.zeros(1000), np.ones(10)], np.array([0.49, 0.51]))
    assert quantiles.tolist() == [0.0, 1.0]


def test_saved_and_loaded_it_forecasts_the_same(made, tmp_path):
    model, own = made
    model.save(tmp_path / "me")
    again = PersonModel.load(tmp_path / "me")
    later = questions(8, n=30, first_min=int(own.time[-1] // MINUTE) + 30)
    for asked in (own, later):
        for part in ("mean", "scale", "promised"):
            assert np.array_equal(getattr(model.walk(asked)[0], part), getattr(again.walk(asked)[0], part))
    files = {name: (tmp_path / "me" / name).read_bytes() for name in (FACTS, TENSORS)}
    again.save(tmp_path / "me")
    assert files == {name: (tmp_path / "me" / name).read_bytes() for name in files}
    assert sorted(path.name for path in (tmp_path / "me").iterdir()) == [FACTS, TENSORS]


@pytest.mark.parametrize("name", [FACTS, TENSORS])
def test_a_damaged_folder_is_refused(made, tmp_path, name):
    path = made[0].save(tmp_path / "me") / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged"):
        PersonModel.load(tmp_path / "me")
    path.unlink()
    with pytest.raises(DataError):
        PersonModel.load(tmp_path / "me")


def test_tensors_of_another_model_are_refused(made, tmp_path):
    model, _ = made
    model.save(tmp_path / "me")
    replace(model, belief=model.prior).save(tmp_path / "other")
    (tmp_path / "me" / TENSORS).write_bytes((tmp_path / "other" / TENSORS).read_bytes())
    with pytest.raises(DataError, match="of another model"):
        PersonModel.load(tmp_path / "me")


def test_another_version_and_another_folder_are_refused(made, tmp_path):
    path = made[0].save(tmp_path / "me") / FACTS
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(DataError, match="another version"):
        PersonModel.load(tmp_path / "me")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(RunError, match="no person's model"):
        made[0].save(tmp_path / "mine")
    with pytest.raises(DataError, match="no person's model"):
        PersonModel.load(tmp_path / "mine")


def test_it_says_why_it_does_not_know(made):
    model, own = made
    forecasts, _ = walk(model.start, model.features, model.fresh, own)
    asked = replace(own, seen=np.where(np.arange(len(own)) == 50, 0.2, own.seen))
    forecasts.unlike[60] = 2 * model.start.unlike
    forecasts.promised[70] = np.inf
    said = Abstention(outcomes=3, seen=0.5).reasons(asked, forecasts, model.start.unlike)
    assert [i for i, why in enumerate(said) if why.startswith("fewer than 3 outcomes")] == [0, 1, 2]
    assert said[50].startswith("less than 50%")
    assert said[60] == "unlike any window of the population"
    assert said[70].startswith("no interval holds")


def test_a_window_that_jumps_is_unlike_the_population(made):
    model, own = made
    x = own.x.copy()
    x[3, 0, ::2] += 5.0  # no glucose swings by 250 mg/dL every five minutes
    far = model.start.distance(model.features.of(x))
    assert far[3] > model.start.unlike
    assert (np.delete(far, 3) > model.start.unlike).mean() < 0.05


def history(weights, until=None, n=400, known_from=ALWAYS):
    old = questions(21, n=n, weights=weights, first_min=10_000 * 1440)
    if until is not None:
        shift = until - old.due[-1]
        old = replace(old, time=old.time + shift, due=old.due + shift)
    return (PastDevice("Old CGM", (old,), Unchanged(), known_from),)


def test_a_history_that_helps_counts_whole_and_one_that_misleads_not_at_all():
    features = linear_features()
    start, common = usual_population()
    odd = common.copy()
    odd[:5] = 0.4
    own = questions(22, n=60, weights=odd)
    card = {"device": "New CGM"}
    good = adapted("glucose_30min", features, start, own, history(odd), card)
    bad = adapted("glucose_30min", features, start, own, history(-odd), card)
    none = adapted("glucose_30min", features, start, own, (), card)
    assert good.card["power"] >= 0.3
    assert bad.card["power"] == 0.0
    assert good.card["rmse"] < none.card["rmse"]
    assert torch.allclose(bad.belief.mean, none.belief.mean, atol=1e-9)
    told_off = own.time >= bad.origins[1].known_from
    means = [one.walk(own)[0].mean for one in (bad, none)]
    assert np.allclose(means[0][told_off], means[1][told_off], atol=1e-9)
    assert bad.card["rmse"] > none.card["rmse"]  # until then it was believed


def test_history_never_holds_moments_that_are_asked_about():
    features = linear_features()
    start, common = usual_population()
    own = questions(22, n=60, weights=common)
    inside_own = history(5 * common, until=int(own.time[-1]), n=60)
    model = adapted("glucose_30min", features, start, own, inside_own, {"device": "New CGM"})
    assert model.card["history"] == 0
    assert torch.equal(model.origins[-1].belief.mean, model.prior.mean)


def test_no_forecast_knows_what_the_map_had_not_seen_or_the_power_was_not_told_of():
    features = linear_features()
    start, common = usual_population()
    odd = common.copy()
    odd[:5] = 0.4
    own = questions(22, n=120, weights=odd)
    end, card = int(own.time[40]), {"device": "New CGM"}
    alone = adapted("glucose_30min", features, start, own, (), card)
    model = adapted("glucose_30min", features, start, own, history(odd, known_from=end), card)
    without, _ = alone.walk(own)
    made, state = model.walk(own)
    assert np.array_equal(made.mean[:40], without.mean[:40])
    assert not np.array_equal(made.mean[40:], without.mean[40:])
    assert torch.equal(state.belief.mean, model.belief.mean)
    batch = told(model.origins[-1].belief, features.of(own.x), own.y, sample_weights(own))
    assert torch.allclose(model.belief.mean, batch.mean, atol=1e-9)
    # What came later chose another power; what was forecast before rests on the one of then.
    turned = replace(own, y=np.where(own.due > own.time[70], -own.y, own.y))
    other = adapted("glucose_30min", features, start, turned, history(odd), card)
    same = adapted("glucose_30min", features, start, own, history(odd), card)
    assert other.card["power"] != same.card["power"]
    for part in ("mean", "scale", "promised"):
        before, after = (getattr(one.walk(asked)[0], part)[:70] for one, asked in ((same, own), (other, turned)))
        assert np.array_equal(before, after)


@pytest.mark.parametrize("outcomes", [0, 1, 5, 7, 11])
def test_with_too_few_outcomes_the_history_counts_whole(outcomes):
    features = linear_features()
    start, common = usual_population()
    own = questions(22, n=outcomes, weights=common)
    model = adapted("glucose_30min", features, start, own, history(common), {"device": "New CGM"})
    assert model.card["power"] == 1.0
    assert "too few" in model.card["power_chosen_by"]


def test_without_a_linear_head_the_method_s_answer_is_the_one_feature(tmp_path):
    plain = linear_features((8,))
    sections = {**plain.sections, "learner": {"name": "fedavg"}}
    answers = replace(plain, sections=sections, reads=("answer",))
    own = questions(7)
    seen = answers.of(own.x)
    head = torch.cat([plain.params["layer1.weight"].T.double(), plain.params["layer1.bias"].double().unsqueeze(0)])
    assert torch.allclose(seen, torch.cat([plain.of(own.x) @ head, torch.ones(len(own), 1).double()], 1), atol=1e-5)
    model, own = person(answers)
    model.save(tmp_path / "me")
    again = PersonModel.load(tmp_path / "me")
    assert np.array_equal(again.walk(own)[0].mean, model.walk(own)[0].mean)
    with pytest.raises(ConfigError, match=r"model\.name"):
        replace(plain, sections={**sections, "model": {"name": "none such"}})


def test_a_transform_that_is_fitted_is_fitted_on_the_person_s_own_windows_and_kept():
    plain = linear_features()
    features = replace(plain, sections={**plain.sections, "transform": {"name": "standardise"}})
    model, own = person(features, every_min=30)
    assert len(model.features.fitted) == len(own)
    alone = model.features.of(own.x[5:6])
    assert torch.allclose(alone, model.features.of(own.x)[5:6])
    assert len(person()[0].features.fitted) == 0


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ((), "recipe", "glucose_60min"),
        (("card",), "adapted_until", 0),
        (("abstention",), "outcomes", 0),
        ((), "map", "a"),
    ],
)
def test_facts_edited_by_hand_are_refused(made, tmp_path, part, key, value):
    path = made[0].save(tmp_path / "me") / FACTS
    facts = json.loads(path.read_text())
    inner = facts
    for name in part:
        inner = inner[name]
    inner[key] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="changed since it was written"):
        PersonModel.load(tmp_path / "me")


def test_a_record_that_grows_beyond_any_number_of_forecasts_leaves_those_before_as_they_were():
    features, (start, common) = linear_features(), usual_population()
    whole = questions(7, n=3_200, weights=common)
    some = whole.where(np.arange(len(whole)) < 2_900)
    long, short = (
        walk(start, features, PersonState(start.prior, conformal(start.scores)), q)[0] for q in (whole, some)
    )
    for part in ("mean", "scale", "promised", "outcomes"):
        assert np.array_equal(getattr(long, part)[:2_900], getattr(short, part))
