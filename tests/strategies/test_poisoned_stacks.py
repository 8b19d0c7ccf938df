"""Hostile clients of the cohort engine: what is poisoned in a stack is dropped from it, named and counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.data import Samples
from metapulse.errors import EngineError
from metapulse.server.folder import RunFolder
from metapulse.server.run import Run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.population import ClientJob
from metapulse.sim.sources.sine import Sine
from metapulse.strategies.aggregate import AggregationSpec, partial_sum
from tests.cases import same
from tests.client.test_executor import People, spec
from tests.runs import ROBUST, STRATEGIES, make, read

METHODS: Mapping[str, Mapping[str, Any]] = {
    name: {**section, "cohort": 0} for name, section in (STRATEGIES | ROBUST).items() if name != "fedreptile"
}


class Poisoner(LocalPool):
    """The cohort engine with clients whose updates, or weights, are poisoned in some rounds."""

    def __init__(self, clients: set[int], rounds: set[int], value: float, what: str = "update") -> None:
        super().__init__()
        self._clients, self._rounds, self._value, self._what = clients, rounds, value, what

    def train(
        self, job: ClientJob, meta: Any, round: int, chunks: Any, states: Any, aggregation: AggregationSpec
    ) -> Any:
        outcomes = super().train(job, meta, round, chunks, states, AggregationSpec())
        for outcome in outcomes if round in self._rounds else []:
            for i, client in enumerate(outcome.clients):
                if client in self._clients and self._what == "update":
                    name = next(iter(outcome.report.update))
                    outcome.report.update[name][i].view(-1)[0] = self._value
                elif client in self._clients:
                    outcome.report.weight[i] = self._value
        return [partial_sum(outcome, aggregation) if aggregation.weighting else outcome for outcome in outcomes]


def poisoned_run(path: Any, strategy: str, pool: LocalPool, rounds: int, clients: int = 6) -> Any:
    """A whole run on the cohort engine with all clients in every round."""
    source = {"clients": clients}
    config = make(
        "fomaml",
        strategy,
        "sine",
        rounds,
        source=source,
        split={"test": 0.0},
        strategy={"cohort": 0},
        evaluation={"scenarios": ["known_user"]},
        engine={"chunk": 4},
    )
    grid = CohortGrid(clients, pool, config.engine.chunk)
    return read(path, Run(config, grid, SourceDirectory(Sine(clients=clients)), path).start())


@pytest.mark.parametrize("strategy", METHODS)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (math.nan, "update"),
        (math.inf, "update"),
        (math.nan, "weight"),
        (-1.0, "weight"),
        (0.0, "weight"),
        (1e30, "weight"),
    ],
)
def test_one_poisoned_client_of_a_stack(tmp_path, strategy: str, value: float, what: str) -> None:
    """The fast path checks as the slow one does, whether the strategy takes the stack or the messages."""
    result = poisoned_run(tmp_path / "run", strategy, Poisoner({3}, {1}, value, what), 1)
    events = [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "dropped"]
    assert [(event["round"], event["client"]) for event in events] == [(1, 3)]
    assert result.summary["dropped"] == 1
    assert all(p.isfinite().all() for p in result.thetas[1].values())
    assert result.digests[0] != result.digests[1]


@pytest.mark.parametrize("strategy", METHODS)
def test_a_whole_round_poisoned(tmp_path, strategy: str) -> None:
    """Round 2 of three is lost: θ stays as it was, and round 3 moves it again."""
    result = poisoned_run(tmp_path / "run", strategy, Poisoner(set(range(6)), {2}, math.nan), 3)
    first, second, third, fourth = result.digests
    assert first != second == third != fourth
    assert result.summary["dropped"] == 6
    rounds = [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "round"]
    assert [event["moved"] for event in rounds] == [True, False, True]


def test_ten_lost_rounds_end_the_run_with_an_error_that_says_why(tmp_path) -> None:
    everyone = Poisoner(set(range(6)), set(range(3, 100)), math.nan)
    with pytest.raises(EngineError, match=r"round 12: no usable reply in 10 rounds; see .*events\.jsonl"):
        poisoned_run(tmp_path / "run", "fedavg", everyone, 50)


BY_SAMPLES = AggregationSpec("samples")


class Diverging(People):
    """Client 6's samples are so large that one step leaves the range of numbers; client 4 has samples too."""

    def samples(self, index: int) -> Samples:
        usual = super().samples(5 if index == 4 else index)
        return replace(usual, x=usual.x * np.float32(1e30)) if index == 6 else usual


def test_whoever_spoils_a_sum_is_found_among_the_updates() -> None:
    """Where the learner adds up as it goes: the others' sum is the one that is made of their updates."""
    source = {"name": "tests.strategies.test_poisoned_stacks:Diverging"}
    job = ClientExecutor(replace(spec("fedavg", inner_lr=1.0), source=source))
    theta, everyone, others = job.init(), range(4, 9), [4, 5, 7, 8]
    spoilt = job.train(theta, 1, everyone, sum_spec=BY_SAMPLES.sum_spec)
    assert spoilt.total is None  # then here are the updates
    short, expected = partial_sum(spoilt, BY_SAMPLES), partial_sum(job.train(theta, 1, others), BY_SAMPLES)
    assert short.clients == others
    assert list(short.failures) == [6]
    assert short.total is not None
    assert expected.total is not None
    same(short.total, {name: p.double() for name, p in expected.total.items()}, rtol=1e-6, atol=1e-6)
    whole = job.train(theta, 1, others, sum_spec=BY_SAMPLES.sum_spec)
    summed = partial_sum(whole, BY_SAMPLES)
    assert (summed is whole) == (whole.total is not None)  # compiled code has added up, and nothing does so again
    same(summed.total or {}, expected.total, rtol=1e-5, atol=1e-6)
