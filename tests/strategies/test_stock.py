"""Stock strategies on a stack of replies: checked at once, and what differs between clients does not reach Flower."""

from __future__ import annotations

import gc
import math

import pytest
import torch
from flwr.app import ConfigRecord, Error, Message, RecordDict

from client.wire import decode, encode
from sim.engines.cohort import FIRST_NODE, CohortGrid
from strategies.registry import make_strategy
from strategies.replies import Dropped, Replies, Stack
from strategies.stock import StockStrategy

THETA = {"w": torch.zeros(2), "scalar": torch.zeros(())}


def asked(told: list[Dropped], name: str = "FedAvg") -> StockStrategy:
    """A strategy that has asked five clients."""
    section = {"name": "stock", "reference": f"flwr.serverapp.strategy:{name}"}
    strategy = make_strategy(section, 1, 0, lambda round, dropped: told.extend(dropped))
    assert isinstance(strategy, StockStrategy)
    list(strategy.configure_train(1, encode(THETA), ConfigRecord(), CohortGrid(5)))
    return strategy


def replies(
    clients: list[int], loss: list[float], weight: list[float], failures: list[Dropped], unit: float = 1.0
) -> Replies:
    """Weights 1, 2, 3 … as a stack; whoever looks at its single messages finds errors."""
    values = unit * torch.arange(1.0, len(clients) + 1)
    stack = Stack(
        clients,
        {"w": values[:, None].expand(-1, 2), "scalar": values},
        torch.tensor(weight),
        {"loss": torch.tensor(loss), "huge": torch.tensor([1e31] + [1.0] * (len(clients) - 1)), "ok": values},
    )

    def message(index: int) -> Message:
        return Message(Error(0, "looked at one"), reply_to=Message(RecordDict(), FIRST_NODE + index, "train"))

    return Replies(stack, failures, message)


def test_the_stack_is_enough() -> None:
    """Of weights 1, 2 and 4 with 1, 2 and 5 samples; the third has an impossible number of samples, client 3 failed."""
    told: list[Dropped] = []
    strategy = asked(told)
    found = replies([0, 1, 2, 4], [0.5, math.nan, 0.5, 0.5], [1.0, 2.0, -1.0, 5.0], [Dropped(3, "no data")])
    moved, metrics = strategy.aggregate_train(1, found)
    theta = decode(moved)
    torch.testing.assert_close(theta["w"], torch.full((2,), 25 / 8))
    torch.testing.assert_close(theta["scalar"], torch.tensor(25 / 8))
    assert [(one.client, one.reason[:20]) for one in told] == [(2, "num-examples = -1.0;"), (3, "no data")]
    assert dict(metrics) == {"clients": 3, "dropped": 2, "ok": pytest.approx(25 / 8)}


def test_the_collector_is_as_before() -> None:
    for name in ("FedAvg", "FedAdam"):  # whose second moment leaves the range of numbers
        for on in (True, False):
            (gc.enable if on else gc.disable)()
            told: list[Dropped] = []
            try:
                asked(told, name).aggregate_train(1, replies([0, 1], [1.0, 1.0], [1.0, 1.0], [], 1e30))
                assert gc.isenabled() == on
                assert any("given up" in one.reason for one in told) == (name == "FedAdam")
            finally:
                gc.enable()


def test_moments_of_a_scalar_are_in_the_state() -> None:
    """NumPy makes scalars of arrays without axes; they belong to a checkpoint like the others."""
    strategy = asked([], "FedAdam")
    strategy.aggregate_train(1, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))
    state = strategy.state()
    names = {f"{moment}/dict/{i:06d}/{name}" for moment in ("m_t", "v_t") for i, name in enumerate(THETA)}
    assert names <= set(state)
    again = asked([], "FedAdam")
    again.load_state(state)
    found = [one.aggregate_train(2, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))[0] for one in (strategy, again)]
    a, b = (decode(arrays) for arrays in found)
    assert all(torch.equal(a[name], b[name]) for name in THETA)
