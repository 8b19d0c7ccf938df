"""A person's forecasts one after the other, each from what was known at its own moment: prequential (Dawid 1984).

At every moment: outcomes that have come judge the interval they were promised and update the head; then the forecast
is made. No forecast knows an outcome that came later, so a record that was learned from can be forecast honestly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from metapulse.gaussian_head import GaussianHead, condition, predictive
from metapulse.personal.conformal import Conformal, judge, radius
from metapulse.personal.features import FeatureMap
from metapulse.personal.start import PopulationStart
from metapulse.record.recipes.base import Questions

#: Forecasts after which the head is refreshed for every second one only, then for every third, …, at last every 36th:
#: every three hours of five-minute readings. It depends on what came before alone, so that a record may grow.
EACH = 500
RAREST = 36
ALWAYS = -(2**63)  # µs: known from before any reading
Numbers = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class PersonState:
    """What changes as a person is watched.

    Args:
        belief: over the head, a stack of one.
        interval: conformal state.
    """

    belief: GaussianHead
    interval: Conformal


@dataclass(frozen=True)
class Origin:
    """What is believed of the head without the device's own outcomes, and from when on.

    Args:
        known_from: moment in µs since 1970 at which all that it rests on had been seen; ``ALWAYS``: before the device.
        belief: over the head, a stack of one.
    """

    known_from: int
    belief: GaussianHead


@dataclass(frozen=True)
class Forecasts:
    """Forecasts in units of the target, one for each question.

    Args:
        mean: ŷ.
        scale: ŝ, its spread before calibration.
        promised: r, so that the interval is ŷ ± r ŝ.
        unlike: squared distance of the window from the population's.
        outcomes: how many outcomes of the person had come.
    """

    mean: Numbers
    scale: Numbers
    promised: Numbers
    unlike: Numbers
    outcomes: Numbers


def sample_weights(questions: Questions) -> Numbers:
    """What each window counts for as a sample: min(1, time since the one before / time to its outcome).

    Errors of forecasts h ahead that are made every g < h share what happens in between; n of them say about as much as
    ng/h that do not (the variance of a mean of a moving average of h/g terms).
    """
    gap = np.diff(questions.time, prepend=questions.time[:1] - 2**60)
    ahead = np.maximum(questions.due - questions.time, 1)
    weights: Numbers = np.minimum(gap / ahead, 1.0)
    return weights


def told(belief: GaussianHead, features: Float64[Tensor, "n width"], y: Numbers, weights: Numbers) -> GaussianHead:
    """The belief after outcomes, each counting for its weight."""
    rows = np.flatnonzero(~np.isnan(y) & (weights > 0))
    if not len(rows):
        return belief
    at = torch.from_numpy(rows)
    targets, mask = torch.from_numpy(y[rows])[:, None], torch.from_numpy(weights[rows])
    after = condition(belief, features[at][None], targets[None], mask[None])
    # Rows in order in memory, as after loading: sums over another layout round otherwise.
    return GaussianHead(after.mean.contiguous(), after.covariance.contiguous(), after.noise)


def spreads(start: PopulationStart, belief: GaussianHead, features: Tensor, x: np.ndarray) -> tuple[Numbers, Numbers]:
    """ŷ and ŝ of windows under a belief: the predictive mean and deviation, the noise scaled by the window."""
    mean, variance = predictive(belief, features[None])
    rough = start.rough.of(x) if len(x) else np.empty(0)
    return mean[0, :, 0].numpy(), variance[0, :, 0].sqrt().numpy() * rough


def walk(
    start: PopulationStart,
    features: FeatureMap,
    state: PersonState,
    questions: Questions,
    refreshes: int = 0,
    later: Sequence[Origin] = (),
) -> tuple[Forecasts, PersonState]:
    """Forecasts of one device's questions in order of time, and the state after their outcomes.

    Args:
        start: of the population.
        features: the encoder, fixed.
        state: before.
        questions: sorted by time.
        refreshes: of the head, evenly over all questions, so that each serves several; 0: at each of the first
            ``EACH``, and ever more rarely.
        later: what takes the place of the belief that ``state`` began from, in order of time; each from the first
            refresh at or after its moment on, with all own outcomes that had come.

    Returns:
        Forecasts, and the state after all outcomes that came up to the last moment told of.
    """
    n = len(questions)
    seen = features.of(questions.x)
    weights, y = sample_weights(questions), questions.y
    known = np.flatnonzero(~np.isnan(y))
    order = known[np.argsort(questions.due[known], kind="stable")]
    due = questions.due[order]
    parts = [np.full(n, np.nan) for _ in range(4)]
    mean, scale, promised, outcomes = parts
    first = taken = begun = 0
    while first < n:
        chunk = -(-n // refreshes) if refreshes else _served(first)
        upto = int(np.searchsorted(due, questions.time[first], side="right"))
        state = _take(state, order[taken:upto], seen, y, weights, (mean, scale, promised))
        taken = upto
        if turned := [one for one in later[begun:] if one.known_from <= questions.time[first]]:
            begun += len(turned)
            state = replace(state, belief=_told_rows(turned[-1].belief, order[:taken], seen, y, weights))
        here = slice(first, first + chunk)
        mean[here], scale[here] = spreads(start, state.belief, seen[here], questions.x[here])
        promised[here], outcomes[here] = radius(state.interval), taken
        first += chunk
    state = _take(state, order[taken:], seen, y, weights, (mean, scale, promised))
    if later[begun:]:
        state = replace(state, belief=_told_rows(later[-1].belief, order, seen, y, weights))
    return Forecasts(mean, scale, promised, start.distance(seen), outcomes), state


def refreshed_at(place: int) -> int:
    """Which forecast of a walk the head of another was last refreshed at.

    Args:
        place: of the other, from 0.
    """
    first = 0
    while first + _served(first) <= place:
        first += _served(first)
    return first


def _served(first: int) -> int:
    """How many forecasts the head that is refreshed at one of them serves."""
    return min(1 + first // EACH, RAREST)


def _take(
    state: PersonState,
    rows: np.ndarray,
    seen: Tensor,
    y: Numbers,
    weights: Numbers,
    made: tuple[Numbers, Numbers, Numbers],
) -> PersonState:
    """The state after the outcomes of some forecasts."""
    if not len(rows):
        return state
    mean, scale, promised = (part[rows] for part in made)
    interval = state.interval
    for score, radius_then in zip((np.abs(y[rows] - mean) / scale).tolist(), promised.tolist(), strict=True):
        interval = judge(interval, score, radius_then)
    return PersonState(_told_rows(state.belief, rows, seen, y, weights), interval)


def _told_rows(belief: GaussianHead, rows: np.ndarray, seen: Tensor, y: Numbers, weights: Numbers) -> GaussianHead:
    return told(belief, seen[torch.from_numpy(rows)], y[rows], weights[rows])


def inside(questions: Questions, made: Forecasts) -> Bool[np.ndarray, " n"]:
    """Whether the outcome lay in its interval; False where it has not come."""
    hit: np.ndarray = np.abs(questions.y - made.mean) <= made.promised * made.scale
    return hit
