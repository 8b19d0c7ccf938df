"""Pools that run the chunks of a cohort: this process, or Ray actors that are replaced when they die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from metapulse.client.executor import ClientExecutor
from metapulse.client.privacy import Guard, protect
from metapulse.client.spec import Trial
from metapulse.errors import EngineError
from metapulse.outcome import Outcome, Scores
from metapulse.sim.engines.cluster import DIRECT, start_ray, stop_ray
from metapulse.sim.engines.heap import keep_heap
from metapulse.sim.engines.parcels import pack_arrays, unpack_arrays
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec, partial_sum
from metapulse.trees import Params

T = TypeVar("T")
LIVES = 5  # times a chunk is sent out before the engine gives up on it

Chunks = Sequence[Sequence[int]]


@runtime_checkable
class WorkerPool(Protocol):
    """Runs chunks of clients; results come in the order of the chunks."""

    @property
    def spent(self) -> Sequence[Mapping[str, float]]:
        """Seconds of the last ``train`` by stage, chunk after chunk of the worker that was busy longest."""

    def train(
        self,
        job: ClientJob,
        meta: Params,
        round: int,
        chunks: Chunks,
        states: Mapping[int, Params],
        aggregation: AggregationSpec,
    ) -> list[Outcome]:
        """One round of every chunk; updates one by one, or a chunk's added up in place, as ``aggregation`` says."""

    def evaluate(
        self, job: ClientJob, meta: Params, round: int, chunks: Chunks, trial: Trial, states: Mapping[int, Params]
    ) -> list[Scores]:
        """One trial of every chunk."""

    def close(self) -> None:
        """End what was started."""


class LocalPool:
    """Chunks one after another, in this process, on one core or one GPU.

    Args:
        device: where stacks are computed, as PyTorch names it.
    """

    def __init__(self, device: str = "cpu") -> None:
        keep_heap()
        self.spent: Sequence[Mapping[str, float]] = ()
        self._device = torch.device(device)
        self._made: dict[ClientJob, ClientExecutor] = {}

    def train(
        self,
        job: ClientJob,
        meta: Params,
        round: int,
        chunks: Chunks,
        states: Mapping[int, Params],
        aggregation: AggregationSpec,
    ) -> list[Outcome]:
        """One round of every chunk."""
        work, outcomes = self._work(job), list[Outcome]()
        for chunk in chunks:
            outcome = work.train(meta, round, chunk, states, aggregation.sum_spec)
            if aggregation.guard is not None and aggregation.terms is None:
                outcome = _guarded(outcome.cpu(), aggregation.guard, meta, round)
            if aggregation.weighting and outcome.total is None:
                outcome = _summed(outcome, aggregation)
            outcomes.append(outcome if self._device.type == "cpu" else outcome.cpu())
        self.spent = [outcome.seconds for outcome in outcomes]
        return outcomes

    def evaluate(
        self, job: ClientJob, meta: Params, round: int, chunks: Chunks, trial: Trial, states: Mapping[int, Params]
    ) -> list[Scores]:
        """One trial of every chunk."""
        work = self._work(job)
        return [work.evaluate(meta, round, chunk, trial, states) for chunk in chunks]

    def _work(self, job: ClientJob) -> ClientExecutor:
        torch.set_num_threads(1)  # a second thread that has to wait for a busy core costs far more than it brings
        if job not in self._made:
            self._made[job] = self._make(job)
        work = self._made[job]
        work.device = self._device
        return work

    def _make(self, job: ClientJob) -> ClientExecutor:
        return job.work

    def close(self) -> None:
        """Nothing was started."""


def _guarded(outcome: Outcome, guard: Guard, meta: Params, round: int) -> Outcome:
    """What the devices of a chunk let go."""
    if outcome.report is None:
        return outcome
    return replace(outcome, report=protect(outcome.report, guard, meta, round, outcome.clients))


def _summed(outcome: Outcome, aggregation: AggregationSpec) -> Outcome:
    """``partial_sum``, with its seconds."""
    began = time.perf_counter()
    short = partial_sum(outcome, aggregation)
    return replace(short, seconds=outcome.seconds | {"aggregate": time.perf_counter() - began})


class Worker:
    """What a Ray actor does: ``LocalPool``, in its own process with its own data."""

    def __init__(self, device: str) -> None:
        self._local = LocalPool(device)

    def pid(self) -> int:
        """Process id; it tells that the actor is up."""
        return os.getpid()

    def train(
        self, job: ClientJob, meta: Any, round: int, chunks: Chunks, states: Any, aggregation: AggregationSpec
    ) -> list[Any]:
        """Some chunks' round; θ, states and outcomes are packed."""
        outcomes = self._local.train(job, unpack_arrays(meta), round, chunks, unpack_arrays(states), aggregation)
        return [pack_arrays(outcome) for outcome in outcomes]

    def evaluate(self, job: ClientJob, meta: Any, round: int, chunks: Chunks, trial: Trial, states: Any) -> list[Any]:
        """Some chunks' trial; θ, states and scores are packed."""
        scores = self._local.evaluate(job, unpack_arrays(meta), round, chunks, trial, unpack_arrays(states))
        return [pack_arrays(one) for one in scores]


class RayPool:
    """Chunks among Ray actors, each of which sees its own part of the population.

    Chunks come in order of partition id, and the first actor takes the first run of them, and so on, in one call each:
    round after round an actor meets clients of about the same range, and loads and keeps little but their data. A small
    θ travels in the call itself, a large one goes into the object store once per round. A run whose actor dies is sent
    out again, to a new actor.

    Args:
        workers: number of actors, ≥ 1.
        address: an existing cluster, "" to start one on this machine.
        device: where stacks are computed; actors share what GPUs this machine has.
    """

    def __init__(self, workers: int, address: str = "", device: str = "cpu") -> None:
        import ray

        self._ray, self._device = ray, device
        self._gpus = 0.0 if device == "cpu" else min(torch.cuda.device_count() / workers, 1.0)
        self._mine = start_ray(workers, address)
        self._remote = ray.remote(Worker)
        self._actors = [self._hire() for _ in range(workers)]
        self.spent: Sequence[Mapping[str, float]] = ()

    def train(
        self,
        job: ClientJob,
        meta: Params,
        round: int,
        chunks: Chunks,
        states: Mapping[int, Params],
        aggregation: AggregationSpec,
    ) -> list[Outcome]:
        """One round of every chunk."""
        theta = self._shared(meta)

        def send(actor: Any, run: Chunks) -> Any:
            return actor.train.remote(job, theta, round, run, _theirs(states, run), aggregation)

        runs = self._all(send, chunks)
        seconds = [[outcome.seconds for outcome in run] for run in runs]
        self.spent = max(seconds, key=lambda chunks: sum(sum(chunk.values()) for chunk in chunks))
        return [outcome for run in runs for outcome in run]

    def evaluate(
        self, job: ClientJob, meta: Params, round: int, chunks: Chunks, trial: Trial, states: Mapping[int, Params]
    ) -> list[Scores]:
        """One trial of every chunk."""
        theta = self._shared(meta)

        def send(actor: Any, run: Chunks) -> Any:
            return actor.evaluate.remote(job, theta, round, run, trial, _theirs(states, run))

        return [scores for run in self._all(send, chunks) for scores in run]

    def pids(self) -> list[int]:
        """Process ids of the actors, dead ones replaced."""
        return [self._awake(slot) for slot in range(len(self._actors))]

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []
        if self._mine:
            stop_ray()

    def _hire(self) -> Any:
        return self._remote.options(num_cpus=1, num_gpus=self._gpus).remote(self._device)

    def _shared(self, meta: Params) -> Any:
        """θ as an argument of every actor's call."""
        size = sum(p.nbytes for p in meta.values())
        return pack_arrays(meta) if size < DIRECT else self._ray.put(pack_arrays(meta))

    def _all(self, send: Callable[[Any, Chunks], Any], chunks: Chunks) -> list[list[Any]]:
        """Every actor's results of its run of chunks; what a dead actor took with it is sent again."""
        runs = [[] for _ in self._actors]  # type: list[list[list[int]]]
        for i, chunk in enumerate(chunks):  # contiguous runs, as equal as can be
            runs[i * len(self._actors) // len(chunks)].append(list(chunk))
        results: dict[int, Any] = {i: [] for i, run in enumerate(runs) if not run}
        for _ in range(LIVES):
            pending = [i for i in range(len(runs)) if i not in results]
            if not pending:
                break
            sent = {i: send(self._actors[i], runs[i]) for i in pending}
            for i, reference in sent.items():
                try:
                    results[i] = [unpack_arrays(result) for result in self._ray.get(reference)]
                except self._ray.exceptions.RayActorError:
                    self._awake(i)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None  # type: ignore[no-untyped-call]
        if len(results) < len(runs):
            raise EngineError(f"workers died {LIVES} times over the same clients; is there enough memory?")
        return [results[i] for i in range(len(runs))]

    def _awake(self, slot: int) -> int:
        """The process id of one actor, replaced if it is dead."""
        for _ in range(LIVES):
            try:
                pid: int = self._ray.get(self._actors[slot].pid.remote())
                return pid
            except self._ray.exceptions.RayActorError:
                self._actors[slot] = self._hire()
        raise EngineError(f"workers died {LIVES} times while starting; is there enough memory?")


def _theirs(states: Mapping[int, Params], run: Chunks) -> dict[int, Any]:
    """What the clients of a run of chunks kept, packed."""
    return {c: pack_arrays(states[c]) for chunk in run for c in chunk if c in states}
