"""Why a forecast is what it is: what of the window moved it, and how much of it is the person's own.

Against a baseline window x₀, the mean of the population, the forecast's difference ŷ(x) − ŷ(x₀) is told apart by input
(channel and time). For a model that is linear in its window all three ways agree and sum to it exactly; for others the
integrated gradients still do, up to the steps of their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metapulse.errors import DataError
from metapulse.gaussian_head import GaussianHead
from metapulse.personal.features import FeatureMap

if TYPE_CHECKING:
    import polars as pl

    from metapulse.personal.person import PersonModel

STEPS = 64  # of the path from the baseline to the window

#: A number for every input of one window.
ByInput = Float64[np.ndarray, "*features"]


@dataclass(frozen=True)
class Attribution:
    """What each input contributed to ŷ(x) − ŷ(x₀), in units of the target.

    Args:
        gradient: ∂ŷ/∂x · (x − x₀): how the forecast would move if this input were a little different.
        integrated: (x − x₀) · ∫ ∂ŷ/∂x(x₀ + t(x − x₀)) dt (Sundararajan, Taly and Yan 2017, arXiv:1703.01365,
            equation 1); sums to the difference.
        occlusion: ŷ(x) − ŷ(x with this input as in x₀) (Zeiler and Fergus 2014, arXiv:1311.2901).
        difference: ŷ(x) − ŷ(x₀).
    """

    gradient: ByInput
    integrated: ByInput
    occlusion: ByInput
    difference: float


@dataclass(frozen=True)
class Lean:
    """Whose experience one forecast rests on.

    Args:
        population: k̄ᵀf(x), the population's mean head, in units of the target.
        own: (K̄ − k̄)ᵀf(x), what the person's record has changed; the forecast is the sum.
        known: 1 − fᵀCf / fᵀC₀f, the share of what was unsure of the head in such a window that the record has removed.
    """

    population: float
    own: float
    known: float


def attribute(
    features: FeatureMap,
    head: Float64[Tensor, "width outputs"],
    x: Float64[np.ndarray, "*features"],
    baseline: Float64[np.ndarray, "*features"],
) -> Attribution:
    """Contributions of one window's inputs to its forecast.

    Inputs are changed after the transform, which is affine in a window wherever it is not of the whole pool.

    Args:
        features: encoder and transform.
        head: K̄.
        x: the window, as the recipe gives it.
        baseline: x₀.
    """
    here, there = (features.inputs(one[None].astype(np.float32))[0] for one in (x, baseline))
    apart = here - there
    along = (torch.arange(STEPS) + 0.5) / STEPS  # midpoints: exact for what is linear on the way
    path = there + along.view(-1, *(1,) * here.dim()) * apart
    integrated = _slope(features, head, path).mean(0)
    gradient = _slope(features, head, here[None])[0]
    size = here.numel()
    occluded = here.flatten().expand(size, size).clone()
    occluded[range(size), range(size)] = there.flatten()
    with torch.no_grad():
        answers = features.embed(torch.cat([here[None], there[None], occluded.view(size, *here.shape)])) @ head[:, 0]
    parts = (gradient * apart, integrated * apart, (answers[0] - answers[2:]).view(here.shape))
    return Attribution(*(part.double().numpy() for part in parts), float(answers[0] - answers[1]))


def _slope(features: FeatureMap, head: Tensor, inputs: Tensor) -> Tensor:
    leaf = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        answer = (features.embed(leaf) @ head[:, 0]).sum()
        return torch.autograd.grad(answer, leaf)[0]


def lean(prior: GaussianHead, belief: GaussianHead, features: Float64[Tensor, " width"]) -> Lean:
    """Whose experience a forecast rests on.

    Args:
        prior: of the population.
        belief: after the person's record.
        features: f(x) of one window.
    """
    shares = [float(features @ one.mean[0, :, 0]) for one in (prior, belief)]
    unsure = [float(features @ one.covariance[0] @ features) for one in (prior, belief)]
    known = 1.0 - unsure[1] / unsure[0] if unsure[0] > 0 else 0.0
    return Lean(shares[0], shares[1] - shares[0], min(max(known, 0.0), 1.0))


def explained(
    model: PersonModel, belief: GaussianHead, x: np.ndarray, unit: float
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A table of what moved one forecast, strongest first, and facts on where it comes from, in the metric's unit.

    Args:
        model: the person's.
        belief: over the head when the forecast was made.
        x: the window.
        unit: of the target, in the metric's.

    Returns:
        ``input``, ``back`` (how many steps before the forecast), ``value`` (as the model reads it), ``integrated``,
        ``gradient``, ``occlusion``; and ``difference`` from the forecast of a typical window, ``left``, what the
        integrated gradients lack of it, ``population``, ``own`` and ``known``.
    """
    import polars as pl

    found = attribute(model.features, belief.mean[0], x, model.start.typical)
    wide = x.reshape(x.shape[0], -1)
    names = model.features.task.names or (model.made.metrics[0],) * len(wide)
    channel, step = np.indices(wide.shape)
    table = pl.DataFrame(
        {
            "input": [names[c] for c in channel.ravel()],
            "back": wide.shape[1] - 1 - step.ravel(),
            "value": wide.ravel().astype(np.float64),
            **{k: unit * getattr(found, k).ravel() for k in ("integrated", "gradient", "occlusion")},
        }
    ).sort(pl.col("integrated").abs(), descending=True, maintain_order=True)
    rests = lean(model.prior, belief, model.features.of(x[None].astype(np.float32))[0])
    facts = {
        "difference": unit * found.difference,
        "left": unit * (found.difference - float(found.integrated.sum())),
        "population": unit * rests.population,
        "own": unit * rests.own,
        "known": rests.known,
    }
    return table, facts


def moment(times: np.ndarray, at: str) -> int:
    """Which of the forecasts was the last one made up to a time; "": the last of all.

    Args:
        times: of the forecasts, µs in UTC, sorted, at least one.
        at: ISO 8601; without an offset, UTC.

    Raises:
        DataError: it is no time, or before the first forecast.
    """
    from datetime import UTC, datetime

    if not at:
        return len(times) - 1
    try:
        told = datetime.fromisoformat(at)
    except ValueError:
        raise DataError(f"at = {at!r}: must be a time like 2024-05-17T08:30") from None
    stamp = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1e6
    place = int(np.searchsorted(times, stamp, side="right")) - 1
    if place < 0:
        first = datetime.fromtimestamp(times[0] / 1e6, UTC).isoformat(timespec="minutes")
        raise DataError(f"at = {at!r}: the first forecast was made at {first}")
    return place
