"""FedNova's server half: θ ← θ − τ_eff Σ p_i d_i with τ_eff = Σ p_i τ_i (Wang et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.methods.fednova import FedNova, effective_steps
from metapulse.strategies.base import OnDrop, OuterSettings, OuterStrategy
from metapulse.strategies.replies import UpdateStack, UpdateSum
from metapulse.strategies.strategy import RunStrategy
from metapulse.trees import Params, scale

STEPS = "steps"


@dataclass(frozen=True)
class FedNovaSettings(OuterSettings):
    """Weighted by samples, outer SGD of rate 1; the mean update times the mean number of local steps."""

    paper: ClassVar[Paper] = FedNova.paper
    only_mean: ClassVar[bool] = False
    per_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aggregator["name"] != "mean":
            raise ConfigError("strategy.aggregator", self.aggregator["name"], "must be mean: clients say what τ is")

    def make(
        self, rounds: int, seed: int, on_drop: OnDrop | None = None, note: Callable[[str], None] | None = None
    ) -> RunStrategy:
        """The strategy of these settings."""
        return NormalisedAverage(self, rounds, seed, on_drop)


class NormalisedAverage(OuterStrategy):
    """Updates are per local step; their mean is stretched by what clients report as ``steps`` (1 where they do not)."""

    def _aggregate(self, stack: UpdateStack | UpdateSum) -> Params:
        """τ_eff times the mean update."""
        steps = stack.metrics.get(STEPS, torch.ones_like(stack.weight))
        weight = stack.weight if self.settings.weighting == "samples" else torch.ones_like(stack.weight)
        return scale(super()._aggregate(stack), effective_steps(steps, weight))
