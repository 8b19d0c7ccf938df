"""A person's model from the population's start and the person's record: old device's history, new device's outcomes.

The history enters as a power prior (Ibrahim and Chen 2000, "Power prior distributions for regression models"): its
likelihood to the power a₀ in [0, 1], which the new device's outcomes choose by their evidence, as they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metapulse.gaussian_head import GaussianHead, log_evidence
from metapulse.personal.conformal import conformal
from metapulse.personal.features import FeatureMap
from metapulse.personal.past import PastDevice
from metapulse.personal.person import Abstention, PersonModel
from metapulse.personal.start import PopulationStart
from metapulse.personal.walk import ALWAYS, Forecasts, Origin, PersonState, inside, sample_weights, told, walk
from metapulse.record.recipes.base import Questions

POWERS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # a₀ that are compared
UNTRIED = 1.0  # a₀ while the new device has too few outcomes to choose it
ENOUGH = 12.0  # outcomes of the new device, in windows that do not overlap, from which they choose a₀
UNFAMILIAR = 0.6  # τ: how far a device's answer to a trend may be from another's
MISS = 0.1  # α: intervals are of 90 %


def unfamiliar(prior: GaussianHead) -> GaussianHead:
    """The prior for a device that the population has not worn: its mean head may be too strong or too weak.

    C' = C + τ² k̄k̄ᵀ / s² with τ = ``UNFAMILIAR``: the new device may answer to a trend with (1 ± τ) k̄, which has
    "nothing changes", a head of zero, within two deviations.
    """
    along = prior.mean / prior.noise.sqrt().unsqueeze(1)
    return GaussianHead(prior.mean, prior.covariance + UNFAMILIAR**2 * along @ along.transpose(1, 2), prior.noise)


def adapted(
    recipe: str | Mapping[str, Any],
    features: FeatureMap,
    start: PopulationStart,
    own: Questions,
    pasts: Sequence[PastDevice],
    card: Mapping[str, Any],
    abstention: Abstention = Abstention(),  # noqa: B008  # frozen
    known_device: bool = True,
) -> PersonModel:
    """The model after all that has come.

    Only windows of the old device whose outcome came before the new device's first forecast are used: the history
    never holds the moments that are asked about.

    Args:
        recipe: what is forecast.
        features: the run's encoder.
        start: the population's.
        own: windows of the new device.
        pasts: of the old one, by each map there is, in order of ``known_from``; may be empty.
        card: what is known of the run and the record; numbers of the adaptation are added.
        abstention: when forecasts are withheld.
        known_device: whether people of the population wore such a device.
    """
    features = features.fitted_on(own.x)
    prior = start.prior if known_device else unfamiliar(start.prior)
    origins, facts = _origins(prior, features, own, pasts)
    fresh = PersonState(origins[0].belief, conformal(start.scores, MISS))
    made, state = walk(start, features, fresh, own, later=origins[1:])
    reasons = abstention.reasons(own, made, start.unlike)
    told_of = {**card, **facts, **performance(own, made, reasons)}
    told_of["adapted_until"] = int(own.time[-1]) if len(own) else 0
    return PersonModel(
        recipe,
        features,
        start,
        origins,
        state.belief,
        state.interval,
        pasts[-1].map if pasts else None,
        told_of,
        abstention,
    )


def _origins(
    prior: GaussianHead, features: FeatureMap, own: Questions, pasts: Sequence[PastDevice]
) -> tuple[tuple[Origin, ...], dict[str, Any]]:
    """The belief after the history, as it could be known at each moment: by the map of then, to the power of then."""
    if not pasts:
        return (Origin(ALWAYS, prior),), {"history": 0, "power": 0.0}
    before = own.time[0] if len(own) else np.iinfo(np.int64).max
    history = [tuple(old.where(old.due < before) for old in past.draws) for past in pasts]
    ladders = [_by_power(prior, features, draws) for draws in history]
    outcomes = _Outcomes.of(own, features)
    turns = {past.known_from for past in pasts} | outcomes.turns()
    turns |= {int(own.time[-1]) + 1} if len(own) else set()  # with all that came, for forecasts to come
    origins, power, why = [Origin(ALWAYS, prior)], 0.0, ""
    for moment in sorted(turns):
        known = sum(past.known_from <= moment for past in pasts)
        if known:
            power, why = outcomes.until(moment).power(ladders[known - 1])
            if ladders[known - 1][power] is not origins[-1].belief:
                origins.append(Origin(moment, ladders[known - 1][power]))
    if len(origins) > 1 and origins[1].known_from == ALWAYS:
        del origins[0]
    windows = int((~np.isnan(history[-1][0].y)).sum())
    return tuple(origins), {
        "old_device": pasts[-1].device,
        "mapped": ", ".join(pasts[-1].mapped),
        "as_recorded": ", ".join(pasts[-1].recorded),
        "history": windows,
        "power": power,
        "power_chosen_by": why,
    }


def _by_power(prior: GaussianHead, features: FeatureMap, draws: Sequence[Questions]) -> dict[float, GaussianHead]:
    """The belief after a history to each power."""
    windows = [(features.of(old.x), old.y, sample_weights(old) / len(draws)) for old in draws]
    beliefs = dict.fromkeys(POWERS, prior)
    for power in POWERS:
        for then, came, weights in windows:
            beliefs[power] = told(beliefs[power], then, came, power * weights)
    return beliefs


@dataclass(frozen=True)
class _Outcomes:
    """The new device's outcomes in the order in which they came.

    Args:
        due: when each came.
        seen: features of its window.
        y: what came.
        weights: what it counts for.
    """

    due: np.ndarray
    seen: Tensor
    y: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, own: Questions, features: FeatureMap) -> _Outcomes:
        known = np.flatnonzero(~np.isnan(own.y))
        rows = known[np.argsort(own.due[known], kind="stable")]
        return cls(own.due[rows], features.of(own.x[rows]), own.y[rows], sample_weights(own)[rows])

    def turns(self) -> set[int]:
        """When a power is chosen anew: at ``ENOUGH`` outcomes, twice as many, four times as many, and so on."""
        doubled = ENOUGH * 2.0 ** np.arange(len(self.due).bit_length())
        rows = np.searchsorted(np.cumsum(self.weights), doubled)
        return set(self.due[rows[rows < len(self.due)]].tolist())

    def until(self, moment: int) -> _Outcomes:
        """Those that had come by a moment."""
        n = int(np.searchsorted(self.due, moment, side="right"))
        return _Outcomes(self.due[:n], self.seen[:n], self.y[:n], self.weights[:n])

    def power(self, beliefs: Mapping[float, GaussianHead]) -> tuple[float, str]:
        """The power of the history under which the outcomes are most likely, and what chose it."""
        if self.weights.sum() < ENOUGH:
            return UNTRIED, "too few outcomes of the new device"
        x, y = self.seen[None], torch.from_numpy(self.y)[None, :, None]
        mask = torch.from_numpy(self.weights)[None]
        likely = {power: float(log_evidence(belief, x, y, mask)) for power, belief in beliefs.items()}
        return max(likely, key=lambda power: likely[power]), "evidence of the new device's outcomes"


def performance(own: Questions, made: Forecasts, reasons: np.ndarray) -> dict[str, Any]:
    """Coverage, width and error of a person's forecasts as they were made, and how many were withheld.

    Returns:
        ``forecasts``, ``outcomes``; of those given whose outcome came: ``coverage``, mean ``width`` and ``rmse`` in the
        metric's unit, and ``rmse_unchanged`` of forecasting ``base``; ``abstained``, a share; None where there is none.
    """
    known, given = ~np.isnan(own.y), reasons == ""
    both = known & given
    error = own.unit * (own.y - made.mean)[both]
    plain, width = own.unit * own.y[both], 2.0 * own.unit * (made.promised * made.scale)[both]
    some = bool(both.any())
    return {
        "forecasts": len(own),
        "outcomes": int(known.sum()),
        "abstained": float((~given).mean()) if len(own) else None,
        "coverage": float(inside(own, made)[both].mean()) if some else None,
        "width": float(width.mean()) if some else None,
        "rmse": float(np.sqrt(np.square(error).mean())) if some else None,
        "rmse_unchanged": float(np.sqrt(np.square(plain).mean())) if some else None,
    }
