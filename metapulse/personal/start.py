"""Where a person's model begins: what a federation knows about people, as numbers over all of them and rows of none.

A prior over heads, how wide forecasts err, what windows look like. Everything here is a mean over people, or a quantile
of a mixture in which each counts alike, so it can be made of what devices report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metapulse.errors import DataError
from metapulse.files import write_atomic
from metapulse.gaussian_head import GaussianHead
from metapulse.sealed import sealed_tensors, unsealed_tensors

FILE = "population.safetensors"
VERSION = 2
#: Even probabilities at which the population's scores are told.
LEVELS = (np.arange(200) + 0.5) / 200


@dataclass(frozen=True)
class Roughness:
    """How far forecasts err in a window like this: log ŝ(x) = v · (1, level, sd, |last step|, |change|) per channel.

    Args:
        weights: v, (1 + 4 channels,).
    """

    weights: Float64[np.ndarray, " terms"]

    @staticmethod
    def terms(x: np.ndarray) -> Float64[np.ndarray, "n terms"]:
        """Of each window, (n, channels, time) or (n, channels)."""
        wide = x.astype(np.float64).reshape(len(x), x.shape[1], -1)
        step = np.abs(wide[:, :, -1] - wide[:, :, max(wide.shape[2] - 2, 0)])
        change = np.abs(wide[:, :, -1] - wide[:, :, 0])
        parts = [wide[:, :, -1], np.log1p(wide.std(2)), np.log1p(step), np.log1p(change)]
        return np.concatenate([np.ones((len(x), 1)), *parts], 1)

    def of(self, x: np.ndarray) -> Float64[np.ndarray, " n"]:
        """ŝ(x), relative to the noise of the prior: between a fifth and five times."""
        scale: np.ndarray = np.exp(np.clip(self.terms(x) @ self.weights, -1.6, 1.6))
        return scale


@dataclass(frozen=True)
class PopulationStart:
    """What is known of people before anything is known of this one.

    Args:
        prior: over heads, a stack of one, in double precision.
        rough: where forecasts err more.
        scores: quantiles at ``LEVELS`` of |y − ŷ| / ŝ over people that nothing was learned from.
        typical: mean window, (*features), before the transform.
        centre: mean of the features, (width,).
        whitening: W with cov⁻¹ = WᵀW, (width, width).
        unlike: distance ‖W(f − centre)‖² that one window in a thousand of the population exceeds.
        facts: how many people and windows, and how it was made.
    """

    prior: GaussianHead
    rough: Roughness
    scores: Float64[np.ndarray, " levels"]
    typical: Float64[np.ndarray, " *features"]
    centre: Float64[Tensor, " width"]
    whitening: Float64[Tensor, "width width"]
    unlike: float
    facts: Mapping[str, Any]

    def distance(self, features: Float64[Tensor, "n width"]) -> Float64[np.ndarray, " n"]:
        """Squared Mahalanobis distance of windows from the population's."""
        far: np.ndarray = ((features - self.centre) @ self.whitening.T).square().sum(1).numpy()
        return far

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the facts, for safetensors."""
        return {
            "prior.mean": self.prior.mean,
            "prior.covariance": self.prior.covariance,
            "prior.noise": self.prior.noise,
            "rough": torch.from_numpy(self.rough.weights),
            "scores": torch.from_numpy(self.scores),
            "typical": torch.from_numpy(self.typical),
            "centre": self.centre,
            "whitening": self.whitening,
            "unlike": torch.tensor(self.unlike, dtype=torch.float64),
        }

    @classmethod
    def of_tensors(cls, given: Mapping[str, Tensor], facts: Mapping[str, Any]) -> PopulationStart:
        """The start that ``tensors`` described; a KeyError where something is missing."""
        prior = GaussianHead(*(given[f"prior.{part}"] for part in ("mean", "covariance", "noise")))
        rough = Roughness(given["rough"].numpy())
        arrays = given["scores"].numpy(), given["typical"].numpy()
        return cls(prior, rough, *arrays, given["centre"], given["whitening"], float(given["unlike"]), facts)

    def save(self, folder: Path) -> Path:
        """Write ``population.safetensors``."""
        path, tensors = folder / FILE, {name: t.contiguous() for name, t in self.tensors().items()}
        write_atomic(path, sealed_tensors(tensors, {"version": VERSION, **self.facts}))
        return path

    @classmethod
    def load(cls, folder: Path) -> PopulationStart:
        """What ``save`` wrote.

        Raises:
            DataError: there is none, it is damaged, or of another version.
        """
        try:
            tensors, facts = unsealed_tensors(folder / FILE)
        except DataError as error:
            raise DataError(f"{error}; delete it to have it made anew") from None
        try:
            if facts.pop("version") != VERSION:
                raise ValueError("another version")
            return cls.of_tensors(tensors, facts)
        except (KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{folder / FILE}: damaged, or of another version ({error})") from None
