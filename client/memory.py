"""What a device keeps between rounds: its personal head, its control variate. It never leaves the device.

A coordinator that is killed goes on from its last checkpoint, rounds behind what its devices have seen. So a device
keeps two states, each with its round: the newest, and the newest that is no later than the last checkpoint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, runtime_checkable

from flwr.app import ConfigRecord, RecordDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from metapulse.client.wire import decode, encode
from metapulse.errors import RunError
from metapulse.files import write_atomic
from metapulse.lock import locked
from metapulse.trees import Params

STATE, FIRST = "state/", "first state"
DIGEST = "metapulse.digest"  # of the tensors, in the file's own metadata
OWN = re.compile(r"first|\d{6,}\.safetensors|\..*\.tmp")  # what the folder of a run holds
RUNS = 8  # runs whose states a device's folder holds; the longest unused are forgotten


@runtime_checkable
class Memory(Protocol):
    """States of one device in one run, by round."""

    def alone(self) -> AbstractContextManager[None]:
        """Hold the states from what is read to what is written; RunError where another process does."""

    def rounds(self) -> list[int]:
        """Rounds after which a state was kept, ascending."""

    def first(self) -> int:
        """The first round after which a state was kept; there has been one."""

    def read(self, round: int) -> dict[str, Tensor]:
        """The state of a round."""

    def write(self, round: int, state: Params) -> None:
        """Keep a state."""

    def forget(self, round: int) -> None:
        """Keep it no longer."""


def recall(memory: Memory, round: int) -> dict[str, Tensor]:
    """The newest state of ``round`` or before; {} if there has been none.

    Raises:
        RunError: there has been one, and it is kept no longer: the coordinator went back behind its last checkpoint.
    """
    kept = memory.rounds()
    if found := [k for k in kept if k <= round]:
        return memory.read(found[-1])
    if kept and memory.first() <= round:
        raise RunError(f"round {round + 1}: the device has kept no state of so early a round, only of {kept}")
    return {}


def remember(memory: Memory, round: int, checkpoint: int, state: Params) -> None:
    """Keep a state, and of the others only the newest that the last checkpoint can come back to.

    Args:
        round: after which the state is.
        checkpoint: round of the coordinator's last checkpoint, < ``round``.
        state: arrays by name.
    """
    memory.write(round, state)
    before = [kept for kept in memory.rounds() if kept <= checkpoint]
    for kept in memory.rounds():
        if kept not in (round, *before[-1:]):
            memory.forget(kept)


class ContextMemory:
    """In Flower's context: as long as the SuperNode lives, and a run is not begun or continued anew.

    Args:
        records: the context's ``state``.
    """

    def __init__(self, records: RecordDict) -> None:
        self._records = records

    def alone(self) -> AbstractContextManager[None]:
        """One process has it."""
        return nullcontext()

    def rounds(self) -> list[int]:
        """Rounds after which a state was kept, ascending."""
        return sorted(int(key.removeprefix(STATE)) for key in self._records if key.startswith(STATE))

    def first(self) -> int:
        """The first round after which a state was kept."""
        return int(str(self._records.config_records[FIRST]["round"]))

    def read(self, round: int) -> dict[str, Tensor]:
        """The state of a round."""
        return decode(self._records.array_records[f"{STATE}{round}"])

    def write(self, round: int, state: Params) -> None:
        """Keep a state."""
        self._records[f"{STATE}{round}"] = encode(state)
        self._records.config_records.setdefault(FIRST, ConfigRecord({"round": self.rounds()[0]}))

    def forget(self, round: int) -> None:
        """Keep it no longer."""
        del self._records[f"{STATE}{round}"]


class FolderMemory:
    """In a folder of the device's own: RUN/000010.safetensors, each written in one step.

    Args:
        folder: the device's; made when there is something to keep.
        run: identity of the run, the same when it is continued; another run's states are not seen.

    Raises:
        RunError: the identity is none.
    """

    def __init__(self, folder: Path, run: str) -> None:
        if not run.isalnum() or len(run) > 64:  # it comes from afar, and becomes a path
            raise RunError(f"run = {run[:64]!r}: the identity of a run is letters and digits, at most 64")
        self._folder = folder / run

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the states of this run.

        Raises:
            RunError: another process of the device works on a round of it, or the folder cannot be made or locked.
        """
        made = not self._folder.parent.exists()
        refusal = f"{self._folder} is in use by {{}} on this device; one at a time works on a run's rounds"
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make {self._folder.parent}: {error.strerror or error}") from None
        try:
            with locked(self._folder.with_name(f".{self._folder.name}.lock"), f"process {os.getpid()}", refusal):
                yield
        finally:
            if made:
                with suppress(OSError):  # it holds something
                    self._folder.parent.rmdir()

    def rounds(self) -> list[int]:
        """Rounds after which a state was kept, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("*.safetensors") if path.stem.isdigit())

    def first(self) -> int:
        """The first round after which a state was kept."""
        try:
            return int((self._folder / "first").read_text())
        except (OSError, ValueError):  # a crash between the first state and the note of it
            return self.rounds()[0]

    def read(self, round: int) -> dict[str, Tensor]:
        """The state of a round.

        Raises:
            RunError: the file is damaged.
        """
        try:
            content = self._path(round).read_bytes()
            found: Mapping[str, Tensor] = load(content)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self._path(round)} cannot be read: {error}") from None
        if content != _sealed(found):
            raise RunError(f"{self._path(round)} is damaged: its checksum does not fit")
        return dict(found)

    def write(self, round: int, state: Params) -> None:
        """Keep a state.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            runs = sorted((p for p in self._folder.parent.iterdir() if _is_run(p)), key=lambda p: p.stat().st_mtime)
            for old in [run for run in runs if run != self._folder][: -(RUNS - 1)]:
                _forget(old)
        except OSError as error:
            raise RunError(f"cannot keep a state in {self._folder}: {error.strerror or error}") from None
        write_atomic(self._path(round), _sealed(state))
        if not (self._folder / "first").exists():
            write_atomic(self._folder / "first", f"{self.rounds()[0]}\n".encode())

    def forget(self, round: int) -> None:
        """Keep it no longer."""
        self._path(round).unlink(missing_ok=True)

    def _path(self, round: int) -> Path:
        return self._folder / f"{round:06d}.safetensors"


def _is_run(folder: Path) -> bool:
    """Whether a folder is one that states were kept in, with nothing else in it."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return "first" in names and all(OWN.fullmatch(name) for name in names)


def _forget(run: Path) -> None:
    """Take a run's states away, and nothing that came between them meanwhile."""
    for path in [*run.glob("[0-9]*.safetensors"), *run.glob(".*.tmp"), run / "first"]:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # it holds something
        run.rmdir()


def _sealed(state: Mapping[str, Tensor]) -> bytes:
    """A file's content: the tensors, with their digest."""
    owned = {name: p.contiguous() for name, p in state.items()}
    return save(owned, {DIGEST: blake2b(save(owned), digest_size=16).hexdigest()})
