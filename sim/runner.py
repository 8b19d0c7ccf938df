"""Runs a suite or a comparison: side by side on Ray, one core each, or one after another in this process.

Finished ones are not done again, interrupted ones go on from their last checkpoint, and one that fails does not stop
the rest. A process holds a run's folder for as long as it lives, and another that comes later waits or is refused: a
new comparison and the last workers of a killed one do nothing at once and nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from metapulse.sim.lockstep import batches, run_together
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
        workers: processes, each for one run at a time, or for several that differ in their seed alone; 0 and 1: this
            one.
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
        for batch in _batches(todo):
            for cell in batch:
                shown.begin(cell)
            told = [CellProgress(cell, shown) for cell in batch]
            for result in run_batch(batch, told, kinds, cells, wait):
                shown.end(result.cell, result.error)
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
    return run_batch([cell], [progress or SilentProgress()], kinds, beside, wait)[0]


def run_batch(
    cells: Sequence[Cell],
    progress: Sequence[Progress],
    kinds: Sequence[Any] = (),
    beside: Sequence[Cell] = (),
    wait: bool = False,
) -> list[CellResult]:
    """The same for several runs that differ in their seed alone, which are then done as one (``sim.lockstep``)."""
    results: dict[Path, CellResult] = {}
    with ExitStack() as held:
        todo: list[tuple[Cell, Progress]] = []
        for cell, shown in sorted(zip(cells, progress, strict=True), key=lambda one: one[0].path):  # for all processes
            with _reported(cell, results):
                if (summary := _summary(cell)) is None:
                    held.enter_context(alone(cell.path, wait))
                    summary = _summary(cell)  # written by another process in the meantime
                if summary is not None:
                    results[cell.path] = _result_of(cell, summary)
                    continue
                _check_inputs(cell, beside)
                trackers = ExitStack()
                told = trackers.enter_context(tracked(shown, cell.path, kinds))
                held.callback(_close, trackers, cell, results)
                for line in cell.notes:
                    told.note(line)
                todo.append((cell, told))
        todo.sort(key=lambda one: cells.index(one[0]))
        for (cell, _), ended in zip(todo, _ended(todo), strict=True):
            with _reported(cell, results):
                if isinstance(ended, Exception):
                    raise ended
                results[cell.path] = _result_of(cell, ended)
    return [results[cell.path] for cell in cells]


def _ended(todo: Sequence[tuple[Cell, Progress]]) -> list[dict[str, Any] | Exception]:
    """What each run has come to: one by the engine it asks for, several as one."""
    resume = [(cell.path / "config.json").exists() for cell, _ in todo]
    if len(todo) > 1:
        configs, paths, shown = [c.config for c, _ in todo], [c.path for c, _ in todo], [told for _, told in todo]
        return run_together(configs, paths, shown, resume)
    try:
        return [
            run_experiment(c.config, c.path, told, resume=again) for (c, told), again in zip(todo, resume, strict=True)
        ]
    except Exception as error:
        return [error]


def _batches(cells: Sequence[Cell]) -> list[list[Cell]]:
    return [[cells[i] for i in batch] for batch in batches([cell.config for cell in cells])]


def _result_of(cell: Cell, summary: dict[str, Any]) -> CellResult:
    why = failure(summary)
    return CellResult(cell, summary, why, 1 if why else 0, bool(why))


def _close(trackers: ExitStack, cell: Cell, results: dict[Path, CellResult]) -> None:
    """End what a run was told to; that it cannot be is the run's failure, if it has no other."""
    known = results.get(cell.path)
    with _reported(cell, results):
        trackers.close()
    if known is not None and known.error:
        results[cell.path] = known


@contextmanager
def _reported(cell: Cell, results: dict[Path, CellResult]) -> Iterator[None]:
    """What goes wrong with a run is its result."""
    try:
        yield
    except NoResultError as error:
        results[cell.path] = CellResult(cell, None, one_line(error), 1, True)
    except (MetapulseError, OSError) as error:
        results[cell.path] = CellResult(cell, None, one_line(error), 2)
    except Exception as error:
        results[cell.path] = CellResult(cell, None, failed(error, cell.path), 1)


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
    waiting, running = deque(_batches(cells)), dict[Any, list[Cell]]()
    while waiting or running:
        while waiting and len(running) < workers:
            batch = waiting.popleft()
            running[task.remote([_plain(cell) for cell in batch], track)] = batch
            for cell in batch:
                shown.begin(cell)
        ready, _ = ray.wait(list(running), timeout=POLL_S)
        for reference in ready:
            batch = running.pop(reference)
            ended = _results(ray, reference, batch)
            if not ended:  # one of them may be too large; then it is seen which
                waiting.extendleft([cell] for cell in reversed(batch))
            for result, notes in ended:
                for line in notes:
                    shown.note(result.cell, line)
                shown.end(result.cell, result.error)
                yield result
        for cell in (cell for batch in running.values() for cell in batch):
            shown.round(cell, _rounds(cell.path))


def _plain(cell: Cell) -> dict[str, Any]:
    """A run as it travels."""
    plain = {"inputs": cell.inputs, "notes": cell.notes, "method": cell.method}
    return {"config": resolved(cell.config), "path": str(cell.path.resolve()), **plain}


def _results(ray: Any, reference: Any, batch: Sequence[Cell]) -> list[tuple[CellResult, list[str]]]:
    """How the runs of a batch ended, and their notes; none where its process died and it may be done run by run."""
    try:
        found = ray.get(reference)
        return [(CellResult(cell, *result), notes) for cell, (result, notes) in zip(batch, found, strict=True)]
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        why = f"its process died {RETRIES + 1} times; is there enough memory?"
        return [(CellResult(cell, None, why, 2), []) for cell in batch] if len(batch) == 1 else []


class _Notes(SilentProgress):
    """Keeps what people have to know, for the process that has the display."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


def _run_remote(
    plain: Sequence[Mapping[str, Any]], track: Sequence[str]
) -> list[tuple[tuple[dict[str, Any] | None, str, int, bool], list[str]]]:
    """What a Ray worker does: one run, or some as one; of each its summary, error and code, and its notes."""
    cells = [Cell(**{**one, "config": build_config(one["config"]), "path": Path(one["path"])}) for one in plain]
    notes = [_Notes() for _ in cells]
    results = run_batch(cells, notes, chosen(track), wait=True)
    return [((r.summary, r.error, r.code, r.fruitless), note.lines) for r, note in zip(results, notes, strict=True)]


def _rounds(path: Path) -> int:
    """Rounds that a run in another process has done by now."""
    if not (path / "events.jsonl").exists():
        return 0
    return max((event["round"] for event in RunFolder(path).events() if event["kind"] == "round"), default=0)
