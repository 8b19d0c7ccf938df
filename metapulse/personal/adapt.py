"""A person's model from the population's start and the person's record: old device's history, new device's outcomes.

The history enters as a power prior (Ibrahim and Chen 2000, "Power prior distributions for regression models"): its
likelihood to the power a₀ in [0, 1], which the new device's outcomes choose by their evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from metapulse.personal.walk import Forecasts, PersonState, inside, sample_weights, told, walk
from metapulse.record.recipes.base import Questions

POWERS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # a₀ that are compared
UNTRIED = 0.1  # a₀ while the new device has too few outcomes to choose it
ENOUGH = 12.0  # outcomes of the new device, in windows that do not overlap, from which they choose a₀
MISS = 0.1  # α: intervals are of 90 %


def adapted(
    recipe: str | Mapping[str, Any],
    features: FeatureMap,
    start: PopulationStart,
    own: Questions,
    past: PastDevice | None,
    card: Mapping[str, Any],
    abstention: Abstention = Abstention(),  # noqa: B008  # frozen
) -> PersonModel:
    """The model after all that has come.

    Only windows of the old device whose outcome came before the new device's first forecast are used: the history
    never holds the moments that are asked about.

    Args:
        recipe: what is forecast.
        features: the run's encoder.
        start: the population's.
        own: windows of the new device.
        past: of the old one; None: there is none.
        card: what is known of the run and the record; numbers of the adaptation are added.
        abstention: when forecasts are withheld.
    """
    prior, seen = start.prior, features.of(own.x)
    first, facts = prior, {"history": 0, "power": 0.0}
    if past is not None:
        first, facts = _with_history(prior, features, own, seen, past)
    fresh = PersonState(first, conformal(start.scores, MISS))
    made, state = walk(start, features, fresh, own)
    reasons = abstention.reasons(own, made, start.unlike)
    told_of = {**card, **facts, **performance(own, made, reasons)}
    told_of["adapted_until"] = int(own.time[-1]) if len(own) else 0
    return PersonModel(
        recipe,
        features,
        start,
        first,
        state.belief,
        state.interval,
        None if past is None else past.map,
        told_of,
        abstention,
    )


def _with_history(
    prior: GaussianHead, features: FeatureMap, own: Questions, seen: Tensor, past: PastDevice
) -> tuple[GaussianHead, dict[str, Any]]:
    """The belief after the history to the power that the new device's outcomes find most likely."""
    before = past.questions.due < own.time[0] if len(own) else np.ones(len(past.questions), bool)
    old = past.questions.where(before)
    then, weights = features.of(old.x), sample_weights(old) * past.trust[before]
    beliefs = {power: told(prior, then, old.y, power * weights) for power in POWERS}
    settled = np.flatnonzero(~np.isnan(own.y))
    mask = sample_weights(own)[settled]
    facts: dict[str, Any] = {"old_device": past.device, "history": int((~np.isnan(old.y)).sum())}
    if mask.sum() < ENOUGH:
        return beliefs[UNTRIED], {**facts, "power": UNTRIED, "power_chosen_by": "too few outcomes of the new device"}
    x, y = seen[torch.from_numpy(settled)][None], torch.from_numpy(own.y[settled])[None, :, None]
    likely = {a: float(log_evidence(one, x, y, torch.from_numpy(mask)[None])) for a, one in beliefs.items()}
    power = max(likely, key=lambda a: likely[a])
    return beliefs[power], {**facts, "power": power, "power_chosen_by": "evidence of the new device's outcomes"}


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
