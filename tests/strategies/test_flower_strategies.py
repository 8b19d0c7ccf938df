"""Our strategies where Flower's own would stand: real ClientApps, Flower's round loop, its records and its words."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg, Strategy
from hypothesis import given, settings
from hypothesis import strategies as st

import metapulse.strategies
from metapulse.errors import ConfigError, NoResultError
from metapulse.outer import OuterUpdate
from metapulse.server.config import build_config
from metapulse.sim import experiment
from metapulse.strategies import FedAdaptive, FedMAML, FedOuter, FedReptile, FedRobust
from metapulse.strategies.base import OuterSettings, OuterStrategy
from metapulse.strategies.flower import outer
from metapulse.strategies.flower.words import FLOWER
from tests.nodes import Arrays, Nodes, client, numbers, plus, record
from tests.runs import distance, read

THETA: Arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3) / 4, "b": np.array(0.5, np.float32)}
ULP = 2.0**-24  # half a unit in the last place of float32, relative


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    """What Flower's logger is told; and no second is waited for."""
    logger = logging.getLogger("flwr")
    logger.addHandler(caplog.handler)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(outer, "WAIT", 0.0)
    yield caplog
    logger.removeHandler(caplog.handler)


def warned(said: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in said.records if r.levelno >= logging.WARNING)


def run(strategy: Strategy, nodes: Nodes, rounds: int = 2, theta: Arrays | None = None, **given: Any) -> Any:
    return strategy.start(nodes, record(THETA if theta is None else theta), rounds, **given)


def by_node(amounts: dict[int, float], examples: dict[int, float] | None = None) -> Any:
    """Clients that each add a number of their own."""
    weights = examples or dict.fromkeys(amounts, 1)
    return client(
        lambda arrays, node: {k: (a + np.float32(amounts[node])).astype(a.dtype) for k, a in arrays.items()},
        lambda node: {"num-examples": weights[node], "own": float(node)},
    )


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


def hostile(kind: str) -> Any:
    """Node 1's app: it answers with something that must not count."""
    wrong: dict[str, Any] = {
        "NaN": lambda a, n: {k: np.full_like(v, np.nan) for k, v in a.items()},
        "infinity": lambda a, n: {k: np.full_like(v, np.inf) for k, v in a.items()},
        "shape": lambda a, n: {k: np.zeros((*v.shape, 2), v.dtype) for k, v in a.items()},
        "integers": lambda a, n: {k: v.astype(np.int64) for k, v in a.items()},
        "names": lambda a, n: {k + "x": v for k, v in a.items()},
        "too wide": lambda a, n: {k: np.full(v.shape, 1e300) for k, v in a.items()},
    }
    weights: dict[str, Any] = {"no weight": {}, "negative": -5, "NaN weight": np.nan, "none": 0, "vast": 1e9}
    weights |= {"a list": [1.0, 2.0]}
    told = weights.get(kind, 3)
    numbers = told if isinstance(told, dict) else {"num-examples": told}
    return client(wrong.get(kind, plus(1.0)), lambda node: numbers)


HOSTILE = {
    "NaN": "NaN or infinity",
    "infinity": "NaN or infinity",
    "shape": "expected float32[2, 3]",
    "integers": "int64",
    "names": "array names differ",
    "too wide": "leaves the range of torch.float32",
    "no weight": "'num-examples' is missing",
    "negative": "= -5; it must be a number > 0",
    "NaN weight": "= nan; it must be",
    "none": "= 0; it must be",
    "vast": "= 1000000000.0; it must be",
    "a list": "= [1.0, 2.0]; it must be",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_bad_reply_is_named_and_does_not_count(kind: str, said: pytest.LogCaptureFixture) -> None:
    apps = {1: hostile(kind), **dict.fromkeys((2, 3), client(plus(1.0), lambda node: {"num-examples": 3}))}
    result = run(FedOuter(fraction_evaluate=0.0), Nodes(apps), 1)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 1)
    assert "1 of them (node 1): " in warned(said)
    assert HOSTILE[kind] in warned(said)


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


def failing(reason: str) -> Any:
    def change(arrays: Arrays, node: int) -> Arrays:
        raise RuntimeError(reason)

    return client(change)


def test_no_usable_reply_in_any_round_is_an_error_with_the_reason(said: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NoResultError, match=r"FedReptile: no round of 2 moved θ; most often .*out of memory"):
        run(FedReptile(fraction_evaluate=0.0), Nodes(failing("out of memory")))
    assert "round 2 changes nothing: no usable reply; most often (4 of 4)" in warned(said)


def test_rounds_that_changed_nothing_are_counted_at_the_end(said: pytest.LogCaptureFixture) -> None:
    calls = iter(range(100))

    def change(arrays: Arrays, node: int) -> Arrays:
        if next(calls) < 4:
            raise RuntimeError("not yet")
        return plus(1.0)(arrays, node)

    result = run(FedReptile(epsilon=1.0, schedule="constant"), Nodes(client(change)), 3)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 2)
    assert "1 of 3 rounds changed nothing; most often" in warned(said)
    assert "not yet" in warned(said)


def test_a_node_that_never_answers_is_named(said: pytest.LogCaptureFixture) -> None:
    result = run(FedReptile(schedule="constant"), Nodes(client(plus(1.0)), silent=[2]), 1)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 1)
    assert "aggregate_train: 1 of them (node 2): no reply" in warned(said)
    assert "aggregate_evaluate: 1 of them (node 2): no reply" in warned(said)


def test_too_few_replies_change_nothing() -> None:
    with pytest.raises(NoResultError, match=r"3 usable replies, min_replies = 4"):
        run(FedOuter(min_replies=4), Nodes(client(plus(1.0)), silent=[2]))
    with pytest.raises(NoResultError, match=r"krum: 4 replies are too few against 2 attackers"):
        run(FedRobust(aggregator={"name": "krum", "attackers": 2}), Nodes(client(plus(1.0))))


def test_nothing_asked_is_said() -> None:
    words: dict[str, Any] = {"fraction_train": 0.1, "min_train_nodes": 0, "min_evaluate_nodes": 0}
    with pytest.raises(NoResultError, match="no node was asked"):
        run(FedReptile(fraction_evaluate=0.1, **words), Nodes(client(plus(1.0))))


def test_clients_that_change_nothing_are_remarked_on(said: pytest.LogCaptureFixture) -> None:
    result = run(FedReptile(), Nodes(client(lambda arrays, node: arrays)))
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"])
    assert "θ is to the bit what it was" in warned(said)


def test_without_rounds_or_without_training_the_arrays_come_back() -> None:
    for strategy, rounds in ((FedReptile(), 0), (FedReptile(fraction_train=0.0), 1)):
        nodes = Nodes(client(plus(1.0)))
        result = run(strategy, nodes, rounds)
        np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"])
        assert len(nodes.asked) == rounds  # the evaluation


STATISTICS: Arrays = {
    "bn.weight": np.ones(2, np.float32),
    "bn.running_mean": np.zeros(2, np.float32),
    "bn.running_var": np.ones(2, np.float32),
    "bn.num_batches_tracked": np.array(3),
}


def batches(arrays: Arrays, node: int) -> Arrays:
    """Batch-norm's state after training: every client has its own statistics; node 4's are absurd."""
    own = 1e6 if node == 4 else float(node)
    return {
        "bn.weight": arrays["bn.weight"] + 1,
        "bn.running_mean": np.full(2, own, np.float32),
        "bn.running_var": np.full(2, 10 * own, np.float32),
        "bn.num_batches_tracked": np.array(3 + node),
    }


def test_running_statistics_are_averaged_whatever_the_outer_optimiser() -> None:
    app = client(batches, lambda node: {"num-examples": 4 - node})
    theta = FedAdaptive(outer="adam", lr=0.5, min_train_nodes=3, fraction_evaluate=0.0)
    result = numbers(run(theta, Nodes(app, 3), 1, STATISTICS).arrays)
    np.testing.assert_allclose(result["bn.weight"], 1.5, atol=1e-3)  # Adam's first step is lr
    np.testing.assert_allclose(result["bn.running_mean"], (3 * 1 + 2 * 2 + 1 * 3) / 6, rtol=1e-6)
    np.testing.assert_allclose(result["bn.running_var"], 10 * (3 * 1 + 2 * 2 + 1 * 3) / 6, rtol=1e-6)
    assert result["bn.num_batches_tracked"] == 5  # 3 + 10/6, rounded
    assert result["bn.num_batches_tracked"].dtype == np.int64


def test_under_a_robust_aggregate_statistics_are_medians() -> None:
    result = numbers(run(FedRobust(fraction_evaluate=0.0), Nodes(client(batches)), 1, STATISTICS).arrays)
    np.testing.assert_array_equal(result["bn.running_mean"], 2.5)
    np.testing.assert_array_equal(result["bn.weight"], 2.0)


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "krum", "multi_krum", "geometric_median", "norm_filter"])
def test_a_robust_strategy_is_not_moved_by_one_attacker(name: str) -> None:
    app = by_node({1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0, 6: 1.0, 7: -1e6})
    result = run(FedRobust(aggregator=name), Nodes(app, 7), 1)
    np.testing.assert_allclose(result.arrays["w"].numpy(), THETA["w"] + 1, atol=1e-3)
    moved = run(FedOuter(), Nodes(app, 7), 1)
    assert np.abs(moved.arrays["w"].numpy()).max() > 1e4


def test_any_strategy_takes_a_robust_aggregate() -> None:
    app = by_node({1: 1.0, 2: 1.0, 3: -1e6})
    result = run(FedReptile(aggregator="median", epsilon=0.5, schedule="constant"), Nodes(app, 3), 2)
    np.testing.assert_array_equal(result.arrays["w"].numpy(), THETA["w"] + 1)


@pytest.mark.parametrize("kind", ["adam", "yogi", "adagrad", "momentum"])
def test_a_run_that_goes_on_from_saved_state_is_one_run(kind: str) -> None:
    """Moments, bias correction and the linear schedule: two rounds and two more are four."""

    def change(arrays: Arrays, node: int) -> Arrays:
        return {k: (a * np.float32(0.5) + np.float32(node)).astype(a.dtype) for k, a in arrays.items()}

    def made() -> FedAdaptive:
        return FedAdaptive(outer=kind, schedule="linear", rounds=4, fraction_evaluate=0.0)

    whole = run(made(), Nodes(client(change)), 4)
    first = made()
    half = run(first, Nodes(client(change)), 2)
    second = made()
    second.load_state_dict({name: value.numpy() for name, value in first.state_dict().items()})
    rest = second.start(Nodes(client(change)), half.arrays, 2)
    again = first.start(Nodes(client(change)), half.arrays, 2)  # the same object goes on as well
    for name in THETA:
        for other in (rest, again):
            np.testing.assert_array_equal(other.arrays[name].numpy(), whole.arrays[name].numpy())


def test_a_state_of_something_else_is_refused() -> None:
    saved = FedAdaptive(outer="adam", fraction_evaluate=0.0)
    run(saved, Nodes(client(plus(1.0))))
    other = FedOuter()
    other.load_state_dict(saved.state_dict())
    with pytest.raises(ConfigError, match=r"FedOuter: state = \['m/b'.* is not the state of 'sgd' over this θ"):
        run(other, Nodes(client(plus(1.0))))
    same = FedAdaptive(outer="adam")
    same.load_state_dict(saved.state_dict())
    with pytest.raises(ConfigError, match="is not the state of 'adam' over this θ"):
        run(same, Nodes(client(plus(1.0))), 1, {"w": np.zeros(7, np.float32)})
    with pytest.raises(ConfigError, match="must hold the number 'rounds'"):
        FedOuter().load_state_dict({"t": torch.tensor(1)})


def test_the_schedule_goes_over_the_rounds_of_start_or_those_it_is_told() -> None:
    app = client(plus(1.0))
    assert run(FedReptile(), Nodes(app), 4).arrays["b"].numpy() == THETA["b"] + 1 + 0.75 + 0.5 + 0.25
    assert run(FedReptile(rounds=8), Nodes(app), 2).arrays["b"].numpy() == THETA["b"] + 1 + 0.875
    with pytest.raises(ConfigError, match=r"FedReptile\.rounds = 1: round 2 is beyond it"):
        run(FedReptile(rounds=1), Nodes(app), 2)


def test_inside_a_wrapper_of_flowers_the_number_of_rounds_must_be_told() -> None:
    """A wrapper has a round loop of its own, and the linear schedule would stand still from its second round on."""

    def wrapped(**words: Any) -> Strategy:
        inner = FedReptile(fraction_evaluate=0.0, **words)
        return DifferentialPrivacyServerSideFixedClipping(inner, 0.0, 1e6, 4)

    with pytest.raises(ConfigError, match=r"FedReptile\.rounds = 0: the schedule 'linear' needs it"):
        run(wrapped(), Nodes(client(plus(1.0))))
    result = run(wrapped(rounds=2), Nodes(client(plus(1.0))))
    np.testing.assert_allclose(result.arrays["w"].numpy(), THETA["w"] + 1.5, rtol=1e-6)


def test_a_centred_clipping_remembers_its_last_aggregate() -> None:
    strategy = FedRobust(aggregator={"name": "centred_clipping"}, fraction_evaluate=0.0)
    run(strategy, Nodes(client(plus(1.0))))
    assert {"last/w", "last/b"} <= set(strategy.state_dict())


WRONG = {
    "unknown": ({"fraction_fit": 0.5}, "fraction_fit = 0.5: unknown word; did you mean 'fraction_train'?"),
    "cohort": ({"cohort": 4}, "cohort = 4: unknown word"),
    "epsilon": ({"epsilon": -1.0}, r"FedReptile\.epsilon = -1.0: must be > 0"),
    "lr": ({"lr": 1.0}, "lr = 1.0: unknown word"),
    "fraction": ({"fraction_train": 1.5}, r"FedReptile\.fraction_train = 1.5: must be a number in \[0, 1\]"),
    "nodes": ({"min_train_nodes": -1}, "must be a whole number ≥ 0"),
    "key": ({"weighted_by_key": ""}, "must be a name"),
    "function": ({"train_metrics_aggr_fn": 3}, "must be a function"),
    "schedule": ({"schedule": "steps"}, r"FedReptile\.schedule = 'steps'"),
    "reports": ({"reports": "gradients"}, "must be one of parameters, updates"),
    "rounds": ({"rounds": -1}, "must be a whole number ≥ 0"),
    "aggregator": ({"aggregator": "mode"}, "aggregator.name = 'mode'"),
    "attackers": ({"aggregator": {"name": "krum", "attackers": 0.7}}, r"FedReptile\.aggregator\.attackers"),
    "no effect": ({"beta1": 0.5}, "has no effect"),
    "weighting": (
        {"aggregator": "median", "weighting": "samples"},
        r"FedReptile\.weighting = 'samples': has no effect",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_is_refused_under_the_name_it_was_given(case: str) -> None:
    words, told = WRONG[case]
    with pytest.raises(ConfigError, match=told):
        FedReptile(**words)


def test_the_mean_is_no_robust_aggregate() -> None:
    with pytest.raises(ConfigError, match="is not robust"):
        FedRobust(aggregator="mean")


def test_arrays_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(ConfigError, match="must hold real numbers"):
        run(FedOuter(), Nodes(client(plus(1.0))), 1, {"w": np.zeros(2, np.complex64)})
    with pytest.raises(ConfigError, match="no floating-point parameters to learn"):
        run(FedOuter(), Nodes(client(plus(1.0))), 1, {"n": np.zeros(2, np.int64)})


def test_the_round_loops_own_strategy_says_what_to_start_instead() -> None:
    with pytest.raises(ConfigError, match="start one of metapulse"):
        OuterStrategy(OuterSettings()).start(Nodes(client(plus(1.0))), record(THETA))


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
        config = build_config({**common, "strategy": section})
        thetas.append(read(tmp_path / name, experiment.run(config, tmp_path / name)).thetas[-1])
    assert distance(*thetas) <= 1e-6
