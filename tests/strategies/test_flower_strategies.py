"""Our strategies where Flower's own would stand: real ClientApps, Flower's round loop, its records and its words."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, Strategy
from hypothesis import given, settings
from hypothesis import strategies as st

import metapulse.strategies
from metapulse.errors import ConfigError
from metapulse.outer import OuterUpdate
from metapulse.server.config import build_config
from metapulse.sim import experiment
from metapulse.strategies import FedMAML, FedOuter, FedReptile
from metapulse.strategies.flower.words import FLOWER
from tests.nodes import THETA, Arrays, Nodes, by_node, client, numbers, plus, record, run, warned
from tests.runs import distance, read

pytestmark = pytest.mark.usefixtures("said")


ULP = 2.0**-24  # half a unit in the last place of float32, relative


def test_four_clients_that_add_one_and_half_a_step_give_one_after_two_rounds() -> None:
    strategy = FedReptile(fraction_train=1.0, min_available_nodes=4, epsilon=0.5, schedule="constant")
    result = run(strategy, Nodes(client(plus(1.0)), late={3: 2, 4: 5}))
    for name, values in numbers(result.arrays).items():
        np.testing.assert_array_equal(values, THETA[name] + 1)
        assert values.dtype == THETA[name].dtype
    assert list(result.arrays) == list(THETA)


@pytest.mark.parametrize("name", metapulse.strategies.__all__)
def test_every_public_strategy_is_a_flower_strategy_with_flowers_words(name: str) -> None:
    kind = getattr(metapulse.strategies, name)
    assert issubclass(kind, FedAvg)
    assert issubclass(kind, Strategy)
    assert kind.__name__ == name


def test_flowers_fedavg_has_the_words_and_the_start_that_ours_pass_on() -> None:
    """Fails where Flower's FedAvg, read in 1.41, changes: then words.py and outer.py must follow."""
    words = set(inspect.signature(FedAvg.__init__).parameters) - {"self"}
    assert words == FLOWER, "Flower's FedAvg takes other constructor words than metapulse.strategies.flower.words lists"
    theirs, ours = (list(inspect.signature(k.start).parameters) for k in (Strategy, FedOuter))
    assert theirs == ours, "Strategy.start has other parameters than FedOuter.start passes on"


def test_a_name_that_is_none_is_refused_by_the_package() -> None:
    with pytest.raises(ImportError):
        exec("from metapulse.strategies import FedNothing")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), weights=st.lists(st.integers(1, 500), min_size=2, max_size=5))
def test_reptile_with_a_whole_step_and_weights_by_samples_is_flowers_fedavg(seed: int, weights: list[int]) -> None:
    """To the rounding of float32: theirs adds n products up, ours rounds each θ − φ_i, their mean, and the step."""
    rng = np.random.default_rng(seed)
    theta = {"w": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    sent = {i: {k: rng.normal(size=v.shape).astype(np.float32) for k, v in theta.items()} for i in range(1, 6)}
    count = len(weights)
    app = client(lambda arrays, node: sent[node], lambda node: {"num-examples": weights[node - 1], "l": 1.0 / node})
    words = {"min_train_nodes": count, "fraction_evaluate": 1.0}
    reptile = FedReptile(epsilon=1.0, schedule="constant", weighting="samples", **words)
    theirs, ours = (run(s, Nodes(app, count), 1, theta) for s in (FedAvg(**words), reptile))
    for name in theta:
        largest = max(float(np.abs(sent[i][name]).max()) for i in range(1, count + 1))
        bound = ULP * ((count + 2) * largest + 2 * (largest + float(np.abs(theta[name]).max())) + largest)
        np.testing.assert_allclose(ours.arrays[name].numpy(), theirs.arrays[name].numpy(), rtol=0, atol=bound)
    for attribute in ("train_metrics_clientapp", "evaluate_metrics_clientapp"):
        for round, metrics in getattr(theirs, attribute).items():
            assert dict(getattr(ours, attribute)[round]) == pytest.approx(dict(metrics), rel=1e-12)


def test_reptile_counts_every_client_the_same_and_its_step_falls_linearly() -> None:
    """ε_t = 1, 1/2 over two rounds: θ moves by the plain mean 2.5, then by half of it."""
    nodes = Nodes(by_node({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, {1: 1, 2: 1, 3: 1, 4: 97}))
    result = run(FedReptile(), nodes)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 2.5 + 1.25)


def test_maml_takes_adams_steps_along_the_mean_of_what_clients_report() -> None:
    """Clients send θ − g with g = 0.5 everywhere: after bias correction Adam's steps are lr · sign(g) but for τ."""
    result = run(FedMAML(lr=0.25), Nodes(client(plus(-0.5))), 3)
    rule, theta = OuterUpdate("adam"), {k: torch.tensor(v) for k, v in THETA.items()}
    state = rule.init(theta)
    for _ in range(3):
        theta, state = rule.apply(state, theta, {k: torch.full_like(p, 0.5) for k, p in theta.items()}, 0.25)
    for name, p in theta.items():
        np.testing.assert_allclose(result.arrays[name].numpy(), p.numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(result.arrays[name].numpy(), THETA[name] - 3 * 0.25, rtol=0, atol=1e-5)


def test_parameters_are_not_taken_for_updates() -> None:
    """An ordinary client sends θ − 0.1 u where u_i is awaited; a client that sends u_i of any size is believed."""
    for size in (0.01, 0.3):
        nodes = Nodes(client(lambda arrays, node, size=size: {k: v * (1 - size) for k, v in arrays.items()}))
        with pytest.raises(ConfigError, match=r"FedReptile\.reports = 'updates': but most replies hold parameters"):
            run(FedReptile(reports="updates"), nodes)
    for size in (-3.0, -1.0, 1e-6, 0.1, 0.4, 3.0):
        nodes = Nodes(client(lambda arrays, node, size=size: {k: size * v for k, v in arrays.items()}))
        run(FedReptile(reports="updates"), nodes)


def test_updates_and_parameters_are_two_ways_to_say_the_same() -> None:
    """Numbers that float32 holds exactly: the same bits."""

    def updates(arrays: Arrays, node: int) -> Arrays:
        return {name: np.full_like(a, -node / 8) for name, a in arrays.items()}

    def parameters(arrays: Arrays, node: int) -> Arrays:
        return {name: a + np.asarray(node / 8, a.dtype) for name, a in arrays.items()}

    told = {"epsilon": 0.5, "schedule": "constant"}
    nodes = Nodes(client(updates))
    first = run(FedReptile(reports="updates", **told), nodes)
    second = run(FedReptile(**told), other := Nodes(client(parameters)))
    for name in THETA:
        np.testing.assert_array_equal(first.arrays[name].numpy(), second.arrays[name].numpy())
    asked = [nodes.asked[0][0], other.asked[0][0]]
    assert [m.content.config_records["config"].get("reports") for m in asked] == ["updates", None]


def test_nodes_that_come_late_are_waited_for_and_all_of_them_are_asked(said: pytest.LogCaptureFixture) -> None:
    nodes = Nodes(client(plus(1.0)), count=6, late={4: 3, 5: 4, 6: 6})
    run(FedReptile(min_available_nodes=6, fraction_train=0.5, fraction_evaluate=1.0), nodes, 1)
    assert [len(sent) for sent in nodes.asked] == [3, 6]
    waited = [r.getMessage() for r in said.records if "Waiting for nodes" in r.getMessage()]
    assert len(waited) == 6
    assert waited[-1].endswith("5 connected (minimum required: 6).")


@pytest.mark.parametrize(("fraction", "least", "asked"), [(0.5, 0, 3), (0.5, 5, 5), (1.0, 2, 6), (0.4, 2, 2)])
def test_the_fraction_is_of_the_nodes_that_are_connected(fraction: float, least: int, asked: int) -> None:
    nodes = Nodes(client(plus(1.0)), count=6)
    words: dict[str, Any] = {"fraction_train": fraction, "min_train_nodes": least, "fraction_evaluate": 0.0}
    run(FedOuter(**words), nodes, 1)
    run(FedAvg(**words), theirs := Nodes(client(plus(1.0)), count=6), 1)
    assert [len(sent) for sent in nodes.asked] == [len(sent) for sent in theirs.asked] == [asked]


def test_the_keys_of_records_are_those_that_were_chosen() -> None:
    seen: list[set[str]] = []
    app = client(plus(1.0))

    def spy(message: Message, context: Any) -> Message:
        seen.append(set(message.content))
        content = RecordDict({"theirs": record(plus(1.0)(numbers(message.content.array_records["model"]), 1))})
        content["numbers"] = MetricRecord({"tokens": 7})
        return Message(content, reply_to=message)

    nodes = Nodes(app)
    nodes._apps = dict.fromkeys(nodes._apps, spy)  # type: ignore[assignment]
    words = {"arrayrecord_key": "model", "configrecord_key": "told", "weighted_by_key": "tokens"}
    result = run(FedOuter(fraction_evaluate=0.0, **words), nodes, 1)
    assert seen == 4 * [{"model", "told"}]
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 1)


def test_metrics_of_training_and_evaluation_go_to_the_functions_that_were_given() -> None:
    def count(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
        return MetricRecord({"replies": len(contents), "by": len(weighted_by)})

    own = {"train_metrics_aggr_fn": count, "evaluate_metrics_aggr_fn": count}
    result = run(FedReptile(**own), Nodes(client(plus(1.0))), 1)
    for told in (result.train_metrics_clientapp, result.evaluate_metrics_clientapp):
        assert dict(told[1]) == {"replies": 4, "by": len("num-examples")}


def test_a_metric_that_one_client_lacks_is_left_out_and_named(said: pytest.LogCaptureFixture) -> None:
    app = client(plus(1.0), lambda node: {"num-examples": 1, "both": 2.0} | ({"mine": 1.0} if node == 1 else {}))
    result = run(FedReptile(), Nodes(app), 1)
    assert dict(result.train_metrics_clientapp[1]) == {"both": 2.0}
    assert "not all clients report alike are left out: mine" in warned(said)


def test_precisions_of_floats_are_no_offence() -> None:
    """Flower's own strategies hand out float64; NumPy makes it easily."""
    app = client(lambda arrays, node: {k: (a + 1).astype(np.float64) for k, a in arrays.items()})
    result = run(FedReptile(epsilon=0.5, schedule="constant"), Nodes(app))
    assert {a.dtype for a in result.arrays.values()} == {"float32"}
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 1)


@pytest.mark.parametrize("outer", ["sgd", "adam", "yogi"])
def test_half_precision_is_computed_with_in_full(outer: str) -> None:
    theta = {"w": np.array([0.5, 1.0], np.float16)}
    result = run(FedOuter(outer=outer, lr=0.5), Nodes(client(plus(1.0))), 2, theta)
    assert result.arrays["w"].dtype == "float16"
    np.testing.assert_allclose(result.arrays["w"].numpy(), theta["w"] + 1, rtol=0, atol=2e-3)


def test_without_rounds_or_without_training_the_arrays_come_back() -> None:
    for strategy, rounds in ((FedReptile(), 0), (FedReptile(fraction_train=0.0), 1)):
        nodes = Nodes(client(plus(1.0)))
        result = run(strategy, nodes, rounds)
        np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"])
        assert len(nodes.asked) == rounds  # the evaluation


def test_the_summary_is_logged_as_flowers(said: pytest.LogCaptureFixture) -> None:
    FedReptile(epsilon=0.5).summary()
    text = "\n".join(r.getMessage() for r in said.records)
    for told in ("Rate: epsilon = 0.5 (linear)", "Clients report: parameters", "Minimum available nodes: 2"):
        assert told in text


def test_a_server_that_evaluates_sees_theta_of_every_round() -> None:
    seen: list[float] = []

    def judge(round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(float(arrays["b"].numpy()))
        return MetricRecord({"round": round})

    train = ConfigRecord({"lr": 0.1})
    result = run(FedReptile(), nodes := Nodes(client(plus(1.0))), 2, evaluate_fn=judge, train_config=train)
    assert seen == [0.5, 1.5, 2.0]
    assert list(result.evaluate_metrics_serverapp) == [0, 1, 2]
    assert dict(nodes.asked[0][0].content.config_records["config"])["lr"] == 0.1


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_metapulses_own_round_loop_gives_the_same_with_it_as_with_its_own(schedule: str, tmp_path: Path) -> None:
    """One implementation behind two interfaces: on the cohort engine, θ agrees to the rounding of θ − u."""
    common: dict[str, Any] = {"run": {"rounds": 3}, "source": {"name": "sine", "clients": 6}}
    common |= {"learner": {"name": "reptile"}, "model": {"name": "mlp"}, "evaluation": {"scenarios": ["new_user"]}}
    options = {"epsilon": 0.5, "schedule": schedule, "rounds": 3}
    sections = {
        "own": {"name": "fedreptile", "lr": 0.5, "schedule": schedule, "cohort": 4},
        "theirs": {"name": "stock", "reference": "metapulse.strategies:FedReptile", "options": options, "cohort": 4},
    }
    thetas = []
    for name, section in sections.items():
        config = build_config({**common, "strategy": section, "method": {"free": section["name"] == "stock"}})
        thetas.append(read(tmp_path / name, experiment.run_experiment(config, tmp_path / name)).thetas[-1])
    assert distance(*thetas) <= 1e-6
