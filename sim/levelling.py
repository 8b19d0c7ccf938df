"""Whether training had levelled off when a run ended: the slope of the last third of its curve, against its noise.

The curve is that of looks at held-out people on the way, where there are enough of them, else the mean loss that
clients report. With the straight line a + b x through the points of the last third, x from 0 to 1, the curve moved by
b; it had levelled off where |b| is within two standard errors, or within a twentieth of all that was gained before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metapulse.metrics.table import larger_is_better
from metapulse.server.metatest import headline_metric
from metapulse.sim.scores import minus

POINTS = 4  # of the last third at least
SHARE = 0.05  # of what was gained, that does not count


@dataclass(frozen=True)
class Trend:
    """How a curve ends.

    Args:
        metric: what is on it.
        change: b, over the last third.
        error: its standard error.
        gained: difference of the means of the last and the first third.
    """

    metric: str
    change: float
    error: float
    gained: float

    @property
    def level(self) -> bool:
        """Whether it moved no more than its noise, or next to nothing."""
        return abs(self.change) <= max(2.0 * self.error, SHARE * abs(self.gained))

    def __str__(self) -> str:
        moved = minus(f"{self.change:+.3g} ± {2.0 * self.error:.2g}")
        over = f"{self.metric} {moved} over the last third of the rounds"
        if self.level:
            return f"had levelled off ({over})"
        better = (self.change > 0) == larger_is_better(self.metric)
        return f"had not levelled off: still getting {'better' if better else 'worse'} ({over})"


def trend(metric: str, values: Sequence[float]) -> Trend | None:
    """How a curve ends; None where its last third has too few points, or some are no numbers.

    Args:
        metric: what is on it.
        values: in the order of the rounds, evenly spaced.
    """
    third = len(values) // 3
    if third < POINTS or not all(map(math.isfinite, values)):
        return None
    last, x = np.array(values[-third:]), np.linspace(0.0, 1.0, third)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * last).sum()) / spread
    rest = last - last.mean() - slope * (x - x.mean())
    error = math.sqrt(float((rest**2).sum()) / (third - 2) / spread)
    return Trend(metric, slope, error, float(last.mean() - np.mean(values[:third])))


def looked(scores: Iterable[Mapping[str, Any]], main: str = "") -> tuple[str, list[float]]:
    """The headline metric of looks on the way, round by round: mean over scenarios and shots, at the last step."""
    every = list(scores)
    kept = [s for s in every if s["phase"] == "validation"] or every
    metric = headline_metric(kept, main)
    last = max((s["step"] for s in kept), default=0)
    rounds: dict[int, list[float]] = {}
    for score in kept:
        if score["metric"] == metric and score["step"] == last and score["mean"] is not None:
            rounds.setdefault(score["round"], []).append(score["mean"])
    return metric, [sum(rounds[r]) / len(rounds[r]) for r in sorted(rounds)]


def run_trend(events: Iterable[Mapping[str, Any]], scores: Iterable[Mapping[str, Any]], main: str = "") -> Trend | None:
    """How a run's curve ends; None where there is no curve to tell by.

    Args:
        scores: as in summary.json.
        main: the metric that was chosen to be looked at; "": none was.
    """
    losses = [event.get("loss") for event in events if event.get("kind") == "round"]
    told = [float(loss) if isinstance(loss, (int, float)) else math.nan for loss in losses]
    return trend(*looked(scores, main)) or trend("training loss", told)


def levelling(events: Iterable[Mapping[str, Any]], scores: Iterable[Mapping[str, Any]], main: str = "") -> str:
    """The same as the end of a sentence about a run."""
    found = run_trend(events, scores, main)
    return "has too few rounds, or no loss, to tell whether it had levelled off" if found is None else str(found)
