"""Strategies in a Flower app, when something is wrong: replies, words and arrays are named, and nothing is silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message

from metapulse.errors import ConfigError, NoResultError
from metapulse.strategies import FedOuter, FedReptile, FedRobust
from metapulse.strategies.base import OuterSettings, OuterStrategy
from tests.nodes import THETA, Arrays, Nodes, client, plus, record, run, warned

pytestmark = pytest.mark.usefixtures("said")


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


def failing(reason: str) -> Any:
    def change(arrays: Arrays, node: int) -> Arrays:
        raise RuntimeError(reason)

    return client(change)


TRACEBACK = """ray::ClientAppActor.run() (pid=1, ip=127.0.0.1)
  File "client_app.py", line 11, in train
KeyError: 'weights'

The above exception was the direct cause of the following exception:

ray::ClientAppActor.run() (pid=1, ip=127.0.0.1)
    raise ClientAppException(str(ex)) from ex
flwr.clientapp.client_app.ClientAppException:
Exception ClientAppException occurred. Message: 'weights'"""
#: What Flower 1.41 makes of a client's exception → what is said of it.
FLOWERS = {
    "<class 'KeyError'>:<''weights''>": "KeyError: 'weights'",  # on a SuperNode
    "<class 'own.errors.Broken'>:<'no sensor'>": "Broken: no sensor",
    f"<class 'ray.exceptions.RayTaskError(ClientAppException)'>:<'{TRACEBACK}'>": "KeyError: 'weights'",  # simulated
    "<class 'RuntimeError'>:<'Errors of Net:\n\tUnexpected key: rate/w'>": "RuntimeError: Unexpected key: rate/w",
    "An exception was raised when loading `ClientApp`": "An exception was raised when loading `ClientApp`",
    "<class 'ValueError'>:<''>": "ValueError",
    "Traceback\nOSError: full\n\nThe above exception was the direct cause\n\nRunError: no disk": "RunError: no disk",
    "": "the client failed without saying why",
}


@pytest.mark.parametrize("reason", FLOWERS)
def test_a_clients_exception_is_told_by_its_kind_and_its_last_line(reason: str, said: pytest.LogCaptureFixture) -> None:
    class Failing(Nodes):
        def _answer(self, message: Message) -> Message:
            return Message(Error(1, reason), reply_to=message)

    with pytest.raises(NoResultError):
        run(FedReptile(fraction_evaluate=0.0), Failing(client(plus(1.0))), 1)
    assert f"4 of them (node 1, 2, 3, …): {FLOWERS[reason]}" in warned(said)


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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("nan")]])
def test_a_metric_that_is_no_number_is_named_with_its_node(bad: Any, said: pytest.LogCaptureFixture) -> None:
    """Flower's mean of it is no number either, which one client in a thousand brings about."""
    fine = [1.0, 2.0] if isinstance(bad, list) else 1.0
    app = client(plus(1.0), lambda node: {"num-examples": 10, "own_loss": bad if node == 2 else fine})
    run(FedReptile(), Nodes(app), 1)
    for stage in ("aggregate_train", "aggregate_evaluate"):
        told = f"{stage}: metric 'own_loss' is NaN or infinite at 1 of 4 clients (node 2), and its mean is no number"
        assert told in warned(said)


WRONG = {
    "unknown": ({"fraction_fit": 0.5}, "fraction_fit = 0.5: unknown word; did you mean 'fraction_train'?"),
    "cohort": ({"cohort": 4}, "cohort = 4: unknown word"),
    "epsilon": ({"epsilon": -1.0}, r"FedReptile\.epsilon = -1.0: must be > 0"),
    "lr": ({"lr": 1.0}, "FedReptile.lr = 1.0: unknown word; did you mean 'epsilon'?"),
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
