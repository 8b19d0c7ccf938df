"""Faults: every draw by address, rates as they are set, and what is off draws nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Client
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.rng import Keys, generator
from metapulse.settings import build
from metapulse.sim.faults import Faults, first_of

PEOPLE = [Client(i, i // 2, ("phone", "watch")[i % 2], str(i // 2)) for i in range(4000)]


def within(count: int, n: int, p: float) -> bool:
    """Whether a binomial count is within four and a half standard deviations."""
    return abs(count - n * p) <= 4.5 * math.sqrt(n * p * (1 - p))


def test_off_is_off() -> None:
    faults = Faults()
    assert faults.simulated == ()
    assert faults.away(0, 1, PEOPLE) == {}
    assert faults.late(0, 1, PEOPLE, np.full(4000, 1e9)) == {}
    batch = Batch(torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2))
    assert faults.shortened(batch, Keys(0, 1, [0]), "support") is batch


@pytest.mark.parametrize(("hour", "night"), [(0.0, True), (7.9, True), (8.1, False), (23.0, False)])
def test_availability_by_the_clock(hour: float, night: bool) -> None:
    """One time zone: each person's hour is that of the round, and the two reasons have their probabilities."""
    faults = Faults(hours_per_round=hour or 24.0, time_zones=0.0)
    charging, wifi = (0.8, 0.95) if night else (0.15, 0.5)
    reasons = list(faults.away(7, 1, PEOPLE).values())
    assert within(reasons.count("not on its charger"), 4000, 1 - charging)
    assert within(reasons.count("no Wi-Fi"), 4000, charging * (1 - wifi))


def test_people_around_the_globe_take_turns() -> None:
    """The same hour of the day finds the same people asleep; a third of the day is night for a third of them."""
    certain = {"charging_night": 1.0, "wifi_night": 1.0, "charging_day": 0.0, "wifi_day": 0.0}
    faults = Faults(hours_per_round=6.0, **certain)
    there = [set(range(4000)) - set(faults.away(7, round, PEOPLE)) for round in range(1, 9)]
    assert there[:4] == there[4:]
    assert len(set.union(*there)) == 4000  # nights of eight hours, four looks a day: every person is seen
    assert all(within(len({c // 2 for c in one}), 2000, 1 / 3) for one in there)
    assert all((c in one) == (c + 1 in one) for one in there for c in range(0, 4000, 2))  # one phase per person


def test_who_drops_out_comes_back() -> None:
    faults = Faults(outage=0.1, outage_rounds=3)
    gone = {round: faults.away(7, round, PEOPLE) for round in range(1, 12)}
    new = {r: {c for c in range(4000) if generator(7, "fault/outage", r, c).random() < 0.1} for r in (4, 5, 6)}
    assert set(gone[6]) == new[4] | new[5] | new[6]
    assert within(len(gone[1]), 4000, 0.1)
    assert within(len(gone[9]), 4000, 1 - 0.9**3)
    client = min(new[6])
    assert gone[6][client] == "dropped out in round 6, back in round 9"
    assert all(client in gone[round] for round in (6, 7, 8))


def test_stragglers_are_slow_devices_with_many_samples() -> None:
    """P(late) = 1 − Φ(ln(deadline · rate · speed / n) / jitter)."""
    faults = Faults(deadline_s=1.0, samples_per_s=100.0, speed={"watch": 0.5}, jitter=0.5)
    late = faults.late(7, 3, PEOPLE, np.full(4000, 80.0))
    share = {d: 0.5 * math.erfc(math.log(100 * s / 80) / 0.5 / math.sqrt(2)) for d, s in (("phone", 1), ("watch", 0.5))}
    for i, device in enumerate(("phone", "watch")):
        assert within(sum(c % 2 == i for c in late), 2000, share[device])
    seconds = 80 / 50 * math.exp(0.5 * generator(7, "fault/speed", 3, min(c for c in late if c % 2)).standard_normal())
    assert late[min(c for c in late if c % 2)] == f"late: {seconds:.1f} s, the deadline is 1 s"
    assert set(faults.late(7, 3, PEOPLE[:9], np.full(9, 80.0))) == {c for c in late if c < 9}
    sure = Faults(deadline_s=1.0, jitter=0.0)
    assert list(sure.late(7, 1, PEOPLE[:2], np.array([99.0, 101.0]))) == [1]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_the_first_few_samples(counts: list[int], seed: int) -> None:
    """As many as asked for, real ones, in their order, one row per client."""
    n = len(counts)
    mask = (torch.arange(6) < torch.tensor(counts).unsqueeze(1)).float()
    x = torch.arange(6.0).repeat(n, 1).unsqueeze(2)
    rng = generator(seed, "first")
    wanted = torch.tensor([int(rng.integers(0, c + 1)) for c in counts])
    found = first_of(Batch(x, x.squeeze(2).long(), mask), wanted, torch.from_numpy(rng.random((n, 6))))
    assert found.counts.long().equal(wanted)
    for row in range(n):
        own = found.y[row, found.mask[row] > 0].tolist()
        assert own == sorted(set(own))
        assert all(y < counts[row] for y in own)
        assert found.x[row, : len(own), 0].tolist() == own
        assert not found.mask[row, len(own) :].any()


def test_partial_work_is_a_share_of_ones_own_samples() -> None:
    faults, clients = Faults(partial=0.4, partial_least=0.25), list(range(3000))
    mask = (torch.arange(40) < 32).float().repeat(3000, 1)
    batch = Batch(torch.zeros(3000, 40, 1), torch.zeros(3000, 40, dtype=torch.int64), mask)
    found = faults.shortened(batch, Keys(7, 2, clients), "support")
    assert within(int((found.counts < 32).sum()), 3000, 0.4 * (1 - 1 / 24))  # ⌈share · 32⌉ is 32 for a 24th of them
    assert found.counts.min() == 9  # the smallest share is just above a quarter
    alone = faults.shortened(batch.__class__(batch.x[5:6], batch.y[5:6], mask[5:6]), Keys(7, 2, [5]), "support")
    assert alone.counts[0] == found.counts[5]
    empty = Batch(batch.x[:, :0], batch.y[:, :0], mask[:, :0])
    assert faults.shortened(empty, Keys(7, 2, clients), "query") is empty


def test_replies_that_come_twice() -> None:
    clients = list(range(4000))
    again = Faults(duplicate=0.05).twice(7, 3, clients)
    assert within(len(again), 4000, 0.05)
    assert again == [c for c in clients if generator(7, "fault/duplicate", 3, c).random() < 0.05]


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, 1e9])
def test_speeds_that_are_none_are_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match=r"^faults.speed.watch = .*must be a number from 1e-06 to 1e\+06"):
        Faults(deadline_s=1.0, speed={"watch": speed})


def test_a_speed_is_a_number() -> None:
    with pytest.raises(ConfigError, match=r"^faults.speed.watch = 'fast': expected a number"):
        build(Faults, {"deadline_s": 1.0, "speed": {"watch": "fast"}}, "faults")
