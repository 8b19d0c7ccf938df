"""How a comparison goes, on a terminal and off it: what runs, how many are done, what failed, how long it will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from io import StringIO
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from metapulse.sim.lab.cells import Cell
from metapulse.sim.lab.perform import View
from metapulse.sim.progress import Stream


class Estimate:
    """How long the rest will take, from how long finished cells took.

    A cell is expected to take what its like took: the same method on the same data, else the same data, else any.

    Args:
        todo: cells that are to be run.
        workers: how many at once, ≥ 1.
    """

    def __init__(self, todo: Sequence[Cell], workers: int) -> None:
        self._left = {cell.key: cell for cell in todo}
        self._workers = workers
        self._took: dict[tuple[str, ...], list[float]] = {}
        self._shares: dict[str, float] = {}

    def move(self, cell: Cell, share: float) -> None:
        """A running cell has done a share of its rounds, in [0, 1]."""
        self._shares[cell.key] = share

    def end(self, cell: Cell, seconds: float | None) -> None:
        """A cell is over and took so long; None for one that tells nothing, because it failed or had begun before."""
        del self._left[cell.key]
        self._shares.pop(cell.key, None)
        if seconds is not None:
            for like in _likes(cell):
                self._took.setdefault(like, []).append(seconds)

    def seconds(self) -> float | None:
        """Seconds to go; None while nothing is known."""
        if not self._took:
            return None
        expected = [self._expected(cell) * (1.0 - self._shares.get(key, 0.0)) for key, cell in self._left.items()]
        return sum(expected) / min(self._workers, max(1, len(expected)))

    def _expected(self, cell: Cell) -> float:
        return fmean(next(self._took[like] for like in _likes(cell) if like in self._took))


def _likes(cell: Cell) -> list[tuple[str, ...]]:
    return [(cell.dataset, cell.method), (cell.dataset,), ()]


class Board:
    """What there is to say about a comparison's cells.

    Args:
        batch: its name, "" for the comparison's own.
        todo: cells that are to be run, each address once.
        done: how many were finished before.
        workers: how many run at once, ≥ 1.
    """

    def __init__(self, batch: str, todo: Sequence[Cell], done: int, workers: int) -> None:
        self._title = f"{batch}: " if batch else ""
        self.total, self.done, self.failed = len(todo) + done, done, 0
        self._estimate = Estimate(todo, workers)
        self._began: dict[str, float] = {}

    def begin(self, cell: Cell) -> None:
        """A cell is being run."""
        self._began[cell.key] = time.monotonic()

    def move(self, cell: Cell, round: int) -> None:
        """So many of its rounds are done."""
        self._estimate.move(cell, round / max(1, cell.config.run.rounds))

    def end(self, cell: Cell, error: str) -> float:
        """It is over; the seconds that it took."""
        seconds = time.monotonic() - self._began.pop(cell.key)
        self.done += not error
        self.failed += bool(error)
        self._estimate.end(cell, None if error else seconds)
        return seconds

    def __str__(self) -> str:
        left = self._estimate.seconds() if self.done + self.failed < self.total else None
        failed = f", {self.failed} failed" if self.failed else ""
        time_left = "" if left is None else f", {duration(left)} left"
        return f"{self._title}{self.done} of {self.total} done{failed}{time_left}"


class Bars:
    """A bar for all cells and one for each that runs, on a terminal.

    Args:
        board: counts.
        console: where they are drawn.
    """

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(min_width=6, max_width=30, ratio=1)),
            MofNCompleteColumn(),
            console=console,
            expand=True,
        )
        self._all = self._bars.add_task(str(board), total=board.total, completed=board.done)
        self._running: dict[str, TaskID] = {}
        self._bars.start()

    def begin(self, cell: Cell) -> None:
        """A bar of its own."""
        self._board.begin(cell)
        self._running[cell.key] = self._bars.add_task(cell.name, total=cell.config.run.rounds)

    def move(self, cell: Cell, round: int) -> None:
        """Move its bar."""
        self._board.move(cell, round)
        self._bars.update(self._running[cell.key], completed=round)
        self._tell()

    def end(self, cell: Cell, error: str) -> None:
        """Take its bar away; an error stays above."""
        self._board.end(cell, error)
        self._bars.remove_task(self._running.pop(cell.key))
        if error:
            self._bars.console.print(f"{cell.name}: {error}", markup=False, highlight=False)
        self._tell()

    def close(self) -> None:
        """Leave the bars as they are."""
        self._bars.stop()

    def _tell(self) -> None:
        done = self._board.done + self._board.failed
        self._bars.update(self._all, description=str(self._board), completed=done)


class Lines:
    """A line for every cell that ends, for logs.

    Args:
        board: counts.
        stream: where lines go.
    """

    def __init__(self, board: Board, stream: Stream) -> None:
        self._board, self._stream = board, stream

    def begin(self, cell: Cell) -> None:
        """Its clock starts."""
        self._board.begin(cell)

    def move(self, cell: Cell, round: int) -> None:
        """Good for the estimate."""
        self._board.move(cell, round)

    def end(self, cell: Cell, error: str) -> None:
        """Say how it went, and how many there are still to do."""
        took = duration(self._board.end(cell, error))
        print(f"{cell.name}: {error or took}; {self._board}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to end."""


def live(batch: str, todo: Sequence[Cell], done: int, workers: int, console: Console) -> View:
    """Bars where there is a terminal, lines where there is none, nothing on a quiet console.

    Args:
        batch: its name, "" for the comparison's own.
        todo: cells that are to be run, each address once.
        done: how many were finished before.
        workers: how many run at once, ≥ 1.
        console: of standard error.
    """
    board = Board(batch, todo, done, workers)
    if console.quiet:
        return Lines(board, StringIO())
    return Bars(board, console) if console.is_terminal else Lines(board, console.file)


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3 min, 2 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
