"""How wrong a kind of map is on people held out, after so many hours of overlap: what kinds are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from metapulse.gaussian_head import GaussianHead
from metapulse.migration.linear import (
    LEARNED_ROWS,
    OVERLAP_ROWS,
    Evidence,
    believe,
    foretell,
    learn_prior,
    take_rows,
)
from metapulse.migration.pairs import Paired
from metapulse.migration.terms import Terms

FOLDS = 5
NORMAL_90 = 1.6448536269514722  # 95 % quantile of a standard normal


@dataclass(frozen=True)
class HeldOut:
    """Of one kind at one overlap.

    Args:
        hours: of overlap.
        people: who were judged.
        rmse, rmse_identity: of the map and of the old reading itself, mean over people, the metric's unit.
        explained: 1 − mean square error / variance of a person's new readings around their mean, both over people.
        factor: of the model's band, so that nine in ten readings lie inside.
        coverage: of the band, with the factor that the other folds tell.
    """

    hours: float
    people: int
    rmse: float
    rmse_identity: float
    explained: float
    factor: float
    coverage: float


@dataclass(frozen=True)
class _Judged:
    """Of one person: mean square error of the map and of the old reading, variance, |error| in standard deviations."""

    fold: int
    error: float
    old: float
    variance: float
    apart: np.ndarray


def judge(terms: Terms, evidence: Evidence, people: Sequence[Paired], overlaps: Sequence[float]) -> list[HeldOut]:
    """A kind of map on people held out, a fold at a time: each one's first hours tell, the rest is judged.

    Args:
        terms: of the map.
        evidence: how pairs count.
        people: everyone, at least two.
        overlaps: hours; one that no person has more than is left out.
    """
    fold = np.arange(len(people)) % min(FOLDS, len(people))
    rows = take_rows(terms, people, LEARNED_ROWS)
    priors = [learn_prior(terms, rows.of(torch.tensor(np.flatnonzero(fold != k))), evidence) for k in np.unique(fold)]
    found = []
    for hours in overlaps:
        judged = [
            one
            for k, prior in enumerate(priors)
            for one in _judge(terms, evidence, prior, [people[i] for i in np.flatnonzero(fold == k)], hours, k)
        ]
        if len({one.fold for one in judged}) > 1:
            found.append(_summary(judged, hours))
    return found


def _judge(
    terms: Terms, evidence: Evidence, prior: GaussianHead, people: Sequence[Paired], hours: float, fold: int
) -> list[_Judged]:
    seen = [one.hours < one.hours[0] + hours for one in people]
    pairs = [(one, mask) for one, mask in zip(people, seen, strict=True) if (~mask).sum() >= 2]
    if not pairs:
        return []
    support = take_rows(terms, [one.where(mask) for one, mask in pairs], OVERLAP_ROWS)
    query = take_rows(terms, [one for one, _ in pairs], LEARNED_ROWS, [~mask for _, mask in pairs])
    mean, variance = foretell(believe(prior, support, evidence), evidence, terms, query)
    found = []
    for row, mask in enumerate(query.mask.bool()):
        new, old = query.new[row][mask], terms.centre + terms.scale * query.level[row][mask]
        miss = new - mean[row][mask]
        apart = (miss.abs() / variance[row][mask].sqrt()).numpy()
        square, bare, spread = (float(part.square().mean()) for part in (miss, new - old, new - new.mean()))
        found.append(_Judged(fold, square, bare, spread, apart))
    return found


def _summary(judged: Sequence[_Judged], hours: float) -> HeldOut:
    inside = [one.apart <= _quantile([other for other in judged if other.fold != one.fold]) for one in judged]
    return HeldOut(
        hours,
        len(judged),
        float(np.mean([one.error**0.5 for one in judged])),
        float(np.mean([one.old**0.5 for one in judged])),
        1.0 - sum(one.error for one in judged) / max(sum(one.variance for one in judged), 1e-12),
        _quantile(judged) / NORMAL_90,
        float(np.mean(np.concatenate(inside))),
    )


def _quantile(judged: Sequence[_Judged]) -> float:
    return float(np.quantile(np.concatenate([one.apart for one in judged]), 0.9))
