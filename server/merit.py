"""One number for a look at validation people: what decides on rounds, settings and adaptation steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from metapulse.metrics.table import larger_is_better
from metapulse.server.metatest import Row, headline_metric, rows_in_means


def best_steps(rows: Sequence[Row], main: str = "") -> dict[tuple[str, int], tuple[int, float]]:
    """(Scenario, shots) → the adaptation step with the best mean over people of the headline metric, and that mean.

    A step at which fewer clients have a number than at another is not chosen: where an error overflows there is no row,
    and the mean would be that of the others.

    Args:
        rows: of one look, or of looks that are equally good samples: of several seeds.
        main: the chosen headline, as for ``metapulse.server.metatest.headline_metric``.

    Returns:
        Larger is better, a loss has its sign changed; of equals the first that is met. Empty without such rows.
    """
    rows = rows_in_means(rows)
    metric = headline_metric(rows, main)
    sign = 1.0 if larger_is_better(metric) else -1.0
    curves: dict[tuple[str, int], dict[int, dict[str, list[float]]]] = {}
    for row in rows:
        if row["metric"] == metric:
            steps = curves.setdefault((row["scenario"], row["shots"]), {})
            steps.setdefault(row["step"], {}).setdefault(row["user"], []).append(row["value"])
    means = {question: {k: sign * value for k, value in _means(steps).items()} for question, steps in curves.items()}
    return {q: max(found.items(), key=lambda item: item[1]) for q, found in means.items()}


def _means(steps: Mapping[int, Mapping[str, Sequence[float]]]) -> dict[int, float]:
    """The mean over people at each step that has a number of every client."""
    answered = {step: sum(map(len, people.values())) for step, people in steps.items()}
    most = max(answered.values())
    return {
        step: sum(sum(own) / len(own) for own in people.values()) / len(people)
        for step, people in steps.items()
        if answered[step] == most
    }


def merit(rows: Sequence[Row], main: str = "") -> float | None:
    """What a look at validation people says of θ, larger is better; None without a finite mean.

    The headline metric, mean over scenarios and shots of each one's best step; a loss counts with its sign changed.

    Args:
        rows: as for ``best_steps``.
        main: likewise.
    """
    best = [value for _, value in best_steps(rows, main).values()]
    mean = sum(best) / len(best) if best else math.nan
    return mean if math.isfinite(mean) else None
