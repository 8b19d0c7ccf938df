"""Progress of a batch of runs: how many are done and failed, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

from metapulse.sim.cells import Cell


class Estimate:
    """How long the rest will take, from how long finished runs took.

    A run is expected to take what its like took: the same method on the same data, else the same data, else any.

    Args:
        todo: what is to be run.
        workers: how many at once, ≥ 1.
    """

    def __init__(self, todo: Sequence[Cell], workers: int) -> None:
        self._left = {cell.path: cell for cell in todo}
        self._workers = workers
        self._took: dict[tuple[str, ...], list[float]] = {}
        self._shares: dict[object, float] = {}

    def move(self, cell: Cell, share: float) -> None:
        """A run at work has done a share of its rounds, in [0, 1]."""
        self._shares[cell.path] = share

    def end(self, cell: Cell, seconds: float | None) -> None:
        """A run is over and took so long; None for one that tells nothing, because it failed or had begun before."""
        del self._left[cell.path]
        self._shares.pop(cell.path, None)
        if seconds is not None:
            for like in _likes(cell):
                self._took.setdefault(like, []).append(seconds)

    def seconds(self) -> float | None:
        """Seconds to go; None while nothing is known."""
        if not self._took:
            return None
        expected = [self._expected(cell) * (1.0 - self._shares.get(path, 0.0)) for path, cell in self._left.items()]
        return sum(expected) / min(self._workers, max(1, len(expected)))

    def _expected(self, cell: Cell) -> float:
        return fmean(next(self._took[like] for like in _likes(cell) if like in self._took))


def _likes(cell: Cell) -> list[tuple[str, ...]]:
    return [(cell.dataset, cell.method), (cell.dataset,), ()]


class BatchTally:
    """How many runs of a batch are done and failed.

    Of the time in which more runs are at work than there are workers, as runs are that are done as one, each is taken
    to need its share.

    Args:
        title: name of the batch, "" for none.
        todo: what is to be run.
        done: how many were finished before.
        workers: how many run at once, ≥ 1.
    """

    def __init__(self, title: str, todo: Sequence[Cell], done: int, workers: int) -> None:
        self._title = f"{title}: " if title else ""
        self.total, self.done, self.failed = len(todo) + done, done, 0
        self._estimate = Estimate(todo, workers)
        self._workers, self._now = workers, time.monotonic()
        self._began: dict[object, float] = {}
        self._needed: dict[object, float] = {}  # seconds of a worker's time, up to now

    def begin(self, cell: Cell) -> None:
        """A run begins."""
        self._share_time()
        self._began[cell.path], self._needed[cell.path] = self._now, 0.0

    def move(self, cell: Cell, round: int) -> None:
        """So many of its rounds are done."""
        self._estimate.move(cell, round / max(1, cell.config.run.rounds))

    def end(self, cell: Cell, error: str) -> float:
        """It is over; the seconds that it took."""
        self._share_time()
        seconds, needed = self._now - self._began.pop(cell.path), self._needed.pop(cell.path)
        self.done += not error
        self.failed += bool(error)
        self._estimate.end(cell, None if error else needed)
        return seconds

    def _share_time(self) -> None:
        now = time.monotonic()
        share = min(1.0, self._workers / max(1, len(self._needed)))
        self._needed = {path: needed + share * (now - self._now) for path, needed in self._needed.items()}
        self._now = now

    def __str__(self) -> str:
        left = self._estimate.seconds() if self.done + self.failed < self.total else None
        failed = f", {self.failed} failed" if self.failed else ""
        time_left = "" if left is None else f", {duration(left)} left"
        return f"{self._title}{self.done} of {self.total} done{failed}{time_left}"


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3 min, 2 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
