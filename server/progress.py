"""How a run goes: who is told, and where the wall-clock seconds of a round go, by stages that add up to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

#: Stages in the order in which they happen, in words; ``evaluation`` and ``checkpoint`` are beside the rounds.
STAGES: Mapping[str, str] = {
    "sampling": "sampling",
    "clients": "clients",
    "transfer": "sending and waiting",
    "data": "data",
    "inner": "inner loop",
    "aggregate": "aggregation",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
}


@runtime_checkable
class Progress(Protocol):
    """Receives the progress of a run; has no influence on it."""

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over; ``spent`` are its seconds by stage, which add up to all of them."""

    def score(self, round: int, value: float | None) -> None:
        """A meta-test is over; its headline."""

    def note(self, text: str) -> None:
        """Something that people have to know of: data left out, clients refused."""


class SilentProgress:
    """Progress that is not shown."""

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """Nothing."""

    def score(self, round: int, value: float | None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def round_stages(
    sampling: float, clients: float, aggregate: float, chunks: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """A round's seconds by stage.

    Args:
        sampling: drawing the cohort.
        clients: from instruction to last reply.
        aggregate: checks and the outer step.
        chunks: what the busiest worker did meanwhile, by stage, chunk after chunk; none where that is not known. Then
            ``clients`` is one stage; otherwise what that worker does not account for is ``transfer``: the way there
            and back, and waiting.
    """
    if not chunks:
        return {"sampling": sampling, "clients": clients, "aggregate": aggregate}
    inside = add_up(chunks)
    spent = {"sampling": sampling, "transfer": clients - sum(inside.values()), "aggregate": aggregate}
    return add_up([spent, inside])


def add_up(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage of several rounds, or of several parts of one."""
    total: dict[str, float] = {}
    for part in parts:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
