"""How runs go, on a terminal and off it: rounds/s, clients/s, where the time goes, what is done, what is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from metapulse.server.progress import STAGES, add_up
from metapulse.sim.cells import Cell
from metapulse.sim.estimate import BatchTally, duration

WINDOW = 20  # rounds that the shown speed is taken over
LINES = 10  # lines of a run where there is no terminal
ROOM = 100  # columns of a terminal that has room for stages and clients per second


class Speed:
    """Rounds and clients per second over the last rounds, meta-tests not counted; and the last meta-test."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, Mapping[str, float]]] = deque(maxlen=WINDOW)
        self.score = ""

    def add(self, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over."""
        self._last.append((clients, spent))

    def __str__(self) -> str:
        seconds = sum(self._stages().values())
        if seconds <= 0:
            return ""
        return f"{len(self._last) / seconds:.1f} rounds/s, {sum(c for c, _ in self._last) / seconds:.0f} clients/s"

    def largest(self) -> str:
        """The two stages that take most of the time, with their shares."""
        stages = self._stages()
        first = sorted(stages, key=lambda name: stages[name], reverse=True)[:2]
        return ", ".join(f"{STAGES[name]} {stages[name] / sum(stages.values()):.0%}" for name in first if stages[name])

    def words(self, room: bool = True) -> str:
        """All of it in a line; without much room the rounds per second and the last meta-test."""
        told = [str(self), self.largest()] if room else [str(self).partition(",")[0]]
        return ", ".join(filter(None, [*told, self.score]))

    def _stages(self) -> dict[str, float]:
        return add_up(spent for _, spent in self._last)


class Display:
    """Receives the progress of a batch of runs; this one shows nothing."""

    def begin(self, cell: Cell) -> None:
        """A run begins, or goes on."""

    def round(self, cell: Cell, round: int, clients: int = 0, spent: Mapping[str, float] | None = None) -> None:
        """So many rounds are done; clients and seconds by stage of the last one are known of runs in this process."""

    def score(self, cell: Cell, round: int, value: float | None) -> None:
        """A meta-test of θ of that round is over; its headline."""

    def note(self, cell: Cell, text: str) -> None:
        """Something that people have to know of: data left out, clients refused."""

    def end(self, cell: Cell, error: str) -> None:
        """It is over; ``error`` is "" if it is finished."""

    def close(self) -> None:
        """All are over, or given up."""


#: Makes the display of a batch: what is to be run, how many are finished, how many run at once.
MakeDisplay: TypeAlias = Callable[[Sequence[Cell], int, int], Display]


class TextDisplay(Display):
    """Base of progress bars and progress lines.

    Args:
        tally: counts of the batch.
        console: where it is shown.
        rounds: tell how each run goes, as where there are few; errors are then the caller's to tell.
    """

    def __init__(self, tally: BatchTally, console: Console, rounds: bool) -> None:
        self.tally, self.console, self.rounds = tally, console, rounds
        self.speeds: dict[Path, Speed] = {}
        self._noted: set[tuple[str, str, str]] = set()

    def begin(self, cell: Cell) -> None:
        """Its clock starts."""
        self.tally.begin(cell)
        self.speeds[cell.path] = Speed()

    def round(self, cell: Cell, round: int, clients: int = 0, spent: Mapping[str, float] | None = None) -> None:
        """Good for speed and estimate."""
        self.tally.move(cell, round)
        if spent is not None:
            self.speeds[cell.path].add(clients, spent)

    def score(self, cell: Cell, round: int, value: float | None) -> None:
        """Shown from now on."""
        self.speeds[cell.path].score = "" if value is None else f"meta-test {value:.4g} (round {round})"

    def note(self, cell: Cell, text: str) -> None:
        """A line of its own, the first time that it is said: of a data set, or of a method where its table is meant."""
        about = (cell.dataset, cell.method if text in cell.notes else "", text)
        if about not in self._noted:
            self._noted.add(about)
            self.line(f"{cell.name}: {text}")

    def line(self, text: str) -> None:
        """Plain text, however wide the console is."""
        self.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


class ProgressBars(TextDisplay):
    """A bar for each run at work and, where there are several, one for all; for a terminal."""

    def __init__(self, tally: BatchTally, console: Console, rounds: bool) -> None:
        super().__init__(tally, console, rounds)
        self.bars = RichProgress(
            TextColumn("{task.description:<11}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(min_width=6, max_width=30, ratio=1)),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
            _TimeLeft(compact=True),
            console=console,
            expand=True,
        )
        self._batch = None
        if tally.total > 1:
            self._batch = self.bars.add_task(str(tally), total=tally.total, completed=tally.done, note="", batch=True)
        self._tasks: dict[Path, TaskID] = {}
        self._moved: set[Path] = set()
        self.bars.start()

    def begin(self, cell: Cell) -> None:
        """A bar of its own, the same one where it begins again: runs that were done as one until their process died."""
        super().begin(cell)
        if cell.path not in self._tasks:
            self._add(cell)

    def _add(self, cell: Cell) -> None:
        self._tasks[cell.path] = self.bars.add_task(cell.name, total=cell.config.run.rounds, note="", batch=False)

    def round(self, cell: Cell, round: int, clients: int = 0, spent: Mapping[str, float] | None = None) -> None:
        """Move its bar; a resumed run's begins where it stood."""
        super().round(cell, round, clients, spent)
        task = self._tasks[cell.path]
        if round and cell.path not in self._moved:
            self._moved.add(cell.path)
            self.bars.reset(task, completed=round - 1)
        self.bars.update(task, completed=round, note=self._note(cell))
        self._count()

    def score(self, cell: Cell, round: int, value: float | None) -> None:
        """Beside its bar."""
        super().score(cell, round, value)
        self.bars.update(self._tasks[cell.path], note=self._note(cell))

    def end(self, cell: Cell, error: str) -> None:
        """Among several its bar goes, and what there is to say of it stays above."""
        took = duration(self.tally.end(cell, error))
        if self._batch is not None:
            self.bars.remove_task(self._tasks.pop(cell.path))
        if error and not self.rounds:
            self.line(f"{cell.name}: {error}")
        elif self.rounds and not error and self._batch is not None:
            self.line(", ".join(filter(None, [f"{cell.name}: {took}", self._note(cell)])))
        self._count()

    def close(self) -> None:
        """Leave the bars as they are."""
        self.bars.stop()

    def _note(self, cell: Cell) -> str:
        return self.speeds[cell.path].words(room=self.console.width >= ROOM)

    def _count(self) -> None:
        if self._batch is not None:
            done = self.tally.done + self.tally.failed
            self.bars.update(self._batch, description=str(self.tally), completed=done)


class _TimeLeft(TimeRemainingColumn):
    """Of a run; that of the batch stands in words before its bar."""

    def render(self, task: Task) -> Text:
        """Nothing for the bar of the batch."""
        return Text() if task.fields["batch"] else super().render(task)


class ProgressLines(TextDisplay):
    """Plain lines, for logs: about every tenth of a run's rounds, or one for each run that ends."""

    def round(self, cell: Cell, round: int, clients: int = 0, spent: Mapping[str, float] | None = None) -> None:
        """Say so, if it is the last or a tenth of all has gone by."""
        super().round(cell, round, clients, spent)
        rounds = cell.config.run.rounds
        if self.rounds and (round == rounds or round % max(1, -(-rounds // LINES)) == 0):
            speed = self.speeds[cell.path].words()
            self.line(", ".join(filter(None, [f"{cell.name}: round {round}/{rounds}", speed])))

    def end(self, cell: Cell, error: str) -> None:
        """Say how it went, and how many there are still to do."""
        took = duration(self.tally.end(cell, error))
        if not self.rounds:
            self.line(f"{cell.name}: {error or took}; {self.tally}")


def display(
    title: str, todo: Sequence[Cell], done: int, workers: int, console: Console, rounds: bool = False
) -> Display:
    """Bars where there is a terminal, lines where there is none, nothing on a quiet console.

    Args:
        todo: what is to be run, each folder once.
        done: how many were finished before.
        workers: how many run at once, ≥ 1.
        console: of standard error.
        rounds: tell how each run goes, as where there are few; errors are then the caller's to tell.
    """
    if console.quiet:
        return Display()
    return (ProgressBars if console.is_terminal else ProgressLines)(
        BatchTally(title, todo, done, workers), console, rounds
    )
