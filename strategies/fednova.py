"""FedNova's server half: θ ← θ − τ_eff Σ p_i d_i with τ_eff = Σ p_i τ_i (Wang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.methods.fednova import FedNova
from metapulse.strategies.base import OuterSettings, OuterStrategy
from metapulse.strategies.replies import Stack, Total
from metapulse.trees import Params, scale

STEPS = "steps"
MOST_STEPS = 1e6  # that a client may claim


@dataclass(frozen=True)
class FedNovaSettings(OuterSettings):
    """Weighted by samples, outer SGD of rate 1; the mean update times the mean number of local steps."""

    paper: ClassVar[Paper] = FedNova.paper

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aggregator["name"] != "mean":
            raise ConfigError("strategy.aggregator", self.aggregator["name"], "must be mean: clients say what τ is")


class NormalisedAverage(OuterStrategy):
    """Updates are per local step; their mean is stretched by what clients report as ``steps`` (1 where they do not)."""

    def _aggregate(self, stack: Stack | Total) -> Params:
        """τ_eff times the mean update."""
        steps = stack.metrics.get(STEPS, torch.ones_like(stack.weight)).nan_to_num(nan=1.0).clamp(0.0, MOST_STEPS)
        weight = stack.weight if self.settings.weighting == "samples" else torch.ones_like(stack.weight)
        effective = float((steps.double() * weight.double()).sum() / weight.double().sum())
        return scale(super()._aggregate(stack), effective)
