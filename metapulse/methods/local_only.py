"""Local-only: every device learns by itself from the common random start; nothing is shared.

The baseline that every federated method has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import ChosenOptimizer, Descent
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, zeros_like


@dataclass(frozen=True)
class LocalOnly(ChosenOptimizer, Descent):
    """θ stays at its initialisation; adaptation is all there is."""

    paper: ClassVar[Paper] = Paper("local", "baseline", 0, "Local training without federation", "", "no equation")
    uses_query_set: ClassVar[bool] = False

    @property
    def steps(self) -> int:
        """A guess: there is no training, and the meta-test says how far to adapt."""
        return 5

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """A zero update: θ never moves; the loss is that at θ."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        with torch.no_grad():
            loss = model.loss(theta, samples)
        return Report(zeros_like(theta), samples.counts, state, {"loss": loss})


METHOD = Method(
    "local_only",
    LocalOnly,
    Server("fedavg", fixed=("l2",), step="θ stays where it began"),
    sends="0",
    baseline=True,
)
