"""Who is told how a run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told how a run goes; decides nothing."""

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over; ``spent`` are its seconds by stage, which add up to all of them."""

    def score(self, round: int, value: float | None) -> None:
        """A meta-test is over; its headline."""

    def note(self, text: str) -> None:
        """Something that people have to know of: data left out, clients refused."""


class Silence:
    """Progress for nobody."""

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Nothing."""

    def score(self, round: int, value: float | None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
