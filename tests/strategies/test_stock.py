"""Stock strategies on a stack of replies: checked at once, and what differs between clients does not reach Flower."""

from __future__ import annotations

import gc
import logging
import math
import random
import sys
from collections import deque
from threading import Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from safetensors.torch import load, save

from metapulse.client.wire import decode, encode
from metapulse.errors import ConfigError
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Dropped, Replies, UpdateStack
from metapulse.strategies.stock import Stock, StockStrategy
from metapulse.strategies.stock_state import pack_attributes, unpack_attributes

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
    """Weights 1, 2, 3 … as a stack; its single messages are errors."""
    values = unit * torch.arange(1.0, len(clients) + 1)
    stack = UpdateStack(
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
    state = {k: v.numpy() for k, v in strategy.state.items()}
    assert {
        name: {k: v.shape for k, v in moment.items()}
        for name, moment in unpack_attributes(state).items()
        if name in "m_tv_t"
    } == {moment: {"w": (2,), "scalar": ()} for moment in ("m_t", "v_t")}
    again = asked([], "FedAdam")
    again.state = strategy.state
    found = [one.aggregate_train(2, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))[0] for one in (strategy, again)]
    a, b = (decode(arrays) for arrays in found)
    assert all(torch.equal(a[name], b[name]) for name in THETA)


class Everything(FedAvg):
    """Keeps whatever a strategy may keep, and steps by what it keeps."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.losses: list[float] = []
        self.moments: dict[str, torch.Tensor] = {}
        self.window: deque[tuple[int, float]] = deque(maxlen=2)
        self.seen: set[int] = set()
        self.by_round: dict[int, dict[str, Any]] = {}
        self.rng, self.dice = np.random.default_rng(3), random.Random(4)
        self.best, self.name = math.inf, "é"
        self.log = logging.getLogger("mine")

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        arrays, metrics = super().aggregate_train(server_round, replies)
        self.losses.append(server_round / 3)
        self.moments = {k: torch.from_numpy(a.numpy()) + self.moments.get(k, 0.0) for k, a in arrays.items()}
        self.window.append((server_round, float(self.rng.normal())))
        self.seen.add(server_round)
        self.by_round[server_round] = {"who": [1, None, True], "drawn": self.dice.random(), "bytes": b"\x00a"}
        self.best = min(self.best, self.losses[-1])
        scale = 1 + len(self.seen) + self.window[0][1] + self.dice.random()
        return ArrayRecord({k: Array((m / scale).numpy()) for k, m in self.moments.items()}), metrics


def count(records: list[RecordDict], key: str) -> MetricRecord:
    return MetricRecord({"replies": float(len(records))})


def own(kind: str, told: list[Dropped] | None = None, notes: list[str] | None = None, **options: Any) -> StockStrategy:
    section = {"name": "stock", "reference": kind if ":" in kind else f"{__name__}:{kind}", "options": options}
    drop = (told if told is not None else []).extend
    made = make_strategy(section, 1, 0, lambda round, dropped: drop(dropped), note=(notes or []).append)
    assert isinstance(made, StockStrategy)
    return made


def rounds(strategy: StockStrategy, first: int, last: int) -> list[dict[str, torch.Tensor]]:
    found = []
    for round in range(first, last + 1):
        list(strategy.configure_train(round, encode(THETA), ConfigRecord(), CohortGrid(5)))
        moved, _ = strategy.aggregate_train(round, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))
        found.append(decode(moved))
    return found


def test_whatever_a_strategy_keeps_survives_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(Everything=Everything))
    whole = rounds(own("Everything"), 1, 6)
    cut = own("Everything")
    rounds(cut, 1, 3)
    saved = save(dict(cut.state))
    again = own("Everything")
    again.state = load(saved)
    for a, b in zip(whole[3:], rounds(again, 4, 6), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in THETA)


@pytest.mark.parametrize(
    ("value", "words"), [(object(), "object"), ([{"a": Lock()}], "lock"), (np.array([None]), "object")]
)
def test_what_cannot_be_kept_is_named(value: Any, words: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"strategy.reference = 'mine:S'.*attribute 'kept' .*{words}.*state_dict"
    ) as caught:
        pack_attributes({"fine": 1, "kept": value}, "mine:S")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "key", "words"),
    [
        ("FedAvg", {"fraction_train": 0.5}, "fraction_train", "strategy.cohort"),
        ("FedAvg", {"min_available_nodes": 4}, "min_available_nodes", "strategy.cohort"),
        ("FedAvg", {"evaluate_metrics_aggr_fn": "math:floor"}, "evaluate_metrics_aggr_fn", "meta-test"),
        ("FedAvg", {"arrayrecord_key": "weights"}, "arrayrecord_key", "'arrays'"),
        ("FedAvg", {"train_metrics_aggr_fn": "nothing"}, "train_metrics_aggr_fn", "dotted reference"),
        ("FedAvg", {"train_metrics_aggr_fn": "no_such:thing"}, "train_metrics_aggr_fn", "cannot be imported"),
        ("FedAdam", {"eta_l": 0.5}, "eta_l", "learner.inner_lr"),
        ("FedProx", {"proximal_mu": 100.0}, "proximal_mu", "learner.name = 'fedprox'"),
        ("FedTrimmedAvg", {"beta": 0.6}, "strategy.options", "beta = 0.6"),
        ("FedAvg", {"no_such": 1}, "strategy.options", "no_such"),
    ],
)
def test_an_option_works_or_is_refused_by_its_name(name: str, options: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        own(f"flwr.serverapp.strategy:{name}", **options)
    assert key in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_by_name_is_called() -> None:
    strategy = own("flwr.serverapp.strategy:FedAvg", train_metrics_aggr_fn=f"{count.__module__}:count")
    list(strategy.configure_train(1, encode(THETA), ConfigRecord(), CohortGrid(5)))
    _, metrics = strategy.aggregate_train(1, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))
    assert dict(metrics)["replies"] == 2.0


def test_what_flower_warns_of_is_the_reason_of_a_round_given_up() -> None:
    told: list[Dropped] = []
    strategy = own("flwr.serverapp.strategy:Bulyan", told, num_malicious_nodes=1)
    list(strategy.configure_train(1, encode(THETA), ConfigRecord(), CohortGrid(5)))
    moved, _ = strategy.aggregate_train(1, replies([0, 1], [1.0, 1.0], [1.0, 1.0], []))
    assert moved is None
    assert "given up" in told[-1].reason
    assert len(told[-1].reason) > len("round given up by the strategy: it returned nothing")


def test_instructions_that_no_client_reads_are_told_once() -> None:
    notes: list[str] = []
    section = {"name": "stock", "reference": "flwr.serverapp.strategy:FedProx", "options": {"proximal_mu": 0.0}}
    strategy = make_strategy(section, 1, 0, note=notes.append)
    for round in (1, 2):
        list(strategy.configure_train(round, encode(THETA), ConfigRecord(), CohortGrid(5)))
    assert notes == ["flwr.serverapp.strategy:FedProx tells clients proximal-mu, which no client reads"]


def test_a_strategy_that_no_checkpoint_could_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stock, "make", lambda self, *more: FedAvg())
    with pytest.raises(ConfigError, match=r"strategy.name = 'FedAvg': has no state that a checkpoint could hold"):
        make_strategy({"name": "stock"}, 1, 0)
