"""Local-only: every device learns by itself from the common random start; nothing is shared.

The row that every comparison needs: what federation must beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.episodes import Episode
from metapulse.methods.base import Learner, Paper, Report
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, zeros_like


@dataclass(frozen=True)
class LocalOnly(Learner):
    """θ stays at its initialisation; adaptation is all there is."""

    unread: ClassVar[frozenset[str]] = frozenset({"inner_steps"})

    paper: ClassVar[Paper] = Paper("local", "baseline", 0, "Local training without federation", "", "no equation")
    local: ClassVar[bool] = True

    def shared(self, model: Model, meta: Params) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """A zero update: θ never moves; the loss is that at θ."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        with torch.no_grad():
            loss = model.loss(theta, samples)
        return Report(zeros_like(theta), samples.counts, state, {"loss": loss})
