"""History: what the old devices recorded, without the query's moments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, Trial
from metapulse.data import Client, Samples, Task
from metapulse.episodes import EpisodePlan
from metapulse.history import apart
from metapulse.registry import SOURCES
from metapulse.rng import generator

PEOPLE, GROUPS, WINDOWS = 24, 8, 6


def coins(user: int) -> tuple[np.ndarray, np.ndarray]:
    """What a person did: a sign of every moment that both devices see, and a coin flip as its label."""
    rng = generator(5, "coins", client=user)
    n = GROUPS * WINDOWS
    return rng.standard_normal((n, 16)).astype(np.float32), rng.integers(2, size=n)


@dataclass(frozen=True)
class Coins:
    """A phone and a watch worn at once: x is the same on both, and y has nothing to do with it."""

    task: ClassVar[Task] = Task("classification", (16,), 2)
    users: ClassVar[int] = PEOPLE
    devices: ClassVar[tuple[str, ...]] = ("phone", "watch")

    def __len__(self) -> int:
        return 2 * PEOPLE

    def client(self, index: int) -> Client:
        return Client(index, index // 2, self.devices[index % 2], f"p{index // 2}")

    def clients_of(self, user: int) -> tuple[int, int]:
        return 2 * user, 2 * user + 1

    def samples(self, index: int) -> Samples:
        x, y = coins(index // 2)
        return Samples(x, y, np.arange(len(y)) // WINDOWS, np.zeros(len(y), bool))


def own(folder: Path, clock: str) -> dict[str, Any]:
    """The same as a table: with a shared group column, with a clock alone, with both and names of its own each, or
    with such names alone.
    """
    rows: dict[str, list[Any]] = {name: [] for name in ("user", "device", "x", "y", "group", "time")}
    for user in range(PEOPLE):
        x, y = coins(user)
        for device in Coins.devices:
            at = np.arange(len(y))
            group = at // WINDOWS
            rows["user"] += [f"p{user:02d}"] * len(y)
            rows["device"] += [device] * len(y)
            rows["x"] += list(x)
            rows["y"] += list(y)
            rows["group"] += [f"{device if clock in ('names', 'names alone') else ''} {g}" for g in group]
            # Executions of a minute, ten minutes apart; the watch's clock is half a second late.
            rows["time"] += list(at % WINDOWS / WINDOWS + 10.0 * group + (device == "watch") / 120)
    without = {"group": {"time"}, "names alone": {"time"}, "time": {"group"}, "none": {"group", "time"}}
    path = folder / f"{clock}.npz"
    np.savez(path, **{name: np.array(rows[name]) for name in rows.keys() - without.get(clock, set())})
    return {"name": "own", "path": str(path), **({"day": 10.0} if clock == "time" else {})}


def accuracy(source: dict[str, Any], split: str = "groups") -> tuple[float, float]:
    """Mean accuracy on the watch after one step from the phone's history, and the mean number of history's samples.

    The model remembers: nearest labelled sample, as long as what it saw first still counts.
    """
    learner = {"name": "fedavg_ft", "inner_lr": 1.0, "batch_size": 0}
    spec = ClientConfig(1, source, {"name": "none"}, {"name": "mlp", "hidden": [64]}, learner, EpisodePlan(split, 2))
    work = ClientExecutor(spec)
    watches = [c for c in range(len(work.source)) if work.source.client(c).device == "watch"]
    trial = Trial("new_device", EpisodePlan(split, 1), steps=(0,), episodes=2, history=("phone",), history_steps=100)
    metrics = work.evaluate(work.init(), 1, watches, trial).metrics
    return metrics["accuracy"].mean().item(), metrics["history"].mean().item()


def chance(value: float, asked: int) -> bool:
    """Within four standard deviations of one half."""
    return abs(value - 0.5) < 4 * 0.5 / asked**0.5


def test_coin_flips_are_not_foretold() -> None:
    """Half of the groups are asked about: 24 people × 24 windows, the same twice at most."""
    right, history = accuracy({"name": "tests.metapulse.test_history:Coins"})
    assert chance(right, PEOPLE * GROUPS * WINDOWS // 2)
    assert history == GROUPS * WINDOWS / 2


@pytest.mark.parametrize("clock", ["group", "time", "names", "none"])
def test_coin_flips_of_an_own_table_are_not_foretold(clock: str, tmp_path: Path) -> None:
    """Moments are told by a shared group, by the time, by both; where nothing tells them there is no history."""
    right, history = accuracy(own(tmp_path, clock), "samples" if clock == "none" else "groups")
    assert chance(right, PEOPLE * GROUPS * WINDOWS // 2)
    assert history == (0 if clock == "none" else GROUPS * WINDOWS / 2)


def device(group: list[int], time: list[float] | None = None, moment: list[int] | None = None) -> Samples:
    n = len(group)
    stamps, codes = None if time is None else np.array(time), None if moment is None else np.array(moment)
    return Samples(
        np.zeros((n, 1), np.float32), np.zeros(n, np.int64), np.array(group), np.zeros(n, bool), codes, stamps
    )


def test_what_shares_a_group_a_moment_or_a_time_goes() -> None:
    new, query = device([0, 0, 1, 1]), np.array([2])
    assert apart(device([0, 1, 2, 1]), new, query).tolist() == [0, 2]
    assert apart(device([7, 8, 9]), new, query).tolist() == [0, 1, 2]
    assert apart(device([7, 8], moment=[1, 1]), device([0, 1], moment=[1, 1]), np.array([0])).tolist() == []
    stamped = device([0, 0, 1, 1], [0.0, 1.0, 100.0, 101.0])
    # Group 5 runs beside the asked group 1, group 6 ends within two steps before it, group 7 is far away.
    old = device([5, 5, 6, 6, 7, 7], [100.5, 101.5, 97.0, 98.5, 40.0, 41.0])
    assert apart(old, stamped, query).tolist() == [4, 5]
    assert apart(old, device([0, 0, 1, 1]), query).tolist() == list(range(6))  # one clock alone tells nothing


def test_two_devices_of_a_generator_share_their_groups() -> None:
    """A person's execution is one moment on every device."""
    source = SOURCES.make({"name": "wearables", "users": 3, "devices": ["phone", "watch"]})
    for user in range(3):
        phone, watch = (source.samples(c) for c in source.clients_of(user))
        rows = np.flatnonzero(np.isin(watch.group, watch.group[:1]))
        kept = apart(phone, watch, rows)
        assert 0 < len(kept) < len(phone)
        assert not np.isin(phone.group[kept], watch.group[rows]).any()
