"""The population's start from people's windows: the prior by empirical Bayes, then how far other people's err.

Two groups, so that no error is told of a person who was learned from: ``taught`` people make the prior and say how
rough windows are, ``judged`` people are forecast from it one after the other, as a new person will be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metapulse.empirical_bayes import fit
from metapulse.errors import DataError
from metapulse.gaussian_head import GaussianHead
from metapulse.personal.conformal import conformal
from metapulse.personal.features import FeatureMap
from metapulse.personal.start import LEVELS, PopulationStart, Roughness
from metapulse.personal.walk import PersonState, walk
from metapulse.record.recipes.base import Questions
from metapulse.windows import evenly

WINDOWS = 300  # of a person that the prior is learned from, evenly spaced
ROUNDS = 30  # of EM; the evidence hardly moves after
SHARE = 0.1  # of the noise's variance: what the start of EM lets people's heads differ by, in a typical window
RARE = 1e-3  # share of the population's windows that are called unlike it
FLOOR = 1e-2  # of a typical variance, added in every direction of the features: what never varied may still vary
REFRESHES = 100  # of the head along a judged person's record

#: Told how many of how many people are done.
Done = Callable[[int, int], None]


def learn_start(
    features: FeatureMap,
    taught: Sequence[Questions],
    judged: Sequence[Questions],
    facts: Mapping[str, Any],
    prior: GaussianHead | None = None,
    done: Done = lambda now, all: None,
) -> PopulationStart:
    """What a person's model begins with.

    Args:
        features: the run's encoder.
        taught: windows of people whom the prior may be learned from.
        judged: windows of people of whom nothing was learned.
        facts: what is to be said of it.
        prior: the run's own, where its method has one; None: by empirical Bayes on the features.
        done: told of progress.

    Raises:
        DataError: there are too few people or windows.
    """
    settled = [asked.where(~np.isnan(asked.y)) for asked in taught]
    settled = [asked.where(evenly(np.arange(len(asked)), WINDOWS)) for asked in settled if len(asked) >= 2]
    judged = [asked for asked in judged if (~np.isnan(asked.y)).sum() >= 2]
    if len(settled) < 2 or not judged:
        people = f"{len(settled)} people to learn from and {len(judged)} to judge"
        raise DataError(f"{people}: a start of a population takes 2 and 1 with 2 windows or more")
    seen = [features.of(asked.x) for asked in settled]
    centre, spread = _distribution(seen)
    inverse = torch.linalg.inv(spread)
    whitening = torch.linalg.cholesky(inverse).T.contiguous()
    if prior is None:
        prior = _prior(seen, [asked.y for asked in settled], centre, spread)
    prior = GaussianHead(*(getattr(prior, part).contiguous() for part in ("mean", "covariance", "noise")))
    rough = _roughness(prior, seen, settled)
    typical = np.mean([asked.x.mean(0, dtype=np.float64) for asked in settled], 0)
    start = PopulationStart(prior, rough, LEVELS, typical, centre, whitening, np.inf, facts)
    scores, far = [], []
    for number, asked in enumerate(judged):
        state = PersonState(prior, conformal(np.empty(0)))
        made, _ = walk(start, features, state, asked, refreshes=REFRESHES)
        known = ~np.isnan(asked.y)
        scores.append((np.abs(asked.y - made.mean) / made.scale)[known])
        far.append(made.unlike)
        done(number + 1, len(judged))
    far += [start.distance(one) for one in seen]
    told = {"people": len(settled), "judged": len(judged), "windows": sum(map(len, scores)), **facts}
    unlike = float(mixture_quantiles(far, np.array([1.0 - RARE]))[0])
    quantiles = mixture_quantiles(scores, LEVELS)
    return PopulationStart(prior, rough, quantiles, typical, centre, whitening, unlike, told)


def mixture_quantiles(
    of_each: Sequence[Float64[np.ndarray, " n"]], levels: Float64[np.ndarray, " k"]
) -> Float64[np.ndarray, " k"]:
    """Quantiles of a mixture in which every person counts alike, however many numbers each has."""
    values = np.concatenate(list(of_each))
    weights = np.concatenate([np.full(len(one), 1.0 / max(len(one), 1)) for one in of_each])
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    quantiles: np.ndarray = values[order][np.minimum(np.searchsorted(below, levels), len(values) - 1)]
    return quantiles


def _distribution(seen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of features, each person counting alike, with a floor in every direction."""
    centre = torch.stack([one.mean(0) for one in seen]).mean(0)
    second = torch.stack([(one - centre).T @ (one - centre) / len(one) for one in seen]).mean(0)
    floor = FLOOR * second.diagonal().mean().clamp(min=1e-12)
    return centre, second + floor * torch.eye(len(second)).double()


def _prior(seen: Sequence[Tensor], y: Sequence[np.ndarray], centre: Tensor, spread: Tensor) -> GaussianHead:
    """By EM, from the pooled least squares and heads that differ alike in all directions a window may take.

    The covariance is drawn towards that start with the weight of as many people as the head has numbers.
    """
    width, most = len(centre), max(map(len, seen))
    x = torch.stack([torch.nn.functional.pad(one, (0, 0, 0, most - len(one))) for one in seen])
    targets = torch.stack([torch.from_numpy(np.pad(one, (0, most - len(one)))) for one in y])[:, :, None]
    mask = torch.stack([(torch.arange(most) < len(one)).double() for one in seen])
    wide, all = torch.cat(list(seen)), torch.from_numpy(np.concatenate(list(y)))[:, None]
    second = spread + torch.outer(centre, centre)
    gram = wide.T @ wide / len(wide)
    head = torch.linalg.solve(gram + 1e-6 * second, wide.T @ all / len(wide))
    noise = (all - wide @ head).square().mean().clamp(min=1e-12)
    covariance = SHARE / width * torch.linalg.inv(second)
    start = GaussianHead(head[None], covariance[None], noise.view(1, 1))
    return fit(x, targets, mask, start, ROUNDS, covariance, width / len(seen))


def _roughness(prior: GaussianHead, seen: Sequence[Tensor], settled: Sequence[Questions]) -> Roughness:
    """Ridge regression of log |y − ŷ| on the terms of a window, each person counting alike; mean square scale 1."""
    size = Roughness.terms(settled[0].x[:1]).shape[1]
    gram, moment = np.zeros((size, size)), np.zeros(size)
    errors = [np.abs(asked.y - (one @ prior.mean[0, :, 0]).numpy()) for one, asked in zip(seen, settled, strict=True)]
    noise = float(prior.noise[0, 0]) ** 0.5
    for error, asked in zip(errors, settled, strict=True):
        terms = Roughness.terms(asked.x)
        gram += terms.T @ terms / len(terms)
        moment += terms.T @ np.log(error / noise + 0.05) / len(terms)
    gram = gram / len(settled) + 1e-3 * np.eye(size)
    weights = np.linalg.solve(gram, moment / len(settled))
    rough = Roughness(weights)
    ratio = np.mean([np.square(e / noise / rough.of(a.x)).mean() for e, a in zip(errors, settled, strict=True)])
    return Roughness(weights + np.log(ratio) / 2 * np.eye(size)[0])
