"""Workers that are only asked where they bring something: a small round costs more in messages than they share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from metapulse.client.spec import Trial
from metapulse.outcome import Outcome, Scores
from metapulse.sim.engines.workers import Chunks, WorkerPool
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec
from metapulse.trees import Params

WORKERS, HERE = 0, 1
SHORT_S = 0.05  # a round that takes workers longer than this is theirs: messages are a few milliseconds
TRIED, AGAIN = 5, 500  # rounds in a row that are timed; rounds from one trial to the next


class SharingPool:
    """Rounds by workers or in this process, whichever is quicker; meta-tests by workers.

    A chunk of clients is the same computation wherever it runs, so the choice changes no number. It is made by the
    quickest of ``TRIED`` rounds each, per client, and tried again every ``AGAIN`` rounds.

    Args:
        workers: on this machine.
        here: the same in this process.
        clock: seconds.
    """

    def __init__(self, workers: WorkerPool, here: WorkerPool, clock: Callable[[], float] = time.perf_counter) -> None:
        self._pools, self._clock = (workers, here), clock
        self._seconds = deque[float](maxlen=TRIED), deque[float](maxlen=TRIED)  # a client, of the last rounds of each
        self._chosen = self._trial = self._last = WORKERS
        self.rounds = [0, 0]  # by workers, and here

    @property
    def spent(self) -> Sequence[Mapping[str, float]]:
        """Of the pool that did the last round."""
        return self._pools[self._last].spent

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
        clients = sum(map(len, chunks))
        self._last = self._which(clients)
        began = self._clock()
        outcomes = self._pools[self._last].train(job, meta, round, chunks, states, aggregation)
        self._seconds[self._last].append((self._clock() - began) / max(clients, 1))
        self.rounds[self._last] += 1
        return outcomes

    def _which(self, clients: int) -> int:
        done, (shared, alone) = sum(self.rounds), self._seconds
        if done < TRIED or min(shared) * clients > SHORT_S:
            return WORKERS
        turn = (done - TRIED) % AGAIN
        if turn == 0:
            self._trial = WORKERS if self._chosen == HERE else HERE
        if turn < TRIED:
            return self._trial
        if turn == TRIED:
            self._chosen = HERE if alone and min(alone) < min(shared) else WORKERS
        return self._chosen

    def evaluate(
        self, job: ClientJob, meta: Params, round: int, chunks: Chunks, trial: Trial, states: Mapping[int, Params]
    ) -> list[Scores]:
        """One trial of every chunk."""
        return self._pools[WORKERS].evaluate(job, meta, round, chunks, trial, states)

    def told(self) -> str:
        """What is to be said of it after a run; "" where workers did all rounds but those that were timed."""
        if self.rounds[HERE] <= TRIED:
            return ""
        return (
            f"{self.rounds[HERE]} of {sum(self.rounds)} rounds were computed in this process: for such small rounds "
            "workers cost more time than they bring"
        )

    def close(self) -> None:
        """End both."""
        for pool in self._pools:
            pool.close()
