"""Every aggregator against its paper written as loops in NumPy, and as a setting of a strategy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from safetensors.torch import load, save

from metapulse.client.wire import ARRAYS, METRICS, decode, encode
from metapulse.errors import ConfigError
from metapulse.server.config import build_config, resolved
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.aggregators.bulyan import Bulyan, around_median, choose
from metapulse.strategies.aggregators.centred_clipping import centred_clipping
from metapulse.strategies.aggregators.geometric_median import geometric_median
from metapulse.strategies.aggregators.geometry import squared_distances
from metapulse.strategies.aggregators.krum import Krum, MultiKrum, scores
from metapulse.strategies.aggregators.median import median
from metapulse.strategies.aggregators.nnm import NearestNeighbourMixing, mixed
from metapulse.strategies.aggregators.norm_filter import NormFilter, shortest
from metapulse.strategies.aggregators.registry import AGGREGATORS
from metapulse.strategies.aggregators.trimmed_mean import trimmed_mean
from metapulse.strategies.base import OuterStrategy
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Dropped

SIZES = [(3, 0), (7, 1), (12, 2), (23, 5), (24, 4)]


def drawn(clients: int, seed: int = 0, parameters: int = 5, offset: float = 3.0) -> torch.Tensor:
    """Updates that have much in common."""
    draw = torch.Generator().manual_seed(seed)
    return offset + torch.randn(clients, parameters, generator=draw)


def distance2(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum())


def krum_scores(x: np.ndarray, f: int, neighbours: int = 0) -> list[float]:
    """Blanchard et al. 2017, Section 4, one client after another; with n − f − 2 neighbours, or so many."""
    found = []
    for i, a in enumerate(x):
        others = sorted(distance2(a, b) for j, b in enumerate(x) if j != i)
        found.append(sum(others[: neighbours or len(x) - f - 2]))
    return found


def bulyan(x: np.ndarray, f: int) -> np.ndarray:
    """El Mhamdi et al. 2018, Section 4."""
    left, chosen = list(x), []
    while len(chosen) < len(x) - 2 * f:
        best = np.argmin(krum_scores(np.array(left), f, max(len(left) - f - 2, 2)))
        chosen.append(left.pop(int(best)))
    result = np.zeros(x.shape[1])
    for d in range(x.shape[1]):
        values = [row[d] for row in chosen]
        middle = np.median(values)
        result[d] = np.mean(sorted(values, key=lambda value: abs(value - middle))[: len(x) - 4 * f])
    return result


def close(found: torch.Tensor, expected: np.ndarray, rtol: float = 1e-6) -> None:
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(("clients", "f"), SIZES)
def test_coordinates_are_ordered_one_by_one(clients: int, f: int) -> None:
    x = drawn(clients)
    columns = [sorted(column) for column in x.double().numpy().T]
    close(median(x), np.array([np.median(column) for column in columns]))
    close(trimmed_mean(x, f), np.array([np.mean(column[f : clients - f]) for column in columns]))


@pytest.mark.parametrize("offset", [0.0, 3.0, 1000.0])
@pytest.mark.parametrize("parameters", [1, 5, 2500])
def test_distances(offset: float, parameters: int) -> None:
    """Whatever the updates have in common: the error is of the size of their distances from the clipped mean."""
    x = drawn(150, 1, parameters, offset)
    x[7] *= 1e12
    x[8] = x[9]
    wide = x.double().numpy()
    found = squared_distances(x)
    lengths = np.linalg.norm(wide, axis=1)
    centre = (np.minimum(1.0, np.median(lengths) / lengths)[:, None] * wide).mean(0)
    reach = ((wide - centre) ** 2).sum(1)
    for i, j in itertools.combinations(range(150), 2):
        assert abs(float(found[i, j]) - distance2(wide[i], wide[j])) <= 1e-6 * (reach[i] + reach[j])
    assert torch.equal(found, found.t())
    assert float(found.diagonal().abs().max()) == 0.0


def test_numbers_near_the_end_of_the_range_leave_the_others_alone() -> None:
    x = drawn(9)
    expected = squared_distances(x[:7])
    x[7], x[8] = 1e38, -3e38
    found = squared_distances(x)
    assert found.isfinite().all()
    torch.testing.assert_close(found[:7, :7], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("clients", "f"), SIZES)
def test_krum(clients: int, f: int) -> None:
    x = drawn(clients)
    expected = krum_scores(x.double().numpy(), f)
    close(scores(squared_distances(x), f), np.array(expected), rtol=1e-5)
    assert torch.equal(Krum(attackers=f).aggregate(x), x[int(np.argmin(expected))])
    for keep in (0, 1, clients - f):
        best = np.argsort(expected)[: keep or clients - f]
        close(MultiKrum(attackers=f, keep=keep).aggregate(x), x.double().numpy()[best].mean(0))


@pytest.mark.parametrize(("clients", "f"), [(3, 0), (7, 1), (11, 2), (23, 5)])
def test_bulyan(clients: int, f: int) -> None:
    x = drawn(clients)
    close(Bulyan(attackers=f).aggregate(x), bulyan(x.double().numpy(), f))
    assert len(choose(squared_distances(x), f)) == clients - 2 * f


def test_around_the_median_of_a_crooked_column() -> None:
    """Of 0, 1, 2, 10, 11 the median is 2, the three nearest are 0, 1 and 2."""
    x = torch.tensor([[0.0], [10.0], [2.0], [11.0], [1.0]])
    close(around_median(x, 3), np.array([1.0]))
    close(around_median(x, 1), np.array([2.0]))
    close(around_median(x, 5), np.array([4.8]))


@pytest.mark.parametrize(("clients", "f"), SIZES)
def test_geometric_median(clients: int, f: int) -> None:
    """Pillutla et al. 2022, Algorithm 2; and after many steps, no neighbour of it has a smaller sum of distances."""
    x = drawn(clients)
    wide = x.double().numpy()
    z = np.median(wide, axis=0)
    for _ in range(3):
        pull = [1.0 / max(0.1, distance2(z, row) ** 0.5) for row in wide]
        z = sum(p * row for p, row in zip(pull, wide, strict=True)) / sum(pull)
    close(geometric_median(x, 3, 0.1), z)
    best = geometric_median(x, 300, 1e-9).double().numpy()
    total = sum(distance2(best, row) ** 0.5 for row in wide)
    for step in 0.05 * np.vstack([np.eye(5), -np.eye(5)]):
        assert sum(distance2(best + step, row) ** 0.5 for row in wide) > total


def test_centred_clipping() -> None:
    """Karimireddy et al. 2021, Algorithm 2."""
    x, v = drawn(9), np.full(5, 2.5)
    for steps in (1, 2, 5):
        expected = v
        for _ in range(steps):
            apart = [row - expected for row in x.double().numpy()]
            expected = expected + sum(d * min(1.0, 1.5 / np.linalg.norm(d)) for d in apart) / 9
        close(centred_clipping(x, torch.full((5,), 2.5), 1.5, steps), expected)


@pytest.mark.parametrize(("clients", "f"), SIZES)
def test_mixing_and_filtering(clients: int, f: int) -> None:
    x = drawn(clients)
    wide = x.double().numpy()
    for row, found in zip(wide, mixed(x, f), strict=True):
        nearest = sorted(wide, key=lambda other: distance2(row, other))[: clients - f]
        close(found, np.mean(nearest, axis=0))
    order = sorted(range(clients), key=lambda i: np.linalg.norm(wide[i]))[: clients - f]
    assert torch.equal(shortest(x, clients - f), x[sorted(order)])
    then = {"name": "median"}
    close(NormFilter(attackers=f, then=then).aggregate(x), np.median(wide[order], axis=0))
    close(NearestNeighbourMixing(attackers=f, then=then).aggregate(x), np.median(mixed(x, f).numpy(), axis=0))


@pytest.mark.parametrize("name", AGGREGATORS)
def test_double_precision_stays(name: str) -> None:
    """Each takes float64, as mixing makes it, and says nearly the same as of float32."""
    aggregator = AGGREGATORS.make({"name": name})
    x = drawn(23)
    close(aggregator.aggregate(x.double()), aggregator.aggregate(x).double().numpy(), rtol=1e-5)


def config(**strategy: Any) -> dict[str, Any]:
    return resolved(build_config({"source": {"name": "sine"}, "method": {"name": "fedavg"}, "strategy": strategy}))[
        "strategy"
    ]


def test_settings_are_complete_in_a_runs_folder() -> None:
    assert config()["aggregator"] == {"name": "mean"}
    assert config(aggregator={"name": "krum"})["aggregator"] == {"name": "krum", "attackers": 0.2}
    assert config(name="krum")["aggregator"] == {"name": "krum", "attackers": 0.0}
    assert config(name="krum", aggregator={"attackers": 2})["aggregator"] == {"name": "krum", "attackers": 2.0}
    assert config(aggregator={"name": "nnm", "then": {"name": "bulyan"}}, cohort=20)["aggregator"] == {
        "name": "nnm",
        "attackers": 0.2,
        "then": {"name": "bulyan", "attackers": 0.1},
    }


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "absent"}, r"strategy\.aggregator\.name = 'absent': must be one of"),
        ({"name": "krum", "attacker": 1}, r"strategy\.aggregator\.attacker = 1: unknown key; did you mean 'attackers'"),
        ({"name": "krum", "attackers": -1}, r"strategy\.aggregator\.attackers = -1\.0: must be ≥ 0"),
        ({"name": "krum", "attackers": 0.5}, r"strategy\.aggregator\.attackers = 0\.5: must be < 0\.5 or a whole"),
        ({"name": "krum", "attackers": 1.5}, r"strategy\.aggregator\.attackers = 1\.5"),
        ({"name": "nnm", "then": {"name": "absent"}}, r"strategy\.aggregator\.name = 'absent'"),
        ({"name": "krum", "attackers": 4}, r"strategy\.cohort = 10: krum: 10 replies .* 4 attackers: 2 f \+ 3 = 11"),
        ({"name": "bulyan", "attackers": 2}, r"strategy\.cohort = 10: bulyan: 10 replies .* 4 f \+ 3 = 11 are needed"),
        (
            {"name": "multi_krum", "attackers": 2, "keep": 9},
            r"strategy\.cohort = 10: multi_krum: keep = 9 is more than the 8 honest",
        ),
        ({"name": "norm_filter", "attackers": 3, "then": {"name": "krum", "attackers": 3}}, r"norm_filter: 7 replies"),
    ],
)
def test_settings_are_checked_before_a_round(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(aggregator=section)


@pytest.mark.parametrize(("attackers", "expected"), [(0.0, 0), (0.2, 2), (0.21, 3), (0.3, 3), (3, 3)])
def test_a_share_of_attackers_is_rounded_up(attackers: float, expected: int) -> None:
    assert Krum(attackers=attackers).assumed(10) == expected


THETA = {"w": torch.zeros(2, 2), "b": torch.zeros(())}


def one_round(strategy: OuterStrategy, updates: torch.Tensor, t: int = 1) -> dict[str, torch.Tensor] | None:
    """θ after a round in which the clients report these rows."""
    grid = CohortGrid(len(updates))
    sent = list(strategy.configure_train(t, encode(THETA), ConfigRecord(), grid))
    replies = []
    for message, row in zip(sent, updates, strict=True):
        content = {ARRAYS: encode({"w": row[:4].view(2, 2), "b": row[4]}), METRICS: MetricRecord({"num-examples": 5})}
        replies.append(Message(RecordDict(content), reply_to=message))
    moved, _ = strategy.aggregate_train(t, replies)
    return None if moved is None else decode(moved)


def made(told: list[Dropped], **aggregator: Any) -> OuterStrategy:
    section = {"name": "fedavg", "cohort": 0, "aggregator": aggregator}
    strategy = make_strategy(section, 9, 0, lambda round, dropped: told.extend(dropped))
    assert isinstance(strategy, OuterStrategy)
    return strategy


@pytest.mark.parametrize("name", AGGREGATORS)
def test_it_is_the_step_of_the_strategy(name: str) -> None:
    """θ = 0 moves to minus the aggregate, array by array."""
    strategy = made([], name=name)
    x = drawn(12)
    expected = strategy.aggregator.aggregate(x).float()
    theta = one_round(strategy, x)
    close(torch.cat([theta["w"].flatten(), theta["b"].view(1)]), -expected.double().numpy())
    assert strategy.linear == (name == "mean")


def test_too_few_replies_are_an_event_and_the_next_round_goes_on() -> None:
    told: list[Dropped] = []
    strategy = made(told, name="krum", attackers=1)
    assert one_round(strategy, drawn(4)) is None
    reason = "round given up: krum: 4 replies are too few against 1 attackers: 2 f + 3 = 5 are needed"
    assert told == [Dropped(-1, reason)]
    assert one_round(strategy, drawn(5), 2) is not None


@pytest.mark.parametrize(
    "section", [{"name": "centred_clipping"}, {"name": "nnm", "then": {"name": "centred_clipping"}}]
)
def test_the_centre_survives_a_restart(section: dict[str, Any]) -> None:
    """Three rounds, and the same with the state through bytes after the second."""
    whole, first, second = made([], **section), made([], **section), made([], **section)
    for t in (1, 2):
        one_round(whole, drawn(9, t), t)
        one_round(first, drawn(9, t), t)
    second.state = load(save(dict(reversed(list(first.state.items())))))
    a, b = one_round(whole, drawn(9, 3), 3), one_round(second, drawn(9, 3), 3)
    assert all(torch.equal(a[name], b[name]) for name in THETA)
    forgetful = one_round(made([], **section), drawn(9, 3), 3)
    assert not any(torch.equal(a[name], forgetful[name]) for name in THETA)
