"""Scores of all methods at equal cost: the total cost of the cheapest."""

from __future__ import annotations

import polars as pl

from metapulse.sim.report.comparison.curves import cost_of_a_round
from metapulse.sim.report.comparison.view import ComparisonView, plain_mean

#: Budgets that are held equal: column of a round's cost → in words.
BUDGETS = {"flops": "equal compute", "bytes": "equal communication"}


def at_equal_cost(view: ComparisonView, dataset: str, kind: str) -> tuple[float, dict[str, tuple[int, float]]]:
    """Scores on validation people under one budget.

        budget = min over methods of rounds × cost of a round, methods that cost nothing left out

    A run's cost is spread evenly over its rounds.

    Args:
        kind: key of ``BUDGETS``.

    Returns:
        The budget (0 where nothing costs anything), and method → (last round looked at within it, mean over scenarios,
        shots, seeds and clients at the judged step); methods without a look within it are left out.
    """
    rounds = dict(
        view.folder.costs.filter(pl.col("dataset") == dataset).group_by("method").agg(pl.col("rounds").max()).rows()
    )
    each = {method: costs[kind] for method, costs in cost_of_a_round(view, dataset).items()}
    budget = min((rounds[method] * cost for method, cost in each.items() if cost > 0), default=0.0)
    found = {}
    for method in view.methods if dataset in view.validated else ():
        mine = view.validated[dataset].filter(pl.col("method") == method)
        # A hair more than the budget, so that the cheapest method's own last round is within it.
        within = mine.filter(pl.col("round") * each.get(method, 0.0) <= budget * (1 + 1e-9))
        if len(within):
            last = int(within["round"].max())  # type: ignore[arg-type]
            scores = within.filter(pl.col("round") == last).group_by("scenario", "shots").agg(pl.col("value").mean())
            found[method] = (last, plain_mean(scores.sort("scenario", "shots")["value"].to_list()))
    return budget, found
