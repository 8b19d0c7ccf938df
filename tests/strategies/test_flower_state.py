"""Strategies in a Flower app from round to round: moments, schedules, statistics, and robust aggregates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, Strategy

from metapulse.errors import ConfigError
from metapulse.strategies import FedAdaptive, FedOuter, FedReptile, FedRobust
from tests.nodes import THETA, Arrays, Nodes, by_node, client, numbers, plus, run

pytestmark = pytest.mark.usefixtures("said")


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
    with pytest.raises(ConfigError, match=r"FedReptile\.rounds = 1: 0 rounds have begun, and 2 more are beyond it"):
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
