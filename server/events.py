"""The event log, events.jsonl: lines are appended, and a digest of all of them says later whether one is missing."""

from __future__ import annotations

import json
import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from client.errors import RunError
from client.files import write_atomic
from server.files import finite

Event = dict[str, Any]


class EventLog:
    """One run's log.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: Any = None  # digest of what has been written; None: the file has not been read yet
        self._size = 0

    def append(self, round: int, kind: str, **facts: Any) -> None:
        """Add a line."""
        line = json.dumps(finite({"round": round, "kind": kind, **facts, "time": time.time()}), allow_nan=False)
        data = line.encode() + b"\n"
        try:
            if self._told is None:
                self._follow(self.path.read_bytes() if self.path.exists() else b"")
            with self.path.open("ab") as stream:
                stream.write(data)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._told.update(data)
        self._size += len(data)

    def mark(self) -> dict[str, Any]:
        """Length and digest of the log up to here, which is on disk now; for a checkpoint."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        return {"events": self._size, "log": self._told.hexdigest()}

    def check(self, mark: dict[str, Any]) -> bytes:
        """The log up to a mark.

        Raises:
            RunError: it is not what it was then.
        """
        content = self._content()[: mark["events"]]
        if len(content) < mark["events"] or _hash(content).hexdigest() != mark["log"]:
            raise RunError(f"{self.path} is damaged: lines are missing or changed that the last checkpoint counts")
        return content

    def cut(self, content: bytes) -> None:
        """Replace the log."""
        write_atomic(self.path, content)
        self._follow(content)

    def events(self) -> list[Event]:
        """All events; a last line cut short by a crash is left out.

        Raises:
            RunError: the file is missing, or another line is damaged.
        """
        *lines, _ = self._content().split(b"\n")
        try:
            events: list[Event] = [json.loads(line) for line in lines]
            if not all(isinstance(event, dict) and {"round", "kind"} <= event.keys() for event in events):
                raise ValueError
        except (ValueError, RecursionError):
            raise RunError(f"{self.path} is damaged: a line in it is no event") from None
        return events

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _follow(self, content: bytes) -> None:
        self._told, self._size = _hash(content), len(content)


def _hash(content: bytes) -> Any:
    return blake2b(content, digest_size=16)
