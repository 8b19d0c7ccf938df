"""Paired differences A − B on the same clients and episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metapulse.metrics.table import larger_is_better
from metapulse.server.statistics import bootstrap
from metapulse.sim.report.runs.run_data import PlotLine


@dataclass(frozen=True)
class Difference:
    """Mean difference over clients.

    Args:
        clients: that both runs were judged on.
        mean: of A − B, in the metric's unit.
        low: lower end of its 95 % bootstrap interval, people resampled.
        wins: share of clients on which A is better.
    """

    clients: int
    mean: float
    low: float
    high: float
    wins: float

    @property
    def clear(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def paired_difference(a: PlotLine, b: PlotLine, metric: str) -> Difference | None:
    """A − B after each one's last adaptation step, paired by client.

    Returns:
        None where the two were not asked the same episodes, or share no client.
    """
    if not a.run.pairs_with(b.run):
        return None
    mine = {row["client"]: row for row in a.clients(a.last_step(), metric)}
    theirs = {row["client"]: row["value"] for row in b.clients(b.last_step(), metric)}
    both = sorted(client for client in mine if client in theirs)
    if not both:
        return None
    values = np.array([mine[c]["value"] - theirs[c] for c in both], dtype=np.float64)
    people = {user: i for i, user in enumerate(sorted({mine[c]["user"] for c in both}))}
    low, high = bootstrap(values, np.array([people[mine[c]["user"]] for c in both], dtype=np.int64))
    better = values > 0 if larger_is_better(metric) else values < 0
    return Difference(len(both), float(values.mean()), low, high, float(better.mean()))


def leader(lines: list[PlotLine], metric: str) -> PlotLine | None:
    """The line with the best mean after its last step."""
    sign = 1.0 if larger_is_better(metric) else -1.0
    scored = [
        (sign * score["mean"], -i) for i, line in enumerate(lines) if (score := line.at(line.last_step(), metric))
    ]
    return lines[-max(scored)[1]] if scored else None
