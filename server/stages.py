"""Where the time of a round goes: wall-clock seconds by stage, which add up to all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Stages in the order in which they happen, in words; ``evaluation`` and ``checkpoint`` are beside the rounds.
STAGES: Mapping[str, str] = {
    "sampling": "sampling",
    "clients": "clients",
    "transfer": "transfer",
    "data": "data",
    "inner": "inner loop",
    "aggregate": "aggregation",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
}


def round_stages(sampling: float, clients: float, aggregate: float, inside: Mapping[str, float]) -> dict[str, float]:
    """A round's seconds by stage.

    Args:
        sampling: drawing the cohort.
        clients: from instruction to last reply.
        aggregate: checks and the outer step.
        inside: what the busiest worker did meanwhile, by stage; {} where nobody knows. Then ``clients`` is one stage;
            otherwise what that worker does not account for is ``transfer``: the way there and back, and waiting.
    """
    if not inside:
        return {"sampling": sampling, "clients": clients, "aggregate": aggregate}
    spent = {"sampling": sampling, "transfer": clients - sum(inside.values()), "aggregate": aggregate}
    return add_up([spent, inside])


def add_up(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage of several rounds, or of several parts of one."""
    total: dict[str, float] = {}
    for part in parts:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
