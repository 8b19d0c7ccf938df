"""How the trials of the fuzzer end, and what they come to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from metapulse.server.progress import SilentProgress


class SlowError(BaseException):
    """A trial took too long."""


class Listener(SilentProgress):
    """Keeps what is said of a run."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Args:
        kind: "refused", "failed", "result" or "find".
        said: the line, or what was found.
        told: of a result: all that it tells.
        notes: what was said on the way.
    """

    kind: str
    said: str = ""
    told: str = ""
    notes: str = ""


@dataclass
class Count:
    """What all trials came to."""

    kinds: Counter[str] = field(default_factory=Counter)
    finds: list[str] = field(default_factory=list)
    trials: int = 0
    slowest: float = 0.0

    def add(self, what: str, outcome: Outcome, seconds: float) -> None:
        self.trials += 1
        self.kinds[outcome.kind] += 1
        self.slowest = max(self.slowest, seconds)
        if outcome.kind == "find":
            self.finds.append(f"{what}: {outcome.said}")
            print("FIND", self.finds[-1], flush=True)
