"""Every registered strategy, held to the same promises."""

from __future__ import annotations

import gc
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Result, Strategy
from safetensors.torch import load, save

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import to_json
from metapulse.client.wire import ARRAYS, EXAMPLES, METRICS, REPLY, WORK, decode, encode
from metapulse.errors import ConfigError
from metapulse.server.client_sampler import SubsetGrid
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.strategies.registry import STRATEGIES, make_strategy
from metapulse.strategies.replies import Dropped
from tests.runs import CLIENTS, ROBUST, make
from tests.runs import STRATEGIES as CASES

STOCK_WITH_STATE = {
    f"stock-{name}": {"name": "stock", "reference": f"flwr.serverapp.strategy:{name}", "options": options}
    for name, options in {
        "FedAdam": {"beta_1": 0.9, "beta_2": 0.99},
        "FedYogi": {},
        "FedAdagrad": {},
        "FedAvgM": {"server_momentum": 0.9, "server_learning_rate": 0.5},
        "QFedAvg": {"client_learning_rate": 0.01, "train_loss_key": "loss"},
        "Krum": {"num_malicious_nodes": 0},
        "Bulyan": {"num_malicious_nodes": 0},
        "MultiKrum": {"num_malicious_nodes": 0, "num_nodes_to_select": 2},
    }.items()
}
OUTER = {
    f"fedavg-{outer}": {"name": "fedavg", "outer": outer, "lr": 0.1}
    for outer in ("momentum", "adam", "yogi", "adagrad")
}
SECTIONS: dict[str, dict[str, Any]] = CASES | STOCK_WITH_STATE | OUTER | ROBUST
CONFIG = make("fomaml", "fedavg", "sine")
SPEC = CONFIG.client_config()
THETA = ClientExecutor(SPEC).init()


@pytest.fixture(scope="module", autouse=True)
def less_garbage() -> Iterator[None]:
    """QFedAvg and Bulyan collect garbage for every client; what was loaded before need not be looked through."""
    gc.freeze()
    yield
    gc.unfreeze()


def made(name: str, cohort: int = 0, rounds: int = 4, told: list[Dropped] | None = None) -> Strategy:
    """A strategy that asks all clients, or so many."""
    section = {**SECTIONS[name], "cohort": cohort}
    return make_strategy(section, rounds, 9, lambda round, dropped: (told if told is not None else []).extend(dropped))


def rounds(strategy: Strategy, theta: dict[str, torch.Tensor], which: range, turn: int = 1) -> dict[str, torch.Tensor]:
    """θ after some rounds of the cohort engine, the replies in one order or (turn −1) the other."""
    grid = CohortGrid(CLIENTS)
    arrays = encode(theta)
    for t in which:
        sent = list(strategy.configure_train(t, arrays, ConfigRecord({WORK: to_json(SPEC)}), grid))
        replies = list(grid.send_and_receive(sent))
        moved, metrics = strategy.aggregate_train(t, replies[::turn])
        assert moved is not None
        assert metrics is not None
        arrays = moved
    return decode(arrays)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_every_registered_strategy_is_here() -> None:
    assert {section["name"] for section in SECTIONS.values()} == set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_settings_are_documented_and_cited(name: str) -> None:
    settings = STRATEGIES[name]
    assert settings.paper.bibtex.startswith("@misc{")
    assert settings.paper.year >= 2016
    assert inspect.getdoc(settings)
    with pytest.raises(ConfigError, match=r"strategy\.nonsense = 1: unknown key"):
        make_strategy({"name": name, "nonsense": 1}, 1, 0)
    with pytest.raises(ConfigError, match=r"strategy\.cohort = -1: must be ≥ 0"):
        make_strategy({"name": name, "cohort": -1}, 1, 0)


@pytest.mark.parametrize("name", SECTIONS)
def test_it_is_a_flower_strategy_that_flower_can_start(name: str) -> None:
    """``Strategy.start`` as Flower wrote it, on the cohort engine's grid: two rounds, θ moves and stays finite."""
    strategy = made(name)
    assert isinstance(strategy, Strategy)
    grid = CohortGrid(CLIENTS)
    config = ConfigRecord({WORK: to_json(SPEC)})
    result: Result = strategy.start(grid, encode(THETA), num_rounds=2, train_config=config)
    theta = decode(result.arrays)
    assert list(theta) == list(THETA)
    assert all(theta[k].dtype == p.dtype and theta[k].shape == p.shape for k, p in THETA.items())
    assert all(p.isfinite().all() for p in theta.values())
    assert not same(theta, THETA)
    assert set(result.train_metrics_clientapp) == {1, 2}
    assert result.train_metrics_clientapp[1]["clients"] == CLIENTS
    assert math.isfinite(result.train_metrics_clientapp[1]["loss"])


@pytest.mark.parametrize("name", SECTIONS)
def test_repeated_and_in_any_order_of_replies_it_is_the_same_to_the_bit(name: str) -> None:
    once = rounds(made(name), THETA, range(1, 3))
    assert same(rounds(made(name), THETA, range(1, 3)), once)
    assert same(rounds(made(name), THETA, range(1, 3), turn=-1), once)


@pytest.mark.parametrize("name", SECTIONS)
def test_stack_and_messages_are_the_same_to_the_bit(name: str) -> None:
    """What the fast path takes as one stack, one by one."""
    grid, strategies = CohortGrid(CLIENTS), [made(name), made(name)]
    found = []
    for strategy, look in zip(strategies, (lambda replies: replies, list), strict=True):
        sent = list(strategy.configure_train(1, encode(THETA), ConfigRecord({WORK: to_json(SPEC)}), grid))
        found.append(strategy.aggregate_train(1, look(grid.send_and_receive(sent))))
    (a, a_metrics), (b, b_metrics) = found
    assert same(decode(a), decode(b))
    assert set(a_metrics) == set(b_metrics)
    assert a_metrics["loss"] == pytest.approx(b_metrics["loss"], rel=1e-6)


@pytest.mark.parametrize("name", SECTIONS)
def test_settings_answer_what_a_run_asks_of_them(name: str) -> None:
    """A robust aggregator makes no mean; Flower's are taken to weigh by samples and to need one reply."""
    section = SECTIONS[name]
    settings = STRATEGIES.make(section)
    assert settings.linear == (name not in ROBUST)
    assert settings.weighting == ("uniform" if section["name"] in ("fedreptile", "fedmaml") else "samples")
    assert settings.only_mean == (section["name"] not in ("stock", "fednova"))
    if section["name"] == "stock":
        assert settings.min_replies == 1
    else:
        assert STRATEGIES.make({**section, "min_replies": 2}).min_replies == 2


@pytest.mark.parametrize("name", SECTIONS)
def test_a_restart_changes_nothing(name: str) -> None:
    """State to bytes and back between two rounds."""
    whole = rounds(made(name), THETA, range(1, 5))
    first, second = made(name), made(name)
    theta = rounds(first, THETA, range(1, 3))
    second.state = load(save(dict(first.state)))
    assert same(rounds(second, theta, range(3, 5)), whole)


@pytest.mark.parametrize("name", SECTIONS)
def test_weights_have_no_scale(name: str) -> None:
    """All numbers of samples tripled: the same θ."""
    found = []
    for factor in (1, 3):
        strategy, grid = made(name), CohortGrid(CLIENTS)
        sent = list(strategy.configure_train(1, encode(THETA), ConfigRecord({WORK: to_json(SPEC)}), grid))
        replies = list(grid.send_and_receive(sent))
        for reply in replies:
            numbers = reply.content.metric_records[METRICS]
            numbers[EXAMPLES] = factor * float(numbers[EXAMPLES])
        moved, _ = strategy.aggregate_train(1, replies)
        found.append(decode(moved))
    for k, p in found[0].items():
        torch.testing.assert_close(found[1][k], p, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SECTIONS)
def test_silence_changes_nothing(name: str) -> None:
    told: list[Dropped] = []
    strategy = made(name, told=told)
    sent = list(strategy.configure_train(1, encode(THETA), ConfigRecord({WORK: to_json(SPEC)}), CohortGrid(CLIENTS)))
    moved, metrics = strategy.aggregate_train(1, [])
    assert moved is None
    assert dict(metrics)["clients"] == 0
    assert len(told) == len(sent) == CLIENTS
    assert {one.reason for one in told} == {"no reply"}


@pytest.mark.parametrize("name", SECTIONS)
def test_it_leaves_evaluation_to_the_meta_test(name: str) -> None:
    strategy = made(name)
    assert list(strategy.configure_evaluate(1, encode(THETA), ConfigRecord(), CohortGrid(CLIENTS))) == []
    assert strategy.aggregate_evaluate(1, []) is None
    strategy.summary()


@pytest.mark.parametrize("name", SECTIONS)
def test_a_view_is_the_cohort(name: str) -> None:
    """On a grid that shows three clients it asks these, and says who they are by partition id."""
    grid, told = CohortGrid(CLIENTS), []
    view = SubsetGrid(grid, [1, 3, 4], SourceDirectory(ClientExecutor(SPEC).source))
    strategy = made(name, told=told)
    sent = list(strategy.configure_train(1, encode(THETA), ConfigRecord({WORK: to_json(SPEC)}), view))
    assert [view.client_of(message.metadata.dst_node_id) for message in sent] == [1, 3, 4]
    replies = list(grid.send_and_receive(sent))
    strategy.aggregate_train(1, replies[:2])
    assert [one for one in told if one.client >= 0] == [Dropped(4, "no reply")]  # two are too few for Krum


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "stock"])
def test_a_cohort_is_drawn_by_seed_and_round(name: str) -> None:
    """Where the grid shows more nodes than a cohort: distinct ones, the same again, others in another round."""

    def asked(strategy: Strategy, t: int) -> list[int]:
        sent = strategy.configure_train(t, encode(THETA), ConfigRecord(), CohortGrid(1000))
        return [message.metadata.dst_node_id for message in sent]

    strategy = make_strategy({"name": name, "cohort": 20}, 5, 1)
    first = asked(strategy, 1)
    assert first == sorted(set(first))
    assert len(first) == 20
    assert asked(make_strategy({"name": name, "cohort": 20}, 5, 1), 1) == first
    assert asked(strategy, 2) != first
    assert asked(make_strategy({"name": name, "cohort": 20}, 5, 2), 1) != first


def reply(instruction: Message, update: dict[str, torch.Tensor], samples: float, **numbers: float) -> Message:
    content = RecordDict({ARRAYS: encode(update), METRICS: MetricRecord({EXAMPLES: samples, **numbers})})
    return Message(content, reply_to=instruction)


def one_round(section: dict[str, Any], t: int = 1, total: int = 4) -> tuple[dict[str, torch.Tensor] | None, Any]:
    """θ = 1, updates 0.2 of 10 samples and 0.8 of 30."""
    strategy = make_strategy({"cohort": 0, **section}, total, 0)
    theta = {"w": torch.ones(2)}
    sent = list(strategy.configure_train(t, encode(theta), ConfigRecord(), CohortGrid(2)))
    replies = [reply(m, {"w": torch.full((2,), u)}, n) for m, u, n in zip(sent, (0.2, 0.8), (10, 30), strict=True)]
    moved, metrics = strategy.aggregate_train(t, replies)
    return (None if moved is None else decode(moved)), metrics


def test_closed_forms() -> None:
    """FedAvg weighs by samples: 1 − (10·0.2 + 30·0.8)/40. FedReptile does not, and its ε falls: 1 − ε(t)·0.5."""
    cases: list[tuple[dict[str, Any], int, float]] = [
        ({"name": "fedavg"}, 1, 1 - 0.65),
        ({"name": "fedavg", "weighting": "uniform"}, 1, 1 - 0.5),
        ({"name": "fedavg", "lr": 0.1}, 1, 1 - 0.065),
        ({"name": "fedavg", "l2": 0.5}, 1, 1 - 0.65 - 1.0),
        ({"name": "fedreptile"}, 1, 1 - 0.5),
        ({"name": "fedreptile"}, 3, 1 - 0.5 * 0.5),
        ({"name": "fedreptile", "schedule": "constant", "lr": 0.3}, 3, 1 - 0.3 * 0.5),
        ({"name": "fedmaml"}, 1, 1 - 0.001),
    ]
    for section, t, expected in cases:
        theta, metrics = one_round(section, t)
        assert theta is not None
        torch.testing.assert_close(theta["w"], torch.full((2,), expected), rtol=1e-6, atol=0.0)
        assert metrics["clients"] == 2
        assert metrics["update-norm"] == pytest.approx(
            math.sqrt(2) * (0.5 if "fedavg" not in section["name"] or section.get("weighting") else 0.65)
        )


def test_too_few_replies_change_nothing() -> None:
    theta, metrics = one_round({"name": "fedavg", "min_replies": 3})
    assert theta is None
    assert metrics["clients"] == 2


def test_stock_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.options"):
        make_strategy({"name": "stock", "options": {"nonsense": 1}}, 1, 0)
    with pytest.raises(ConfigError, match=r"strategy\.reference = 'nowhere:Thing': cannot be imported"):
        make_strategy({"name": "stock", "reference": "nowhere:Thing"}, 1, 0)
    with pytest.raises(ConfigError, match=r"strategy\.reference"):
        make_strategy({"name": "stock", "reference": "builtins:dict"}, 1, 0)


def test_weights_are_asked_for_by_stock_strategies_only() -> None:
    for name in SECTIONS:
        config = ConfigRecord()
        list(made(name).configure_train(1, encode(THETA), config, CohortGrid(CLIENTS)))
        assert config.get(REPLY) == ("weights" if name.startswith("stock") else None)


def test_an_array_record_of_another_order_is_no_offence() -> None:
    """Names decide, not their order."""
    strategy = made("fedavg")
    sent = list(strategy.configure_train(1, encode(THETA), ConfigRecord(), CohortGrid(CLIENTS)))
    turned = [reply(m, dict(reversed(list(THETA.items()))), 5) for m in sent]
    moved, _ = strategy.aggregate_train(1, turned)
    assert isinstance(moved, ArrayRecord)
    assert all(p.abs().max() == 0.0 for p in decode(moved).values())
