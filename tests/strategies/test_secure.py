"""Who shares with whom, how many it takes, and what secure aggregation cannot be combined with."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import ConfigError, ReplyError
from client.rng import generator
from strategies.secure import Ring, SecureSettings
from tests.runs import ROBUST, STRATEGIES, make

RINGS = st.tuples(st.integers(1, 25), st.integers(0, 6), st.integers(0, 99))


def ring(size: int, half: int, seed: int, threshold: float = 0.6) -> Ring:
    return Ring([3 * c for c in range(size)], 2 * half, threshold, generator(seed, "ring"))


@given(RINGS)
def test_neighbours_are_mutual_and_as_many_as_asked(drawn: tuple[int, int, int]) -> None:
    size, half, _ = drawn
    made, everybody = ring(*drawn), {3 * c for c in range(size)}
    around = {c: made.around(c, everybody) for c in everybody}
    assert {len(group) for group in around.values()} == {min(2 * half + 1, size) if half else size}
    assert all(c in group and sorted(set(group)) == group for c, group in around.items())
    if made.width % 2 or made.width == size:
        assert all(c in around[other] for c, group in around.items() for other in group)


@given(RINGS, st.sets(st.integers(0, 24)), st.sets(st.integers(0, 24)))
def test_the_least_surrounded_is_found(drawn: tuple[int, int, int], gone: set[int], aside: set[int]) -> None:
    size = drawn[0]
    made = ring(*drawn)
    everybody = {3 * c for c in range(size)}
    present, members = everybody - {3 * c for c in gone}, everybody - {3 * c for c in aside}
    short = not members or any(len(made.around(c, present)) < made.threshold for c in members)
    if short:
        with pytest.raises(ReplyError, match=r"^unmask: "):
            made.must_hold("unmask", sorted(members), sorted(present))
    else:
        made.must_hold("unmask", sorted(members), sorted(present))


def test_the_threshold_rounds_up_and_is_two_at_least() -> None:
    assert [ring(size, 0, 0).threshold for size in (1, 2, 3, 4, 5, 6, 10)] == [2, 2, 2, 3, 3, 4, 6]
    assert ring(25, 2, 0).threshold == math.ceil(0.6 * 5)
    assert ring(10, 0, 0, threshold=1.0).threshold == 10


def test_the_ring_is_drawn_anew_by_its_address() -> None:
    everybody = {3 * c for c in range(25)}
    assert ring(25, 2, 1).around(0, everybody) == ring(25, 2, 1).around(0, everybody)
    assert len({tuple(ring(25, 2, seed).around(0, everybody)) for seed in range(10)}) > 5


LOOKING = [name for name in STRATEGIES if name.startswith("stock") or name == "fednova"] + list(ROBUST)


@pytest.mark.parametrize("name", LOOKING)
def test_a_strategy_that_looks_at_replies_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.(name|aggregator) = .*(every reply|nobody sees an update)"):
        make("maml", name, "sine", secure_aggregation={"on": True})
    assert not make("maml", name, "sine").secure_aggregation.on


@pytest.mark.parametrize("name", ["fedavg", "fedreptile", "fedmaml"])
def test_every_mean_is_let_through(name: str) -> None:
    assert make("maml", name, "sine", secure_aggregation={"on": True}).secure_aggregation.on


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"strategy": {"cohort": 1}}, r"strategy\.cohort = 1: must be ≥ 2"),
        ({"secure_aggregation": {"on": True, "neighbours": 3}}, r"secure_aggregation\.neighbours = 3: must be even"),
        (
            {"secure_aggregation": {"on": True, "threshold": 0.5}},
            r"secure_aggregation\.threshold = 0\.5: must be > 0\.5",
        ),
        ({"secure_aggregation": {"on": True, "dropout": [0.1]}}, r"secure_aggregation\.dropout = \[0\.1\]: expected 4"),
        ({"secure_aggregation": {"on": True, "bits": 24}}, r"secure_aggregation\.bits = 24: must be one of 16, 32"),
        (
            {"secure_aggregation": {"on": True, "bits": 16}, "strategy": {"cohort": 40000}},
            r"secure_aggregation\.bits = 16: has no room for the sum of 40000 clients",
        ),
        (
            {"privacy": {"mechanism": "central", "noise_multiplier": 1.0}, "strategy": {"weighting": "uniform"}},
            r"privacy\.mechanism = 'central': must be client or local",
        ),
        ({"attack": {"name": "alie"}}, r"attack\.name = 'ALIE': needs everybody's update"),
        ({"faults": {"duplicate": 0.1}}, r"faults\.duplicate = 0\.1: must be 0"),
    ],
)
def test_refusals(sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make("maml", "fedmaml", "sine", **{"secure_aggregation": {"on": True}, **sections})


def test_it_is_off_unless_asked_for() -> None:
    assert not SecureSettings().on
