"""The event log, events.jsonl: lines are appended, and no line can be changed, doubled or taken out unseen.

The last key of a line, ``chain``, is the BLAKE2 of the chain of the line before it and of the rest of this one; a
checkpoint holds length and digest of all lines up to it. Only what a ``kill -9`` can do as well goes unseen: lines
that are missing at the end, after the newest checkpoint. A run that goes on does their rounds again.
"""

from __future__ import annotations

import json
import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from metapulse.errors import RunError
from metapulse.files import write_atomic
from metapulse.server.files import finite_or_null

Event = dict[str, Any]
CHAIN = b', "chain": "'  # before the digest that ends a line


class EventLog:
    """One run's log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: Any = None  # digest of what has been written; None: the file has not been read yet
        self._size, self._chain = 0, ""

    def append(self, round: int, kind: str, **facts: Any) -> None:
        """Add a line."""
        event = {"round": round, "kind": kind, **facts, "time": time.time()}
        try:
            line = json.dumps(event, allow_nan=False)
        except ValueError:  # a number that JSON has no word for
            line = json.dumps(finite_or_null(event), allow_nan=False)
        try:
            if self._told is None:
                self._follow(self.path.read_bytes() if self.path.exists() else b"")
            body = line.encode()[:-1]
            self._chain = _link(self._chain, body)
            data = body + CHAIN + self._chain.encode() + b'"}\n'
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
        events, chain = [], ""
        for number, line in enumerate(lines, 1):
            event = _parsed(line)
            if event is None:
                raise RunError(f"{self.path} is damaged: line {number} is no event")
            chain = _link(chain, line.rpartition(CHAIN)[0])
            if event.pop("chain", None) != chain:
                raise RunError(f"{self.path} is damaged: line {number} is changed, or others before it are missing")
            events.append(event)
        return events

    def largest(self, kind: str, key: str) -> int:
        """The largest number that events of a kind hold, damaged lines left out; 0 where there is none."""
        events = [_parsed(line) or {} for line in self._content().split(b"\n")]
        return max([e[key] for e in events if e.get("kind") == kind and type(e.get(key)) is int], default=0)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _follow(self, content: bytes) -> None:
        self._told, self._size = _hash(content), len(content)
        last = content.rstrip(b"\n").rpartition(b"\n")[2]
        self._chain = str((_parsed(last) or {}).get("chain", ""))


def _parsed(line: bytes) -> Event | None:
    """A line as an event; None where it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and {"round", "kind"} <= event.keys() else None


def _link(chain: str, body: bytes) -> str:
    return blake2b(chain.encode() + body, digest_size=8).hexdigest()


def _hash(content: bytes) -> Any:
    return blake2b(content, digest_size=16)
