"""Clients of ``meta_app`` when a run goes on: what was learned, and what a device keeps, is found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context

from metapulse.client import meta_app
from metapulse.errors import ConfigError
from metapulse.strategies import FedMetaSGD, FedReptile
from tests.client.test_own_app import data, net, samples
from tests.nodes import Nodes

pytestmark = pytest.mark.usefixtures("said")


def test_meta_sgd_goes_on_from_saved_state_with_the_rates_it_has_learned() -> None:
    """Two rounds and, in another process, two more are four; the state of a round holds that round's rates."""
    app = meta_app(net, data, "meta_sgd")
    sent, by_round = ArrayRecord(net().state_dict()), {}

    def made() -> FedMetaSGD:
        return FedMetaSGD(lr=0.01, rounds=4, schedule="linear", fraction_evaluate=0.0)

    def start(strategy: FedMetaSGD, arrays: ArrayRecord, rounds: int) -> ArrayRecord:
        def judge(round: int, arrays: ArrayRecord) -> None:
            by_round[round] = strategy.state_dict(), arrays

        return strategy.start(Nodes(app), arrays, rounds, evaluate_fn=judge).arrays

    whole = made()
    end, (state, half) = start(whole, sent, 4), by_round[2]
    second = made()
    second.load_state_dict({name: value.numpy() for name, value in state.items()})
    rest = start(second, half, 2)
    for name in sent:
        np.testing.assert_array_equal(rest[name].numpy(), end[name].numpy())
        np.testing.assert_array_equal(second.rates[name].numpy(), whole.rates[name].numpy())
    third = made()
    third.load_state_dict({name: value for name, value in state.items() if not name.startswith("rate/")})
    with pytest.raises(ConfigError, match=r"FedMetaSGD: state = .* must hold the rates"):
        start(third, half, 2)


@pytest.mark.long
def test_a_run_that_goes_on_finds_its_personal_models_and_draws_other_minibatches() -> None:
    """Two rounds and two more on the same nodes are four: clients are told the round of the whole run."""

    def split(context: Context) -> tuple[Any, Any]:
        node = int(context.node_id)
        return samples(node, 12, 0), samples(node, 9, 1)

    for method in ("ditto", "reptile"):
        app, sent = meta_app(net, split, method, inner_lr=0.1, batch_size=4), ArrayRecord(net().state_dict())
        whole = FedReptile(rounds=4).start(Nodes(app), sent, 4)
        nodes, first, second = Nodes(app), FedReptile(rounds=4), FedReptile(rounds=4)
        half = first.start(nodes, sent, 2)
        second.load_state_dict(first.state_dict())
        rest = second.start(nodes, half.arrays, 2)
        for name in sent:
            np.testing.assert_array_equal(rest.arrays[name].numpy(), whole.arrays[name].numpy())
        for round in (1, 2):  # Flower counts the rounds of a start
            found, wanted = rest.evaluate_metrics_clientapp[round], whole.evaluate_metrics_clientapp[2 + round]
            assert dict(found) == dict(wanted)
