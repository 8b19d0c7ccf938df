"""The whole release, replayed with one person more: same coins, same noise, and θ moves by C/qN and no further.

Every mechanism, strategy and way to call clients; Poisson rounds are larger than the cohort in half of the cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from metapulse.client.wire import CONFIG, SUM
from metapulse.data import Samples
from metapulse.errors import DataError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config
from metapulse.server.run import Run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.sources.sine import Sine
from metapulse.trees import norm, sub
from tests.runs import make, read

PEOPLE, COHORT, CLIP, RATE = 24, 8, 0.05, 0.5
NOISE = {"noise_multiplier": 0.5, "delta": 1e-3, "clip": CLIP}
MECHANISMS: dict[str, dict[str, Any]] = {
    "central": {"mechanism": "central", "people": PEOPLE},
    "adaptive": {"mechanism": "central", "people": PEOPLE, "adaptive": True, "count_noise": 2.0},
}
STRATEGIES = ["fedavg", "fedreptile", "fedmaml"]
WAYS = ["stack", "messages"]


class Alone(CohortGrid):
    """Message by message, as an engine without stacks answers."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Sequence[Message]:
        asked = list(messages)
        for message in asked:  # which share their content
            message.content.config_records[CONFIG].pop(SUM, None)
        return list(super().send_and_receive(asked, timeout=timeout))


def config(strategy: str, privacy: dict[str, Any], seed: int, people: int) -> Config:
    return make(
        "reptile",
        strategy,
        "sine",
        1,
        source={"clients": people},
        split={"test": 0.0, "validation": 0.0},
        learner={"inner_steps": 1, "inner_lr": 0.05},
        strategy={"cohort": COHORT, "weighting": "uniform", "lr": RATE, "schedule": "constant", "outer": "sgd"},
        evaluation={"scenarios": []},
        privacy=NOISE | privacy | {"noise_seed": seed},
    )


def seeds() -> list[int]:
    """Of one round below the cohort and one above it, each with the last person."""
    sampler = ClientSampler(
        SourceDirectory(Sine(clients=PEOPLE + 1)), config("fedreptile", MECHANISMS["central"], 0, PEOPLE + 1)
    )
    drawn = {seed: sampler.persons(seed, 1, COHORT, "poisson", PEOPLE) for seed in range(100)}
    there = [seed for seed, people in drawn.items() if PEOPLE in people]
    return [next(s for s in there if (len(drawn[s]) > COHORT + 1) == above) for above in (False, True)]


def after(made: Config, people: int, way: str, path: Path) -> dict[str, Any]:
    """θ after one round of so many people."""
    kind = Alone if way == "messages" else CohortGrid
    job = Run(made, kind(people), SourceDirectory(Sine(clients=people)), path)
    return read(path, job.start()).thetas[-1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("mechanism", "strategy"), [*(("central", one) for one in STRATEGIES), ("adaptive", "fedreptile")]
)
def test_one_person_more_moves_the_release_by_c_over_the_cohort(
    mechanism: str, strategy: str, way: str, tmp_path: Path
) -> None:
    """‖θ − θ'‖ ≤ β C / qN, but for float32, in which θ is kept; both draws have the person, one is above the cohort."""
    moved = []
    for seed in seeds():
        fewer, more = (
            after(config(strategy, MECHANISMS[mechanism], seed, n), n, way, tmp_path / f"{seed}-{n}")
            for n in (PEOPLE, PEOPLE + 1)
        )
        moved.append(float(norm(sub(more, fewer))))
        assert moved[-1] <= RATE * CLIP / COHORT * (1 + 1e-3) + 1e-6
    assert max(moved) > 0.5 * RATE * CLIP / COHORT


class Changed(Sine):
    """The same people, the last of whom has the first one's curve."""

    def samples(self, index: int) -> Samples:
        """What client ``index`` has."""
        return super().samples(0 if index == PEOPLE - 1 else index)

    def block(self, clients: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Nothing at once: one of them is another person."""
        raise DataError("ask one by one")


@pytest.mark.parametrize("way", ["stack", "messages", "secure"])
@pytest.mark.parametrize("mechanism", ["client", "local"])
def test_one_person_replaced_moves_the_release_by_twice_that(mechanism: str, way: str, tmp_path: Path) -> None:
    """Numbers are fixed and all people are in the round; their noise is the same, one person's samples are not.

    Under secure aggregation entries are whole numbers: rounding moves each by one step of 2 / 2²⁴ or so.
    """
    thetas = []
    for name in ("sine", "tests.server.test_private_replay:Changed"):
        made = make(
            "reptile",
            "fedreptile",
            "sine",
            1,
            source={"name": name, "clients": PEOPLE},
            split={"test": 0.0, "validation": 0.0},
            learner={"inner_steps": 1, "inner_lr": 0.05},
            strategy={"cohort": PEOPLE, "weighting": "uniform", "lr": RATE, "schedule": "constant"},
            evaluation={"scenarios": []},
            privacy=NOISE | {"mechanism": mechanism, "sampling": "fixed", "noise_seed": 3},
            secure_aggregation={"on": way == "secure", "range": 2.0},
        )
        grid = Alone(PEOPLE) if way == "messages" else CohortGrid(PEOPLE)
        path = tmp_path / name.rpartition(":")[2]
        thetas.append(read(path, Run(made, grid, SourceDirectory(Sine(clients=PEOPLE)), path).start()).thetas[-1])
    assert 0 < float(norm(sub(*thetas))) <= RATE * 2 * CLIP / PEOPLE * (1 + 1e-3) + 1e-5
