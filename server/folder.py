"""A run is a folder that another program can read.

config.json           every setting with its value, the digests of data and code (``server.fingerprint``), and of all
                      together that decides the numbers
environment.json      versions, platform, git commit
privacy.json          rounds begun, where there is a privacy budget: never turned back
events.jsonl          what happened, a line each: round, kind, and the wall clock (which decides nothing)
metrics.parquet       tidy: round, phase, scenario, client, user, device, shots, step, metric, value
summary.json          spread over clients of every meta-test, and the digest of θ
checkpoints/000010/   theta.safetensors, outer.safetensors, best.safetensors, state.json, devices/: whole or not there
report.html           learning and adaptation curves, written by ``metapulse report``
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from client.errors import RunError
from client.files import write_atomic
from client.trees import Params
from server.files import finite, read_json, write_json
from server.metatest import Row
from strategies.replies import first_line

DEVICES, BEST = "devices", "best.safetensors"
LEFT = ("metrics.parquet", "privacy.json", "summary.json")  # of a run that had begun
SCHEMA = pa.schema(
    [
        ("round", pa.int64()),
        ("phase", pa.string()),
        ("scenario", pa.string()),
        ("client", pa.int64()),
        ("user", pa.string()),
        ("device", pa.string()),
        ("shots", pa.int64()),
        ("step", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Best:
    """θ of the round that looks at validation people like best so far.

    Args:
        round: which; the earliest of equals.
        merit: how good, larger is better.
        theta: θ after it.
    """

    round: int
    merit: float
    theta: Params


@dataclass(frozen=True)
class Snapshot:
    """Where a run stood after a round.

    Args:
        round: the last finished round.
        theta: θ.
        outer: state of the outer update.
        rows: meta-test rows so far.
        dropped: replies refused so far.
        best: θ of the best validation round; None where nobody looked yet.
        privacy: what has been spent of the privacy budget; {} without one.
    """

    round: int
    theta: Params
    outer: Params
    rows: list[Row]
    dropped: int
    best: Best | None = None
    privacy: Mapping[str, Any] = field(default_factory=dict)


class RunFolder:
    """Reads and writes one run's folder; every write is atomic or an appended line.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unsaid = 0.0  # seconds of the last checkpoint after its own line in the log

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
        write_json(self.path / "environment.json", {**environment(), "run": secrets.token_hex(16)})
        write_atomic(self.path / "events.jsonl", b"")
        write_json(self.path / "config.json", {"digest": digest, "config": config, "inputs": dict(inputs or {})})

    def config(self) -> tuple[dict[str, Any], str]:
        """The resolved configuration and its digest."""
        saved = read_json(self.path / "config.json")
        try:
            return saved["config"], saved["digest"]
        except (KeyError, TypeError):
            raise RunError(f"{self.path / 'config.json'} is not a run's configuration") from None

    def inputs(self) -> dict[str, str]:
        """Digests of the data and code that the run was made with, by name."""
        saved = read_json(self.path / "config.json").get("inputs", {})
        if not isinstance(saved, dict):
            raise RunError(f"{self.path / 'config.json'} is not a run's configuration")
        return saved

    @cached_property
    def identity(self) -> str:
        """What tells this run from every other; the same when it is resumed.

        Raises:
            RunError: environment.json is missing or damaged.
        """
        try:
            return str(read_json(self.path / "environment.json")["run"])
        except (KeyError, TypeError):
            raise RunError(f"{self.path / 'environment.json'} does not say which run this is") from None

    def event(self, round: int, kind: str, **facts: Any) -> None:
        """Append one line to the event log."""
        line = json.dumps(finite({"round": round, "kind": kind, **facts, "time": time.time()}), allow_nan=False)
        try:
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'events.jsonl'}: {error.strerror or error}") from None

    def events(self) -> list[dict[str, Any]]:
        """All events; a last line cut short by a crash is left out."""
        out = []
        for line in (self.path / "events.jsonl").read_text(encoding="utf-8").splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                break
        return out

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Replace metrics.parquet."""
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), sink)
        write_atomic(self.path / "metrics.parquet", sink.getvalue().to_pybytes())

    def metrics(self) -> list[Row]:
        """All rows of metrics.parquet.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            rows: list[Row] = pq.read_table(self.path / "metrics.parquet", schema=SCHEMA).to_pylist()
            return rows
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self.path / 'metrics.parquet'} cannot be read: {first_line(str(error))}") from None

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
        self.write_metrics(snapshot.rows)
        events = self.path / "events.jsonl"
        final = self._place(snapshot.round)
        temporary = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_atomic(temporary / "theta.safetensors", save_tensors(_owned(snapshot.theta)))
        write_atomic(temporary / "outer.safetensors", save_tensors(_owned(snapshot.outer)))
        if snapshot.best is not None:
            write_atomic(temporary / BEST, save_tensors(_owned(snapshot.best.theta)))
        devices(temporary / DEVICES)
        written = time.perf_counter()
        self.event(snapshot.round, "checkpoint", seconds=written - began + self._unsaid)
        with events.open("rb") as stream:
            os.fsync(stream.fileno())
        state: dict[str, Any] = {"round": snapshot.round, "events": events.stat().st_size, "dropped": snapshot.dropped}
        state |= {"rows": len(snapshot.rows), "privacy": dict(snapshot.privacy)}
        if snapshot.best is not None:
            state |= {"best_round": snapshot.best.round, "best_merit": snapshot.best.merit}
        write_json(temporary / "state.json", state)
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
        return sorted(p for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []

    def last(self) -> Snapshot | None:
        """The newest checkpoint, with the event log and the metrics cut back to it; None if there is none.

        Raises:
            RunError: it is damaged.
        """
        found = self.checkpoints()
        if not found:
            write_atomic(self.path / "events.jsonl", b"")
            return None
        state = read_json(found[-1] / "state.json")
        try:
            theta = load_tensors((found[-1] / "theta.safetensors").read_bytes())
            outer = load_tensors((found[-1] / "outer.safetensors").read_bytes())
            best = None
            if "best_round" in state:
                best = Best(state["best_round"], state["best_merit"], load_tensors((found[-1] / BEST).read_bytes()))
            events = (self.path / "events.jsonl").read_bytes()[: state["events"]]
            rows = self.metrics()[: state["rows"]]  # rows only ever grow
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise RunError(f"checkpoint {found[-1]} is damaged: {error}") from None
        if len(rows) < state["rows"]:
            raise RunError(f"checkpoint {found[-1]}: metrics.parquet holds {len(rows)} of its {state['rows']} rows")
        write_atomic(self.path / "events.jsonl", events)
        return Snapshot(state["round"], theta, outer, rows, state["dropped"], best, state.get("privacy", {}))


def _owned(params: Params) -> dict[str, Tensor]:
    return {name: p.detach().contiguous().clone() for name, p in params.items()}


def digest(theta: Params) -> str:
    """A name for the bits of θ."""
    return blake2b(save_tensors(_owned(theta)), digest_size=16).hexdigest()


def environment() -> dict[str, Any]:
    """What the run ran on."""
    names = ("metapulse", "flwr", "ray", "torch", "numpy", "safetensors", "pyarrow")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "torch_threads": torch.get_num_threads(),
        "git": _git_commit(),
    }


def version_of(environment: Mapping[str, Any]) -> str:
    """This program's version and commit, as a run's environment.json has them."""
    versions = environment.get("versions")
    named = versions.get("metapulse", "?") if isinstance(versions, Mapping) else "?"
    return f"metapulse {named}" + (f" ({commit})" if (commit := environment.get("git")) else "")


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
