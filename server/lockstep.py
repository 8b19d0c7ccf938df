"""Runs that differ in their seed alone, round by round together: one stack of clients, one outer step for all.

Every run keeps what it has alone: its folder, its addresses, its checkpoints, its meta-tests. A run in whose round
something is unsound takes that round by itself, which says whose fault it is, and stays by itself if it then has taken
fewer steps than the others. One that fails does not touch the rest; where a stack of several fails, it is not known
whose clients it failed on, and each of its runs goes on by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from metapulse.client.executor import ClientExecutor
from metapulse.client.runs import RunsOutcome, train_runs
from metapulse.client.wire import decode, encode
from metapulse.rng import Keys
from metapulse.server.remarks import noting
from metapulse.server.run import Run
from metapulse.strategies.base import OuterStrategy
from metapulse.strategies.replies import Dropped
from metapulse.strategies.runs import OuterRows, OuterRuns, joined, run_means
from metapulse.trees import Params

#: What a run has come to: its summary, or what it failed with.
Ended: TypeAlias = dict[str, Any] | Exception


class Lockstep:
    """Several runs that stand after the same round and have taken equally many outer steps.

    Args:
        runs: opened (``Run.opened``); alike but for their seeds.
        done: rounds that are done.
        thetas: θ of each.
        work: what their clients do; of any of them.
        most: clients in a stack.
    """

    def __init__(
        self, runs: Sequence[Run], done: int, thetas: Sequence[Params], work: ClientExecutor, most: int
    ) -> None:
        self._done, self._work, self._most = done, work, most
        self._outer = OuterRuns([_strategy(run) for run in runs], thetas)
        self._live = list(runs)  # in the order of the outer update's rows
        self._all, self._ended = list(runs), dict[int, Ended]()

    def finish(self) -> list[Ended]:
        """All rounds that are left; what each run has come to, in order."""
        rounds = self._live[0].config.run.rounds
        for round in range(self._done + 1, rounds + 1):
            if self._live:
                self._round_or_apart(round)
            if self._live and self._live[0].pauses(round):
                self._each(lambda run, row, now=round: run.pause(now, self._at(row)))
        self._each(lambda run, row: self._end(run, run.finish(self._at(row))))
        return [self._ended[id(run)] for run in self._all]

    def _round_or_apart(self, round: int) -> None:
        """One round of all; every run by itself from here on where that fails."""
        try:
            self._round(round)
        except Exception as error:  # of the learner, the model or memory: no run has taken the round
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            note = f"round {round} could not be done together with other seeds, and is done apart: {why}"
            self._each(lambda run, row: noting(run.folder, run.progress)(note))
            self._each(lambda run, row: self._end(run, run.go_on(round - 1, self._at(row))))

    def _round(self, round: int) -> None:
        """One round of all: draw, train, one outer step; then what is unsound, run by run."""
        began = time.perf_counter()
        cohorts = [run.sampler.cohort(round, run.cohort) for run in self._live]
        drawn = time.perf_counter()
        stacks = self._stacks(len(cohorts[0]))
        parts = [self._train(round, cohorts[rows], rows) for rows in stacks]
        answered = time.perf_counter()
        means = [
            run_means(part, self._outer.settings, {name: p[rows] for name, p in self._outer.theta.items()})
            for part, rows in zip(parts, stacks, strict=True)
        ]
        before = self._outer.rows()
        finite, moved = self._outer.step(joined([mean.update for mean in means]), round)
        sound = (torch.cat([mean.sound for mean in means]) & finite).tolist()
        ended, runs = time.perf_counter(), len(self._live)
        spent = {"sampling": drawn - began, "inner": answered - drawn, "aggregate": ended - answered}
        spent = {stage: seconds / runs for stage, seconds in spent.items()}
        told = [metrics for mean in means for metrics in mean.metrics]
        outcomes = [(part, own) for part in parts for own in range(len(part.clients))]

        def one(run: Run, row: int) -> None:
            if not sound[row]:
                self._alone(run, row, round, before)
                return
            part, own = outcomes[row]
            run.grid.keep_states(*part.kept(own))
            if part.failures[own]:
                run.drop(round, [Dropped(client, why) for client, why in sorted(part.failures[own].items())])
            run.told(round, len(cohorts[row]), told[row], (True, bool(moved[row])), sum(spent.values()), spent)

        self._each(one)

    def _train(self, round: int, cohorts: Sequence[Sequence[int]], rows: slice) -> RunsOutcome:
        runs = self._live[rows]
        keys = [Keys(run.config.run.seed, round, cohort) for run, cohort in zip(runs, cohorts, strict=True)]
        states = [run.grid.states_of(cohort) for run, cohort in zip(runs, cohorts, strict=True)]
        return train_runs(self._work, {name: p[rows] for name, p in self._outer.theta.items()}, keys, states)

    def _stacks(self, cohort: int) -> list[slice]:
        """Runs whose clients are in one stack."""
        runs = max(1, self._most // max(cohort, 1))
        return [slice(first, first + runs) for first in range(0, len(self._live), runs)]

    def _alone(self, run: Run, row: int, round: int, before: OuterRows) -> None:
        """A round that a run takes by itself, from where it stood; the rest too, where it falls behind."""
        theta, strategy = before.theta(row), _strategy(run)
        strategy.state = before.state(row)
        theta = decode(run.round(round, encode(theta)))
        if self._outer.put(row, theta, strategy.state):
            return
        if run.pauses(round):
            run.pause(round, theta)
        self._end(run, run.go_on(round, theta))

    def _at(self, row: int) -> Params:
        """θ of a run, whose strategy has the state that goes with it."""
        now = self._outer.rows()
        _strategy(self._live[row]).state = now.state(row)
        return now.theta(row)

    def _end(self, run: Run, how: Ended) -> None:
        self._ended[id(run)] = how

    def _each(self, what: Callable[[Run, int], None]) -> None:
        """Something for every run; one that fails or ends is no longer among them."""
        for row, run in enumerate(self._live):
            try:
                what(run, row)
            except Exception as error:
                self._end(run, error)
        left = [row for row, run in enumerate(self._live) if id(run) not in self._ended]
        if len(left) < len(self._live):
            self._live = [self._live[row] for row in left]
            self._outer.keep(left)


def _strategy(run: Run) -> OuterStrategy:
    if not isinstance(run.strategy, OuterStrategy):
        raise TypeError(f"{type(run.strategy).__name__} has no outer step that several runs could take together")
    return run.strategy
