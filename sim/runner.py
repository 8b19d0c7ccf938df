"""Runs a suite or a comparison: side by side on Ray, one core each, or one after another in this process.

Finished ones are not done again, interrupted ones go on from their last checkpoint, and one that fails does not stop
the rest. A process holds a run's folder for as long as it lives, and another that comes later waits or is refused: a
new comparison and the last workers of a killed one do nothing at once and nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metapulse.errors import MetapulseError, NoResultError, RunError
from metapulse.server.config import build_config, resolved
from metapulse.server.fingerprint import known_inputs
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone
from metapulse.server.progress import Progress, SilentProgress
from metapulse.server.result import failure
from metapulse.sim.cells import Cell, CellResult
from metapulse.sim.crash import failed, one_line
from metapulse.sim.engines.cluster import start_ray, stop_ray
from metapulse.sim.experiment import run_experiment
from metapulse.sim.progress import Display, MakeDisplay
from metapulse.sim.tracking import chosen, tracked

POLL_S = 1.0  # how often the progress of runs in other processes is looked at
RETRIES = 2  # times that a run whose process died (of memory, mostly) is taken up again
STALE = "its data or code changed while the comparison ran; run the command again"


def run_cells(
    cells: Sequence[Cell],
    display: MakeDisplay | None = None,
    workers: int = 0,
    track: Sequence[str] = (),
    wait: bool = False,
    started: ExitStack | None = None,
) -> Iterator[CellResult]:
    """Finish runs; how each of them ended, the finished ones included.

    Args:
        cells: what to do, each folder once.
        display: makes what is told how it goes; None: nothing is shown.
        workers: processes, each for one run at a time; 0 and 1: this one.
        track: names of trackers, as in ``metapulse.sim.tracking``.
        wait: for a process that works on a run already, instead of failing.
        started: ends what is started here, so that one batch after another has the same processes; None: ended here.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """
    kinds = chosen(track)
    todo = [cell for cell in cells if not cell.finished]
    paths = {cell.path for cell in todo}
    shown = display(todo, len(cells) - len(todo), max(1, workers)) if display and todo else Display()
    with ExitStack() as here:
        here.callback(shown.close)
        if workers > 1 and len(todo) > 1:
            yield from (run_cell(cell) for cell in cells if cell.path not in paths)
            yield from _on_ray(todo, workers, shown, track, started or here)
            return
        for cell in cells:
            if cell.path not in paths:
                yield run_cell(cell)
                continue
            shown.begin(cell)
            result = run_cell(cell, CellProgress(cell, shown), kinds, cells, wait)
            shown.end(cell, result.error)
            yield result


def run_cell(
    cell: Cell,
    progress: Progress | None = None,
    kinds: Sequence[Any] = (),
    beside: Sequence[Cell] = (),
    wait: bool = False,
) -> CellResult:
    """One run, from the start or from where it stands; a finished one is only read.

    Args:
        beside: runs of the same suite: where some are finished, none is done over other data or code than theirs, as
            one table would show both. (In a comparison the data is part of a run's address.)
        wait: for a process that works on it already, instead of failing.
    """
    try:
        summary = _summary(cell)
        if summary is None:
            with alone(cell.path, wait):
                summary = _summary(cell)  # written by another process in the meantime
                if summary is None:
                    _check_inputs(cell, beside)
                    with tracked(progress or SilentProgress(), cell.path, kinds) as told:
                        for line in cell.notes:
                            told.note(line)
                        summary = run_experiment(
                            cell.config, cell.path, told, resume=(cell.path / "config.json").exists()
                        )
        why = failure(summary)
        return CellResult(cell, summary, why, 1 if why else 0, bool(why))
    except NoResultError as error:
        return CellResult(cell, None, one_line(error), 1, True)
    except (MetapulseError, OSError) as error:
        return CellResult(cell, None, one_line(error), 2)
    except Exception as error:
        return CellResult(cell, None, failed(error, cell.path), 1)


def _summary(cell: Cell) -> dict[str, Any] | None:
    return RunFolder(cell.path).summary() if cell.finished else None


def _check_inputs(cell: Cell, beside: Sequence[Cell]) -> None:
    """A run is done over the data and code that its address or its neighbours' numbers rest on."""
    if cell.inputs is not None:
        if known_inputs(cell.config) != cell.inputs:
            raise RunError(STALE)
        return
    for other in beside:
        if other.finished and (other.path / "config.json").exists():
            known_inputs(other.config, other.path)


class CellProgress(SilentProgress):
    """Progress of a run in this process, passed on to the display of its batch."""

    def __init__(self, cell: Cell, display: Display) -> None:
        self._cell, self._display = cell, display

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Pass it on."""
        self._display.round(self._cell, round, clients, spent)

    def score(self, round: int, value: float | None) -> None:
        """Pass it on."""
        self._display.score(self._cell, round, value)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._display.note(self._cell, text)


def _on_ray(
    cells: Sequence[Cell], workers: int, shown: Display, track: Sequence[str], started: ExitStack
) -> Iterator[CellResult]:
    """No more runs are handed out than can be at work, so that what runs is known; what travels is plain."""
    import ray

    if start_ray(workers):
        started.callback(stop_ray)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_run_remote)
    waiting, running = deque(cells), dict[Any, Cell]()
    while waiting or running:
        while waiting and len(running) < workers:
            cell = waiting.popleft()
            plain = {"inputs": cell.inputs, "notes": cell.notes, "method": cell.method}
            running[task.remote(resolved(cell.config), str(cell.path.resolve()), plain, track)] = cell
            shown.begin(cell)
        ready, _ = ray.wait(list(running), timeout=POLL_S)
        for reference in ready:
            result, notes = _result(ray, reference, running.pop(reference))
            for line in notes:
                shown.note(result.cell, line)
            shown.end(result.cell, result.error)
            yield result
        for cell in running.values():
            shown.round(cell, _rounds(cell.path))


def _result(ray: Any, reference: Any, cell: Cell) -> tuple[CellResult, list[str]]:
    try:
        result, notes = ray.get(reference)
        return CellResult(cell, *result), notes
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        return CellResult(cell, None, f"its process died {RETRIES + 1} times; is there enough memory?", 2), []


class _Notes(SilentProgress):
    """Keeps what people have to know, for the process that has the display."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


def _run_remote(
    config: Mapping[str, Any], path: str, plain: Mapping[str, Any], track: Sequence[str]
) -> tuple[tuple[dict[str, Any] | None, str, int, bool], list[str]]:
    """What a Ray worker does: one run; how it ended, as ``CellResult`` has it, and its notes."""
    cell, notes = Cell(config=build_config(config), path=Path(path), **plain), _Notes()
    result = run_cell(cell, notes, chosen(track), wait=True)
    return (result.summary, result.error, result.code, result.fruitless), notes.lines


def _rounds(path: Path) -> int:
    """Rounds that a run in another process has done by now."""
    if not (path / "events.jsonl").exists():
        return 0
    return max((event["round"] for event in RunFolder(path).events() if event["kind"] == "round"), default=0)
