"""Workers do the rounds that they make quicker, and no others; which those are changes no number."""

from __future__ import annotations

from typing import Any, cast

import pytest

from metapulse.client.spec import Trial
from metapulse.outcome import Outcome, Scores
from metapulse.sim.engines.sharing import AGAIN, SHORT_S, TRIED, SharingPool
from metapulse.sim.engines.workers import WorkerPool
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec

JOB = ClientJob("{}")


class Timed:
    """A pool that takes ``seconds`` a round on a clock of its own, and says who was asked."""

    def __init__(self, name: str, seconds: float, clock: list[float], asked: list[str]) -> None:
        self.name, self.seconds, self.clock, self.asked = name, seconds, clock, asked
        self.spent = [{name: seconds}]

    def train(self, *_: Any) -> list[Outcome]:
        self.clock[0] += self.seconds
        self.asked.append(self.name)
        return []

    def evaluate(self, *_: Any) -> list[Scores]:
        self.asked.append(f"{self.name} judged")
        return []

    def close(self) -> None:
        self.asked.append(f"{self.name} closed")


def pool(workers: float, here: float) -> tuple[SharingPool, Timed, Timed, list[str]]:
    clock, asked = [0.0], list[str]()
    pools = Timed("workers", workers, clock, asked), Timed("here", here, clock, asked)
    return SharingPool(*(cast(WorkerPool, p) for p in pools), lambda: clock[0]), *pools, asked


def rounds(made: SharingPool, count: int, clients: int = 10) -> None:
    for round in range(count):
        made.train(JOB, {}, round, [range(clients)], {}, AggregationSpec("uniform"))


def test_small_rounds_are_done_here_and_it_is_said() -> None:
    made, _, _, asked = pool(workers=0.010, here=0.004)
    rounds(made, 200)
    assert asked == ["workers"] * TRIED + ["here"] * (200 - TRIED)
    assert made.spent == [{"here": 0.004}]
    assert made.told().startswith(f"{200 - TRIED} of 200 rounds were computed in this process")


def test_workers_that_bring_something_keep_their_rounds() -> None:
    made, _, _, asked = pool(workers=0.010, here=0.018)
    rounds(made, 200)
    assert asked == ["workers"] * TRIED + ["here"] * TRIED + ["workers"] * (200 - 2 * TRIED)
    assert made.told() == ""


@pytest.mark.parametrize("here", [0.001, 10.0])
def test_long_rounds_are_never_tried_here(here: float) -> None:
    made, _, _, asked = pool(workers=SHORT_S * 1.01, here=here)
    rounds(made, 2 * AGAIN)
    assert set(asked) == {"workers"}


def test_the_choice_is_tried_again() -> None:
    made, workers, here, asked = pool(workers=0.010, here=0.004)
    rounds(made, AGAIN)
    workers.seconds, here.seconds = 0.002, 0.020
    rounds(made, AGAIN)
    assert asked[-1] == "workers"
    here.seconds = 0.001
    rounds(made, AGAIN)
    assert asked[-1] == "here"


def test_one_slow_round_decides_nothing() -> None:
    made, workers, _, asked = pool(workers=0.010, here=0.018)
    workers.seconds = 0.040  # the first loads data
    rounds(made, 1)
    workers.seconds = 0.010
    rounds(made, 100)
    assert asked[-1] == "workers"


def test_meta_tests_are_the_workers_and_both_are_closed() -> None:
    made, _, _, asked = pool(0.01, 0.004)
    rounds(made, 50)
    made.evaluate(JOB, {}, 0, [range(3)], Trial(), {})
    made.close()
    assert asked[-3:] == ["workers judged", "workers closed", "here closed"]
