"""The interface of a tracker, and how a run's progress is passed to it.

A tracker is opened at a run's first round, told every round and, at the end, every meta-test. It decides nothing: the
run's folder holds the same numbers. A resumed run goes on in the tracker's own run, found again by the run's identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from metapulse.errors import ConfigError
from metapulse.registry import Registry
from metapulse.server.files import read_json
from metapulse.server.folder import RunFolder
from metapulse.server.progress import Progress

#: An entry, the package it needs and the extra that brings it have one name.
TRACKERS = Registry(
    "track",
    {
        "tensorboard": "metapulse.sim.tracking.tensorboard:TensorBoard",
        "wandb": "metapulse.sim.tracking.wandb:WandB",
        "mlflow": "metapulse.sim.tracking.mlflow:MLflow",
    },
)


@runtime_checkable
class Tracker(Protocol):
    """Where the numbers of one run go; made as ``Name(folder)`` when the run's folder is there.

    A run that was killed and resumed tells the rounds after its last checkpoint again, with the same numbers.
    """

    def log(self, round: int, values: Mapping[str, float]) -> None:
        """Numbers of a round, by name: "round/clients", "seconds/inner", "test/new_user/mse/shots_5/step_1/mean"."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """The run has ended: its summary without the scores; {}: it was given up, and may be resumed."""


class Tracked:
    """Progress of a run that is tracked as well."""

    def __init__(self, shown: Progress, path: Path, kinds: Sequence[Any]) -> None:
        self._shown, self._folder, self._kinds = shown, RunFolder(path), kinds
        self._trackers: list[Tracker] = []

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Show it; log the clients and the seconds by stage."""
        self._shown.round(round, rounds, clients, spent)
        seconds = {f"seconds/{stage}": value for stage, value in spent.items()}
        self._log(round, {"round/clients": clients, "round/seconds": sum(spent.values())} | seconds)

    def score(self, round: int, value: float | None) -> None:
        """Show it; log the headline."""
        self._shown.score(round, value)
        self._log(round, {} if value is None else {"meta-test/headline": value})

    def note(self, text: str) -> None:
        """Show it."""
        self._shown.note(text)

    def close(self) -> None:
        """The run is over, or given up: log every meta-test of a finished one."""
        path = self._folder.path / "summary.json"
        summary = read_json(path) if path.exists() else {}
        for round, scores in groupby(summary.pop("scores", []), itemgetter("round")):
            self._log(round, named_scores(scores))
        for tracker in self._trackers:
            tracker.close(summary)

    def _log(self, round: int, values: Mapping[str, float]) -> None:
        if not self._trackers:  # not before the run has made its folder
            self._trackers = [kind(self._folder) for kind in self._kinds]
        for tracker in self._trackers:
            tracker.log(round, values)


def named_scores(scores: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """A meta-test's scores by name: phase/scenario/metric/shots_K/step_k/mean, and the same with worst_decile."""
    return {
        "{phase}/{scenario}/{metric}/shots_{shots}/step_{step}/".format_map(score) + number: score[number]
        for score in scores
        for number in ("mean", "worst_decile")
        if score[number] is not None  # not a number
    }


def chosen(names: Sequence[str]) -> list[Any]:
    """Classes of trackers by name, or by dotted reference.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """
    for name in names:
        if name in TRACKERS and find_spec(name) is None:
            raise ConfigError("--track", name, f"is not installed; it is an extra: pip install 'metapulse[{name}]'")
    return [TRACKERS[name] for name in names]


@contextmanager
def tracked(progress: Progress, path: Path, kinds: Sequence[Any]) -> Iterator[Progress]:
    """The progress of the run in a folder, tracked where there are trackers; they are closed at the end."""
    if not kinds:
        yield progress
        return
    told = Tracked(progress, path, kinds)
    try:
        yield told
    finally:
        told.close()
