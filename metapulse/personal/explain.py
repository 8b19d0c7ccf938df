"""Why a forecast is what it is: what of the window moved it, and how much of it is the person's own.

Against a baseline window x₀, the mean of the population, the forecast's difference ŷ(x) − ŷ(x₀) is told apart by input
(channel and time). For a model that is linear in its window all three ways agree and sum to it exactly; for others the
integrated gradients still do, up to the steps of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from metapulse.errors import DataError
from metapulse.gaussian_head import GaussianHead
from metapulse.methods.persistence import KNOWN
from metapulse.personal.features import FeatureMap
from metapulse.personal.start import PopulationStart
from metapulse.record.recipes.base import Recipe
from metapulse.windows import DAY_MIN

if TYPE_CHECKING:
    import polars as pl

STEPS = 64  # of the path from the baseline to the window
PIECES = 4  # of the time that a window covers, in which changes are told apart

#: A number for every input of one window.
ByInput = Float64[np.ndarray, "*features"]


@dataclass(frozen=True)
class Attribution:
    """What each input contributed to ŷ(x) − ŷ(x₀), in units of the target.

    Args:
        gradient: ∂ŷ/∂x · (x − x₀): how the forecast would move if this input were a little different.
        occlusion: ŷ(x) − ŷ(x with this input as in x₀) (Zeiler and Fergus 2014, arXiv:1311.2901).
        apart: x − x₀, as the encoder reads them.
        slope: ∫ ∂ŷ/∂x(x₀ + t(x − x₀)) dt, the mean gradient on the way from the baseline.
        difference: ŷ(x) − ŷ(x₀).
    """

    gradient: ByInput
    occlusion: ByInput
    apart: ByInput
    slope: ByInput
    difference: float

    @property
    def integrated(self) -> ByInput:
        """Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv:1703.01365, eq. 1), summing to the whole."""
        contribution: ByInput = self.slope * self.apart
        return contribution


@dataclass(frozen=True)
class Explanation:
    """Why one forecast is what it is.

    Args:
        drivers: strongest first: ``input``; ``what``, "level" now, "change", or "value" where inputs are days;
            ``since`` and ``until``, minutes before the forecast; ``contribution``, in the metric's unit.
        inputs: the same by single input: ``input``; ``minutes`` before the forecast; ``value`` as the model reads it;
            ``integrated``, ``gradient`` and ``occlusion``.
        facts: the forecast's row of ``predict``; ``base``, which it would be if nothing changed; ``typical``, the
            change forecast in a typical window of the population; ``difference`` of this one's change from that, and
            ``left``, what the contributions lack of it; ``population`` and ``own``, which sum to the change; ``known``.
    """

    drivers: pl.DataFrame
    inputs: pl.DataFrame
    facts: Mapping[str, Any]


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
    x: Float[np.ndarray, "*features"],
    baseline: Float[np.ndarray, "*features"],
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
    slope = _slope(features, head, path).mean(0)
    gradient = _slope(features, head, here[None])[0]
    size = here.numel()
    occluded = here.flatten().expand(size, size).clone()
    occluded[range(size), range(size)] = there.flatten()
    with torch.no_grad():
        answers = features.embed(torch.cat([here[None], there[None], occluded.view(size, *here.shape)])) @ head[:, 0]
    parts = (gradient * apart, (answers[0] - answers[2:]).view(here.shape), apart, slope)
    arrays = [part.double().numpy() for part in parts]
    return Attribution(arrays[0], arrays[1], arrays[2], arrays[3], float(answers[0] - answers[1]))


def _slope(features: FeatureMap, head: Tensor, inputs: Tensor) -> Tensor:
    leaf = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        answer = (features.embed(leaf) @ head[:, 0]).sum()
        return torch.autograd.grad(answer, leaf)[0]


def by_change(found: Attribution) -> tuple[Float64[np.ndarray, " channels"], Float64[np.ndarray, "channels steps"]]:
    """The integrated gradients told as a present level and the changes before it, which sum to the same.

    Neighbours in time are nearly equal, so that contributions of single moments cancel in large numbers. With
    Δ_k = x_k − x_{k−1} and a the slopes, Σ_l a_l (x_l − x₀_l) = Σ_l a_l · (x_T − x₀_T) − Σ_k (Σ_{l<k} a_l)(Δ_k − Δ₀_k).

    Returns:
        What the last value of each channel contributed, and each change up to it; (channels, time − 1).
    """
    slope, apart = (one.reshape(len(one), -1) for one in (found.slope, found.apart))
    before = np.cumsum(slope, 1)[:, :-1]
    return slope.sum(1) * apart[:, -1], -before * np.diff(apart, axis=1)


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
    features: FeatureMap, start: PopulationStart, belief: GaussianHead, recipe: Recipe, x: np.ndarray, unit: float
) -> Explanation:
    """What moved one forecast, in the metric's unit; the facts are those that do not need the record.

    Args:
        features: encoder and transform.
        start: the population's.
        belief: over the head when the forecast was made.
        recipe: what is forecast.
        x: the window.
        unit: of the target, in the metric's.
    """
    import polars as pl

    head = belief.mean[0]
    found = attribute(features, head, x, start.typical)
    wide, minutes = x.reshape(len(x), -1), recipe.step_min
    names = features.task.names or (recipe.forecasts,) * len(wide)
    channel, step = np.indices(wide.shape)
    inputs = pl.DataFrame(
        {
            "input": [names[c] for c in channel.ravel()],
            "minutes": minutes * (wide.shape[1] - 1 - step.ravel()),
            "value": wide.ravel().astype(np.float64),
            **{k: unit * getattr(found, k).ravel() for k in ("integrated", "gradient", "occlusion")},
        }
    )
    rests = lean(start.prior, belief, features.of(x[None].astype(np.float32))[0])
    change = rests.population + rests.own
    facts = {
        "typical": unit * (change - found.difference),
        "difference": unit * found.difference,
        "left": unit * (found.difference - float(found.integrated.sum())),
        "population": unit * rests.population,
        "own": unit * rests.own,
        "known": rests.known,
    }
    return Explanation(_drivers(found, names, minutes, unit), _strongest(inputs, "integrated"), facts)


def _drivers(found: Attribution, names: Sequence[str], minutes: float, unit: float) -> pl.DataFrame:
    """Levels, and changes in pieces of the window's time; of inputs a day apart, which move freely, values alone."""
    import polars as pl

    whole = found.integrated.reshape(len(names), -1)
    what, (last, changes) = "change", by_change(found)
    if minutes >= DAY_MIN:
        what, last, changes = "value", whole[:, -1], whole[:, :-1]
    steps, rows = changes.shape[1], []
    names = [name.removesuffix(KNOWN) for name in names]  # a value and whether there is one are one input to a person
    for name, level, change in zip(names, last.tolist(), changes, strict=True):
        rows.append((name, "level", 0.0, 0.0, unit * level))
        for piece in np.array_split(np.arange(steps), min(PIECES, steps)) if steps else ():
            since, until = minutes * (steps - piece[0]), minutes * (steps - 1 - piece[-1])
            rows.append((name, what, float(since), float(until), unit * float(change[piece].sum())))
    *where, contribution = columns = ["input", "what", "since", "until", "contribution"]
    table = pl.DataFrame(rows, columns, orient="row").group_by(where, maintain_order=True)
    return _strongest(table.agg(pl.col(contribution).sum()), contribution)


def _strongest(table: pl.DataFrame, by: str) -> pl.DataFrame:
    import polars as pl

    return table.sort(pl.col(by).abs(), descending=True, maintain_order=True)


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


def driver_name(row: Mapping[str, Any]) -> str:
    """A row of ``Explanation.drivers`` in words."""
    if row["what"] == "level":
        return f"{row['input']} now"
    days = row["since"] >= 1440
    since, until = (row[key] / (1440 if days else 1) for key in ("since", "until"))
    what = f"change of {row['input']} from" if row["what"] == "change" else f"{row['input']} from"
    return f"{what} {since:g} to {until:g} {'days' if days else 'min'} before"
