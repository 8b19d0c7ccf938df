"""How a run goes, on a terminal and off it: rounds/s, clients/s, where the time goes, the last meta-test."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

from metapulse.server.progress import Progress, Silence
from metapulse.server.stages import STAGES, add_up

WINDOW = 20  # rounds that the shown speed is taken over
LINES = 10  # lines of a run where there is no terminal
ROOM = 100  # columns of a terminal that has room for stages


class Speed:
    """Rounds and clients per second over the last rounds, meta-tests not counted."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, Mapping[str, float]]] = deque(maxlen=WINDOW)

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

    def _stages(self) -> dict[str, float]:
        return add_up(spent for _, spent in self._last)


@runtime_checkable
class Stream(Protocol):
    """Where lines can go."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Pass it on."""


class Watch(Progress, Protocol):
    """Progress of one run, which also ends."""

    def close(self) -> None:
        """The run is over, or given up."""


class Bar:
    """A progress bar for a terminal.

    Args:
        name: of the run, shown in front.
        console: where it is drawn.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._speed, self._score, self._started = name, Speed(), "", False
        self._wide = console.width >= ROOM
        self._progress = Bars(
            TextColumn("{task.description:<11}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(min_width=6, max_width=30, ratio=1)),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        )
        self._task: TaskID = self._progress.add_task(name, total=None, note="")
        self._progress.start()

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Move the bar; a resumed run's begins where it stood."""
        self._speed.add(clients, spent)
        if not self._started:
            self._started = True
            self._progress.reset(self._task, total=rounds, completed=round - 1)
        self._progress.update(self._task, completed=round, note=self._note())

    def score(self, round: int, value: float | None) -> None:
        """Show it from now on."""
        self._score = _score(value)
        self._progress.update(self._task, note=self._note())

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(f"{self._name}: {text}", markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()

    def _note(self) -> str:
        stages = self._speed.largest() if self._wide else ""
        return ", ".join(part for part in (str(self._speed), stages, self._score) if part)


class Lines:
    """A plain line about every tenth of the rounds, for logs.

    Args:
        name: of the run, in front of every line.
        stream: where lines go; None: standard error.
    """

    def __init__(self, name: str, stream: Stream | None = None) -> None:
        self._name, self._stream, self._speed, self._score = name, stream or sys.stderr, Speed(), ""

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Say so, if it is the last or a tenth of all has gone by."""
        self._speed.add(clients, spent)
        if round == rounds or round % max(1, -(-rounds // LINES)) == 0:
            parts = [f"{self._name}: round {round}/{rounds}", str(self._speed), self._speed.largest(), self._score]
            print(", ".join(part for part in parts if part), file=self._stream, flush=True)

    def score(self, round: int, value: float | None) -> None:
        """Remember it for the next line."""
        self._score = _score(value)

    def note(self, text: str) -> None:
        """A line of its own."""
        print(f"{self._name}: {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to end."""


class Quiet(Silence):
    """Nothing at all."""

    def close(self) -> None:
        """Nothing to end."""


def watch(name: str, console: Console) -> Watch:
    """A bar where there is a terminal, lines where there is none, nothing on a quiet console."""
    if console.quiet:
        return Quiet()
    return Bar(name, console) if console.is_terminal else Lines(name, console.file)


def _score(value: float | None) -> str:
    return "" if value is None else f"meta-test {value:.4g}"
