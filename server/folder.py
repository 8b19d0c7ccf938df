"""The folder of a run, which other programs can read.

config.json           every setting with its value, the digests of data and code (fingerprint.py), and of all
                      together that decides the numbers
environment.json      versions, platform, git commit
privacy.jsonl         where there is a privacy budget: what each round that has begun releases, a line each
transform.json        where a transform is learnt before round 1: its numbers
events.jsonl          what happened, a line each: round, kind, and the wall clock (which decides nothing)
metrics.parquet       tidy: round, phase, scenario, client, user, device, shots, step, metric, apart, value
summary.json          spread over clients of every meta-test, and the digest of θ
checkpoints/000010/   theta.safetensors, outer.safetensors, best.safetensors, state.json, devices/: whole or not there
report.html           learning and adaptation curves, written by ``metapulse report``
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from metapulse.errors import RunError
from metapulse.server.checkpoint import (
    BEST,
    DEVICES,
    OUTER,
    STATE,
    THETA,
    BestRound,
    Snapshot,
    checksums,
    digest,
    read_arrays,
    read_state,
    write_arrays,
)
from metapulse.server.environment import environment, version_of
from metapulse.server.events import Event, EventLog
from metapulse.server.files import read_json, read_sealed, write_sealed
from metapulse.server.metatest import Row
from metapulse.server.metrics import SCHEMA, read_table, table_digest, table_of, write_table

__all__ = ["SCHEMA", "BestRound", "RunFolder", "Snapshot", "digest", "environment", "version_of"]

LEFT = ("metrics.parquet", "privacy.jsonl", "privacy.json", "summary.json", "transform.json")  # of a run that had begun


class RunFolder:
    """Reads and writes one run's folder; every write is atomic or an appended line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = EventLog(path / "events.jsonl")
        self.event = self.log.append  # one line to the event log
        self._unsaid = 0.0  # seconds of the last checkpoint after its own line in the log
        self._metrics = -1, ""  # rows that metrics.parquet was last written with, and their digest

    def create(self, config: Mapping[str, Any], digest: str, inputs: Mapping[str, str] | None = None) -> None:
        """Make the folder with its configuration and environment.

        Args:
            config: every setting with its value.
            digest: of what decides the numbers.
            inputs: digests of data and code, by name.

        Raises:
            RunError: the folder holds a run already, or cannot be written.
        """
        if (self.path / "config.json").exists():
            raise RunError(f"{self.path} holds a run already; choose another folder, or resume it")
        if self.checkpoints() or any((self.path / name).exists() for name in LEFT):
            raise RunError(f"{self.path} holds what is left of a run without config.json; choose another folder")
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make {self.path}: {error.strerror or error}") from None
        device = config.get("engine", {}).get("device", "cpu")
        write_sealed(self.path / "environment.json", {**environment(), "device": device, "run": secrets.token_hex(16)})
        self.log.cut(b"")
        write_sealed(self.path / "config.json", {"digest": digest, "config": config, "inputs": dict(inputs or {})})

    def config(self) -> tuple[dict[str, Any], str]:
        """The resolved configuration and its digest.

        Raises:
            RunError: config.json is missing, damaged, or was changed.
        """
        saved = self._config()
        return saved["config"], saved["digest"]

    def inputs(self) -> dict[str, str]:
        """Digests of the data and code that the run was made with, by name."""
        found: dict[str, str] = self._config().get("inputs", {})
        return found

    def _config(self) -> dict[str, Any]:
        path = self.path / "config.json"
        saved = read_json(path)
        if not isinstance(saved, dict) or not {"config", "digest"} <= saved.keys():
            raise RunError(f"{path} is not a run's configuration")
        return read_sealed(path)

    @cached_property
    def identity(self) -> str:
        """What tells this run from every other; the same when it is resumed.

        Raises:
            RunError: environment.json is missing or damaged.
        """
        try:
            return str(read_sealed(self.path / "environment.json")["run"])
        except KeyError:
            raise RunError(f"{self.path / 'environment.json'} does not say which run this is") from None

    def events(self) -> list[Event]:
        """All events, those up to the newest checkpoint known to be whole; a last line cut short is left out.

        Raises:
            RunError: the log is missing or damaged, or has lost lines.
        """
        events = self.log.events()
        if (state := self._state()) is not None:
            if (state["run"], state["config"]) != (self.identity, self.config()[1]):
                raise RunError(f"{self.path}: its newest checkpoint is of another run than config.json")
            self.log.check(state)
        rounds = [event["round"] for event in events if event["kind"] == "round"]  # a log that was written anew
        if rounds != list(range(1, len(rounds) + 1)):
            raise RunError(f"{self.log.path} is damaged: its rounds are not 1, 2, 3 … each once")
        return events

    def write_metrics(self, rows: Sequence[Row]) -> str:
        """Replace metrics.parquet, to which rows are only ever added; the digest of its rows."""
        if self._metrics[0] != len(rows):
            self._metrics = len(rows), write_table(self.path / "metrics.parquet", table_of(rows))
        return self._metrics[1]

    def metrics(self) -> list[Row]:
        """All rows of metrics.parquet.

        Raises:
            RunError: the file is missing or damaged, or not the one of this run.
        """
        rows: list[Row] = self.table().to_pylist()
        return rows

    def table(self) -> pa.Table:
        """metrics.parquet, compared with the summary or, while there is none, with the newest checkpoint.

        Raises:
            RunError: the file is missing or damaged, or not the one of this run.
        """
        path = self.path / "metrics.parquet"
        table = read_table(path)
        if (self.path / "summary.json").exists():
            if table_digest(table) != self.summary()["metrics"]:
                raise RunError(f"{path} is damaged: its rows are not those of the summary")
        elif (state := self._state()) is not None:
            _upto(table, state, path)
        return table

    def finish(self, summary: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
        """Write the metrics and then the summary, whose presence says that the run is finished; the latter."""
        found = self.write_metrics(rows)
        return write_sealed(self.path / "summary.json", {**summary, "metrics": found})

    def summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            RunError: it is missing or damaged, or another run's.
        """
        path = self.path / "summary.json"
        summary = read_json(path)
        if not isinstance(summary, dict) or not {"scores", "metrics", "config"} <= summary.keys():
            raise RunError(f"{path} is not a run's summary")
        again = f"; to have it written again, remove it and resume {self.path}"
        try:
            read_sealed(path)
        except RunError as error:
            raise RunError(f"{error}{again}") from None
        if "privacy" in summary:
            begun = summary["privacy"]["rounds"] + summary["privacy"].get("scales", 0)
            if (lines := _lines(self.path / LEFT[1])) != begun:
                raise RunError(f"{self.path / LEFT[1]} has {lines} lines, and {begun} releases have begun")
        if summary["config"] != self.config()[1]:
            raise RunError(f"{path} is of another configuration than config.json{again}")
        return summary

    def save(self, snapshot: Snapshot, keep: int, devices: Callable[[Path], None] | None = None) -> None:
        """Write a checkpoint, then forget all but the last ``keep``.

        Args:
            snapshot: what is written.
            keep: checkpoints kept, ≥ 1.
            devices: writes what simulated devices keep into a folder of the checkpoint.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        try:
            self._checkpoint(snapshot, keep, devices or (lambda folder: None))
        except OSError as error:
            raise RunError(f"cannot write a checkpoint in {self.path}: {error.strerror or error}") from None

    def _checkpoint(self, snapshot: Snapshot, keep: int, devices: Callable[[Path], None]) -> None:
        began = time.perf_counter()
        metrics = self.write_metrics(snapshot.rows)
        final = self._place(snapshot.round)
        temporary = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_arrays(temporary, snapshot)
        devices(temporary / DEVICES)
        written = time.perf_counter()
        self.event(snapshot.round, "checkpoint", seconds=written - began + self._unsaid)
        state: dict[str, Any] = {"round": snapshot.round, "run": self.identity, "config": self.config()[1]}
        state |= self.log.mark() | {"rows": len(snapshot.rows), "metrics": metrics, "dropped": snapshot.dropped}
        state["privacy"] = dict(snapshot.privacy)
        if snapshot.best is not None:
            state |= {"best_round": snapshot.best.round, "best_merit": snapshot.best.merit}
        write_sealed(temporary / STATE, state | {"files": checksums(temporary)})
        self._hide(final)
        temporary.replace(final)
        self.tidy(keep)
        self._unsaid = time.perf_counter() - written

    def devices(self, round: int) -> Path:
        """Where the checkpoint of a round has what simulated devices keep; absent where they keep nothing."""
        return self._place(round) / DEVICES

    def _place(self, round: int) -> Path:
        return self.path / "checkpoints" / f"{round:06d}"

    def tidy(self, keep: int) -> None:
        """Forget all checkpoints but the last ``keep``, and what a crash left unfinished."""
        for old in self.checkpoints()[:-keep]:
            self._hide(old)
        for hidden in (self.path / "checkpoints").glob(".*"):
            shutil.rmtree(hidden, ignore_errors=True)

    def _hide(self, checkpoint: Path) -> None:
        """Take a checkpoint away in one step: deleting it takes many, and half a checkpoint must not be found."""
        if checkpoint.exists():
            hidden = checkpoint.with_name(f".{checkpoint.name}.old")
            shutil.rmtree(hidden, ignore_errors=True)
            checkpoint.replace(hidden)

    def checkpoints(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        folder = self.path / "checkpoints"
        return sorted(p for p in folder.iterdir() if p.name.isascii() and p.name.isdigit()) if folder.is_dir() else []

    def last(self) -> Snapshot | None:
        """The newest checkpoint, with the event log and the metrics cut back to it; None if there is none.

        Nothing is written before everything has been compared with its checksum.

        Raises:
            RunError: it is damaged, and how to go on from the one before; or there is none although there has been one.
        """
        found = self.checkpoints()
        if not found:
            self._never_had_any()
            self.log.cut(b"")
            return None
        try:
            state = self._whole(found[-1])
        except RunError as error:
            before = f"; to go on from round {int(found[-2].name)}, move {found[-1]} away" if found[1:] else ""
            raise RunError(f"{error}{before}") from None
        theta, outer, best = self.theta(found[-1]), read_arrays(found[-1] / OUTER), None
        if "best_round" in state:
            best = BestRound(state["best_round"], state["best_merit"], read_arrays(found[-1] / BEST))
        path = self.path / "metrics.parquet"
        rows: list[Row] = _upto(read_table(path), state, path).to_pylist()  # rows only ever grow
        self.log.cut(self.log.check(state))
        return Snapshot(state["round"], theta, outer, rows, state["dropped"], best, state["privacy"])

    def theta(self, checkpoint: Path) -> dict[str, Any]:
        """θ of a checkpoint, compared with its checksum.

        Raises:
            RunError: the checkpoint is damaged.
        """
        self._whole(checkpoint)
        return read_arrays(checkpoint / THETA)

    def final(self) -> tuple[int, dict[str, Any]]:
        """The last round of a finished run, and θ after it.

        Raises:
            RunError: its last checkpoint is damaged or gone.
        """
        found = self.checkpoints()
        theta = self.theta(found[-1]) if found else {}
        if not found or digest(theta) != self.summary()["theta"]:
            raise RunError(f"{self.path}: the last checkpoint, which holds the summary's θ, is gone")
        return int(found[-1].name), theta

    def _whole(self, checkpoint: Path) -> dict[str, Any]:
        """The state of a checkpoint that is whole, and this run's."""
        state = read_state(checkpoint)
        if (state["run"], state["config"]) != (self.identity, self.config()[1]):
            raise RunError(f"checkpoint {checkpoint} is of another run")
        return state

    def _state(self) -> dict[str, Any] | None:
        """What the newest checkpoint says of log and metrics; another process may be putting it away."""
        for _ in range(10):
            found = self.checkpoints()
            if not found:
                return None
            try:
                return read_sealed(found[-1] / STATE)
            except RunError:
                if found[-1].exists():
                    raise
        return None

    def _never_had_any(self) -> None:
        """A run that has had a checkpoint does not begin anew without a word."""
        told = any(event["kind"] == "checkpoint" and event["round"] for event in self.log.events())
        if told or (self.path / "summary.json").exists():
            raise RunError(f"{self.path}: its checkpoints are gone; start a new run in another folder")


def _lines(path: Path) -> int:
    try:
        return len(path.read_bytes().splitlines())
    except OSError:
        return 0


def _upto(table: pa.Table, state: Mapping[str, Any], path: Path) -> pa.Table:
    """The rows that a checkpoint knows of."""
    rows = state["rows"]
    if len(table) < rows:
        raise RunError(f"checkpoint {state['round']:06d}: {path} holds {len(table)} of its {rows} rows")
    table = table.slice(0, rows)
    if table_digest(table) != state["metrics"]:
        raise RunError(f"{path} is damaged: its rows are not those that checkpoint {state['round']:06d} knows of")
    return table
