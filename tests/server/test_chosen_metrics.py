"""Metrics that a configuration chooses: asked of clients, kept apart where they are not defined, and deciding."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial, read_trial_json, to_json
from metapulse.errors import ConfigError
from metapulse.server.answers import _sound
from metapulse.server.config import Config, build_config, resolved
from metapulse.server.effect import check_data
from metapulse.server.fingerprint import fingerprint
from metapulse.server.merit import merit
from metapulse.server.metatest import headline, headline_metric, left_out, summarise, undefined_counts
from tests.runs import make
from tests.server.test_metatest import Forged, asked, metrics

CHOSEN = ["macro_f1", "auroc", "ece", "tests.server.test_chosen_metrics:sure"]


def sure(predictions, targets):
    """Mean of the largest probability."""
    return predictions.max(1).mean()


def fails_on_some(predictions, targets):
    """Fails where the first sample is of class 0."""
    if len(targets) < 25 and targets[0] == 0:
        raise ValueError("not today")
    return 0.5


def row(client, value, metric="auroc", apart="", step=1, scenario="new_user"):
    keys = {"round": 1, "phase": "test", "scenario": scenario, "shots": 5, "step": step}
    return {
        **keys,
        "client": client,
        "user": f"p{client}",
        "device": "d",
        "metric": metric,
        "apart": apart,
        "value": value,
    }


def test_without_a_choice_nothing_is_said_of_it():
    """Neither in the address of a run, nor in its configuration, nor to devices, which may not know the key."""
    assert not {"metrics", "main_metric"} & set(resolved(Config())["evaluation"])
    assert "metrics" not in json.loads(to_json(Trial()))
    chosen = build_config({"evaluation": {"metrics": ["ece"]}})
    assert build_config(resolved(chosen)).evaluation == chosen.evaluation
    assert chosen.digest() != Config().digest()
    assert read_trial_json(json.loads(to_json(Trial(metrics=("ece",))))) == Trial(metrics=("ece",))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"metrics": ["f1"]}, "evaluation.metrics = 'f1': must be one of loss, accuracy"),
        ({"metrics": ["ece", "ece"]}, "evaluation.metrics = ['ece', 'ece']: each may be named once"),
        ({"metrics": ["ece"] * 11}, "evaluation.metrics = ['ece', 'ece'"),
        ({"metrics": ["no.such:thing"]}, "evaluation.metrics = 'no.such:thing': cannot be imported"),
        ({"main_metric": "ece"}, "evaluation.main_metric = 'ece': must be one of evaluation.metrics: it names none"),
        (
            {"metrics": ["ece"], "main_metric": "auroc"},
            "evaluation.main_metric = 'auroc': must be one of evaluation.metrics: ece",
        ),
    ],
)
def test_a_wrong_choice_is_refused_before_anything_runs(section, message):
    with pytest.raises(ConfigError) as caught:
        build_config({"evaluation": section})
    assert str(caught.value).startswith(message)


def test_what_is_not_for_the_data_is_refused_before_the_first_round():
    config = make("reptile", "fedreptile", "sine", evaluation={"metrics": ["macro_f1"]})
    with pytest.raises(ConfigError, match=r"^evaluation.metrics = 'macro_f1': is for classification"):
        check_data(config, ClientExecutor(config.client_config()).task, ["sine"])


def test_the_file_of_a_function_is_part_of_what_a_run_rests_on():
    config = build_config({"evaluation": {"metrics": [CHOSEN[-1]]}})
    assert "code tests.server.test_chosen_metrics" in fingerprint(config)


def test_chosen_metrics_stand_beside_the_others_and_change_none_of_them():
    plain, dropped = asked(make("reptile", "fedreptile"))
    more, also = asked(make("reptile", "fedreptile", evaluation={"metrics": CHOSEN}))
    assert [one for one in more if one["metric"] not in CHOSEN] == plain
    assert dropped == also == []
    values = {name: [one["value"] for one in more if one["metric"] == name] for name in CHOSEN}
    assert {name: len(found) for name, found in values.items()} == dict.fromkeys(CHOSEN, 2 * 3)
    assert all(0 <= value <= 1 for found in values.values() for value in found if value is not None)
    assert values["macro_f1"] != values["ece"] != values[CHOSEN[-1]]


def test_metrics_that_are_always_reported_may_be_named():
    plain = asked(make("reptile", "fedreptile"))[0]
    assert asked(make("reptile", "fedreptile", evaluation={"metrics": ["accuracy", "loss"]}))[0] == plain


def test_whom_a_function_fails_on_is_missing_with_the_reason():
    name = "tests.server.test_chosen_metrics:fails_on_some"
    config = make("reptile", "fedreptile", evaluation={"metrics": [name], "episodes": 4})
    rows, dropped = asked(config)
    assert dropped
    assert all(
        f"evaluate: evaluation.metrics = '{name}': raises ValueError: not today" in one.reason for one in dropped
    )
    assert not {one.client for one in dropped} & {one["client"] for one in rows}


NAN = math.nan


@pytest.mark.parametrize(
    ("answer", "values", "apart", "overflowed"),
    [
        ([NAN] * 6, [None] * 3, "auroc not defined", 0),
        ([NAN] * 3 + [0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "", 0),  # of one episode it is not defined
        ([0.5, 0.5, 0.5, 0.5, 0.5, math.inf], [0.5, 0.5, 0.25], "", 1),  # an overflow, as of any share
    ],
)
def test_not_defined_is_neither_a_number_nor_an_overflow(answer, values, apart, overflowed):
    """Two episodes after 0, 1 and 3 steps."""
    config = make("reptile", "fedreptile", evaluation={"metrics": ["auroc"]})
    size = len(ClientExecutor(config.client_config()).source)
    rows, dropped = asked(config, Forged(size, 0, lambda m, r: metrics(m, auroc=answer, accuracy=[0.8] * 6)))
    mine = [one for one in rows if one["client"] == min(one["client"] for one in rows)]
    assert [one["value"] for one in mine if one["metric"] == "auroc"] == pytest.approx(values)
    assert {one["apart"] for one in mine if one["metric"] == "auroc"} == {apart}
    assert [one["value"] for one in mine if one["metric"] == "accuracy"] == [0.8, 0.8, 0.4 if overflowed else 0.8]
    assert dropped == []


@pytest.mark.parametrize("name", ["macro_f1", "auroc", "clarke_a"])
def test_a_share_beyond_one_is_refused(name):
    config = make("reptile", "fedreptile")
    size = len(ClientExecutor(config.client_config()).source)
    _, dropped = asked(config, Forged(size, 0, lambda m, r: metrics(m, **{name: [1.5] * 6})))
    assert [one.reason for one in dropped] == [f"metric '{name}' must be in [0, 1], not 1.5 to 1.5"]


def test_where_the_loss_overflowed_nothing_is_called_undefined():
    loss, scores = (
        np.array([[1.0, np.inf]]),
        {"auroc": np.array([[np.nan, np.nan]]), "mine:f": np.array([[1.0, np.nan]])},
    )
    (found,) = _sound({name: values[None] for name, values in {"loss": loss, **scores}.items()})
    assert found.overflowed.tolist() == [[False, True]]
    assert {name: where.tolist() for name, where in found.undefined.items()} == {
        "auroc": [[True, False]],
        "mine:f": [[False, False]],
    }
    assert found.values["auroc"][0, 1] == 0.0


def test_clients_of_a_stack_are_looked_at_one_by_one():
    """One share is none, one history is no number, one loss overflowed: the others are as if they were alone."""
    rng = np.random.default_rng(0)
    stack = {name: rng.uniform(size=(6, 2, 3)) for name in ("loss", "accuracy", "auroc", "history")}
    stack["accuracy"][1, 0, 0], stack["auroc"][1, 0, 0] = -0.5, 2.0
    stack["history"][2, 1, 1] = np.nan
    stack["loss"][3, 0, 2], stack["auroc"][4, 1] = np.inf, np.nan
    found = _sound(stack)
    assert found[1].startswith("metric 'accuracy' must be in [0, 1], not -0.5 to ")
    assert found[2] == "metric 'history' is not finite"
    for row in (0, 3, 4, 5):
        (alone,) = _sound({name: values[row : row + 1] for name, values in stack.items()})
        np.testing.assert_equal(vars(found[row]), vars(alone))
    assert [found[row].overflowed.any() for row in (0, 3, 4, 5)] == [False, True, False, False]
    assert found[3].values["accuracy"][0, 2] == 0.0
    assert list(found[4].undefined) == ["auroc"]


ROWS = [
    *(row(0, 0.6), row(1, 0.8), row(2, None, apart="auroc not defined")),
    *(row(client, 0.1 * client, "accuracy") for client in range(3)),
]


def test_people_for_whom_a_metric_is_not_defined_are_in_none_of_its_means_and_counted():
    scores = {score["metric"]: score for score in summarise(ROWS)}
    assert (scores["auroc"]["mean"], scores["auroc"]["clients"], scores["auroc"]["apart"]) == (pytest.approx(0.7), 2, 1)
    assert (scores["accuracy"]["clients"], scores["accuracy"]["apart"]) == (3, 0)
    assert left_out(ROWS) == {"auroc not defined": 1}
    counts = {"round": 1, "phase": "test", "scenario": "new_user", "shots": 5, "metric": "auroc", "clients": 1}
    assert undefined_counts(ROWS) == [counts]
    assert summarise([ROWS[2]]) == []


def test_the_main_metric_decides_whatever_else_is_measured():
    assert (headline_metric(ROWS), headline_metric(ROWS, "auroc")) == ("accuracy", "auroc")
    assert (headline(ROWS), headline(ROWS, "auroc")) == (pytest.approx(0.1), pytest.approx(0.7))
    assert (merit(ROWS), merit(ROWS, "auroc")) == (pytest.approx(0.1), pytest.approx(0.7))
    errors = [row(0, 0.2, "ece", step=0), row(0, 0.1, "ece"), row(0, 0.9, "accuracy")]
    assert merit(errors, "ece") == pytest.approx(-0.1)
    assert merit(ROWS[2:], "auroc") is None  # it is defined for nobody: no other metric stands in
    assert headline(ROWS[2:], "auroc") is None
    assert merit([row(0, 2.0, "mine:f"), row(1, 3.0, "mine:f")], "mine:f") == pytest.approx(2.5)
