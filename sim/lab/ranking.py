"""Methods in order of their mean ranks: within a data set, and over data sets with Friedman's test.

The questions of a data set (scenarios, shots) are put to the same runs, so they are not blocks of their own: a data set
is one block, in which a method's rank is that of its mean rank over the questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from metapulse.sim.lab.comparison import Ranking, Score
from metapulse.sim.lab.statistics.ranks import Scores, cliques, critical_difference, friedman, mean_ranks


def within(dataset: str, scores: Iterable[Score], failed: Sequence[str] = ()) -> Ranking:
    """Mean ranks over the questions of a data set, of the methods that answered all of them.

    Args:
        failed: methods that diverged, which share the last rank on every question.
    """
    questions: dict[tuple[str, int], dict[str, float]] = {}
    for score in scores:
        if score.dataset == dataset:
            merit = score.last.value if score.higher else -score.last.value
            questions.setdefault((score.scenario, score.shots), {})[score.method] = merit
    for merits in questions.values():
        merits.update(dict.fromkeys(failed, -np.inf))
    names, blocks = _blocks(list(questions.values()))
    names, ranks = _ordered(names, mean_ranks(blocks).tolist())
    return Ranking(dataset, names, ranks, None, (), None, len(blocks))


def over_datasets(rankings: Sequence[Ranking], without: Sequence[str] = ()) -> Ranking | None:
    """Mean ranks over data sets, of the methods that are ranked in all of them.

    Args:
        rankings: one per data set.
        without: methods that are left out: baselines, which would make others look alike.

    Returns:
        None for fewer than two data sets or three methods, which have no such test.
    """
    ranked = [zip(r.methods, r.ranks, strict=True) for r in rankings]
    names, blocks = _blocks([{m: -rank for m, rank in one if m not in without} for one in ranked])
    if len(blocks) < 2 or len(names) < 3:
        return None
    cd = critical_difference(len(names), len(blocks))
    p = friedman(blocks)
    names, ranks = _ordered(names, mean_ranks(blocks).tolist())
    alike = tuple(names[first : last + 1] for first, last in cliques(np.array(ranks), cd))
    return Ranking(None, names, ranks, cd, alike, p, len(blocks))


def _blocks(merits: Sequence[dict[str, float]]) -> tuple[tuple[str, ...], Scores]:
    """The methods that are in every block, and a table of them, more is better."""
    names = tuple(name for name in (merits[0] if merits else ()) if all(name in block for block in merits))
    return names, np.array([[block[name] for name in names] for block in merits]).reshape(len(merits), len(names))


def _ordered(names: Sequence[str], ranks: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    order = sorted(range(len(names)), key=lambda i: ranks[i])
    return tuple(names[i] for i in order), tuple(ranks[i] for i in order)
