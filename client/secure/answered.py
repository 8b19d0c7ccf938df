"""For which rounds a device has given a masked vector, so that it gives none twice, even if the coordinator restarts.

Two sums over nearly the same clients differ by what one of them gave. A coordinator that was killed asks for a round
again, in a new session; a device whose vector had already left then declines, for it is unknown what has become of
it. Only where the device adds noise of its own, fresh every time and counted by the coordinator as one more release,
does it answer a new session of the same round. No session is answered twice, and no round after a later one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flwr.app import ConfigRecord

from metapulse.errors import RunError
from metapulse.files import write_atomic
from metapulse.lock import in_turn

ANSWERED = "answered"
RUNS = 10_000  # runs a device remembers; it forgets none, so it takes part in no more

#: By run: the last round that was answered, and in which session of it.
Last = dict[str, list[int]]


@dataclass(frozen=True)
class SumRequest:
    """One session of secure aggregation.

    Args:
        run: identity of the run, letters and digits.
        round: federated round, ≥ 1.
        attempt: how often the coordinator has begun this round, ≥ 1.
        noisy: whether the device adds fresh noise of its own.
    """

    run: str
    round: int
    attempt: int
    noisy: bool

    def refuse(self, last: Last, lasting: bool) -> None:
        """Decline what would be a second answer.

        Args:
            last: what was answered.
            lasting: whether this record outlives the process.

        Raises:
            ValueError: why, in one line.
        """
        round, attempt = last.get(self.run, [0, 0])
        if self.round < round:
            raise ValueError(f"round {self.round} comes after round {round} was answered")
        if self.round == round and not (self.noisy and self.attempt > attempt):
            raise ValueError(
                f"round {self.round} was answered in session {attempt}: a second sum would tell them apart"
            )
        if self.attempt > 1 and not lasting and not self.noisy:
            raise ValueError(
                f"round {self.round} is repeated, and this device has no folder that says what it answered"
            )
        if self.run not in last and len(last) >= RUNS:
            raise ValueError(f"this device has answered {RUNS} runs and remembers no more")


@runtime_checkable
class AnswerRecord(Protocol):
    """What one device has answered."""

    def check(self, asked: SumRequest) -> None:
        """Raise ValueError where a session must be declined."""

    def enter(self, asked: SumRequest) -> None:
        """Write a session down before its vector leaves; raise ValueError where it must be declined."""


class ContextAnswerRecord:
    """In Flower's context or an engine's memory: as long as the process lives."""

    def __init__(self, record: ConfigRecord) -> None:
        self._record = record

    def check(self, asked: SumRequest) -> None:
        """Decline a second answer."""
        asked.refuse(self._last(), lasting=False)

    def enter(self, asked: SumRequest) -> None:
        """Keep it."""
        last = self._last()
        asked.refuse(last, lasting=False)
        self._record[ANSWERED] = json.dumps({**last, asked.run: [asked.round, asked.attempt]})

    def _last(self) -> Last:
        return _parsed(str(self._record.get(ANSWERED, "{}")), ANSWERED)


class FolderAnswerRecord:
    """In the device's folder: ``answered.json``, written in one step, by one process at a time.

    Args:
        folder: the device's; made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / f"{ANSWERED}.json"

    def check(self, asked: SumRequest) -> None:
        """Decline a second answer."""
        asked.refuse(self._last(), lasting=True)

    def enter(self, asked: SumRequest) -> None:
        """Keep it for good.

        Raises:
            RunError: the file is damaged, or cannot be written.
        """
        with in_turn(self._folder, ANSWERED):
            last = self._last()
            asked.refuse(last, lasting=True)
            entered = json.dumps({**last, asked.run: [asked.round, asked.attempt]}).encode()
            write_atomic(self._path, entered, lasting=True)

    def _last(self) -> Last:
        try:
            return _parsed(self._path.read_text(), str(self._path)) if self._path.exists() else {}
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{self._path} cannot be read: {error}") from None


def _parsed(text: str, where: str) -> Last:
    try:
        told: Any = json.loads(text)
        sound = isinstance(told, dict) and all(_is_line(line) for line in told.values())
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise RunError(f"{where} is damaged: it does not say what this device has answered")
    return dict(told)


def _is_line(line: Any) -> bool:
    return isinstance(line, list) and [type(n) for n in line] == [int, int]
