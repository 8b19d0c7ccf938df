"""Cells are run: side by side on Ray, one core each, or one after another in this process; each once, whatever happens.

A cell is an ordinary run in its own folder. Finished ones are not done again, interrupted ones go on from their last
checkpoint, and one that fails does not stop the rest. Who runs a cell holds its lock for as long as the process lives,
and who comes later waits: a new lab and the last workers of a killed one do nothing at once and nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from metapulse.errors import MetapulseError
from metapulse.server.config import Config, build_config, resolved
from metapulse.server.fingerprint import address, known_inputs
from metapulse.server.folder import RunFolder
from metapulse.server.progress import Silence
from metapulse.sim import suite
from metapulse.sim.crash import one_line
from metapulse.sim.engines.cluster import start_ray, stop_ray
from metapulse.sim.lab.cells import LENGTH, Cell
from metapulse.sim.progress import Quiet, Watch
from metapulse.sim.tracking import chosen, tracked

POLL_S = 1.0  # how often the progress of cells in other processes is looked at
RETRIES = 2  # times that a cell whose process died (of memory, mostly) is taken up again


@runtime_checkable
class View(Protocol):
    """Told how cells go; decides nothing."""

    def begin(self, cell: Cell) -> None:
        """A cell is being run."""

    def move(self, cell: Cell, round: int) -> None:
        """So many of its rounds are done."""

    def end(self, cell: Cell, error: str) -> None:
        """It is over; ``error`` is "" if it is finished."""

    def close(self) -> None:
        """All are over, or given up."""


@dataclass(frozen=True)
class Failure:
    """A cell that could not be finished.

    Args:
        cell: which.
        error: one line.
        code: as in ``metapulse.sim.suite.Outcome``.
    """

    cell: Cell
    error: str
    code: int

    def __str__(self) -> str:
        return f"{self.cell.name}: {self.error}"


def perform(
    cells: Sequence[Cell],
    folder: Path,
    workers: int,
    view: View,
    started: ExitStack,
    track: Sequence[str] = (),
) -> list[Failure]:
    """Finish cells; those that could not be, with the reason.

    Args:
        cells: what to do, each address once.
        folder: the comparison's.
        workers: processes, each for one cell at a time; 0 and 1: this one.
        view: told how it goes.
        started: ends what is started here, so that one batch of cells after another has the same processes.
        track: names of trackers that are told of every cell, as in ``metapulse.sim.tracking``.
    """
    failures = []
    on_ray = workers > 1 and len(cells) > 1
    outcomes = _on_ray(cells, folder, workers, view, started, track) if on_ray else _here(cells, folder, view, track)
    for cell, outcome in outcomes:
        view.end(cell, outcome["error"])
        if outcome["error"]:
            failures.append(Failure(cell, outcome["error"], outcome["code"]))
    return failures


def _here(
    cells: Sequence[Cell], folder: Path, view: View, track: Sequence[str]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    for cell in cells:
        view.begin(cell)
        yield cell, _finish(cell.config, cell.path(folder), track, lambda name, cell=cell: Told(cell, view))


def _on_ray(
    cells: Sequence[Cell], folder: Path, workers: int, view: View, started: ExitStack, track: Sequence[str]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """No more cells are handed out than can run, so that what runs is known; what comes back is plain."""
    import ray

    if start_ray(workers):
        started.callback(stop_ray)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(finish)
    waiting, running = deque(cells), dict[Any, Cell]()
    while waiting or running:
        while waiting and len(running) < workers:
            cell = waiting.popleft()
            running[task.remote(resolved(cell.config), str(cell.path(folder).resolve()), track)] = cell
            view.begin(cell)
        ready, _ = ray.wait(list(running), timeout=POLL_S)
        for reference in ready:
            yield running.pop(reference), _result(ray, reference)
        for cell in running.values():
            view.move(cell, _rounds(cell.path(folder)))


def _result(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        outcome: dict[str, Any] = ray.get(reference)
        return outcome
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        return {"error": f"its process died {RETRIES + 1} times; is there enough memory?", "code": 2}


def finish(config: Mapping[str, Any], path: str, track: Sequence[str]) -> dict[str, Any]:
    """What a Ray worker does: one cell, from the start or from where it stands.

    Args:
        config: resolved configuration.
        path: the run's folder.
        track: names of trackers.

    Returns:
        error (one line, "" for none) and code, as in ``metapulse.sim.suite.Outcome``.
    """
    return _finish(build_config(config), Path(path), track, lambda name: Quiet())


def _finish(config: Config, path: Path, track: Sequence[str], watch: Callable[[str], Watch]) -> dict[str, Any]:
    job = suite.Job(path.name, config, path)
    try:
        if address(config, known_inputs(config))[:LENGTH] != path.name:
            return {"error": "its data or code changed while the comparison ran; run the command again", "code": 2}
        (outcome,) = suite.perform([job], tracked(watch, [job], chosen(track)), wait=True)
    except (MetapulseError, OSError) as error:
        return {"error": one_line(error), "code": 2}
    return {"error": outcome.error, "code": outcome.code}


def _rounds(path: Path) -> int:
    """Rounds that a run in another process has done by now."""
    if not (path / "events.jsonl").exists():
        return 0
    return max((event["round"] for event in RunFolder(path).events() if event["kind"] == "round"), default=0)


class Told(Silence):
    """Progress of a cell in this process, passed on."""

    def __init__(self, cell: Cell, view: View) -> None:
        self._cell, self._view = cell, view

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Pass it on."""
        self._view.move(self._cell, round)

    def close(self) -> None:
        """Nothing to end."""
