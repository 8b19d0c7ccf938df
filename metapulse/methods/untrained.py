"""Learners without training: they answer from what they remember of the support alone.

Baselines, beside ``local_only``, that every trained model has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Episode
from metapulse.methods.amortised import AmortisedLearner
from metapulse.methods.base import Report
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, zeros_like


@dataclass(frozen=True)
class Untrained(AmortisedLearner):
    """θ is the model's and plays no part: rounds change nothing, and none are needed."""

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters.

        Raises:
            ConfigError: the learner cannot learn such a task.
        """
        self.check_kind(model.task)
        return model.init(rng)

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """A zero update; the loss is that of the answers to the query."""
        theta = self.start(meta, len(keys.clients))
        with torch.no_grad():
            memory = self.encode_support(model, theta, episode.support)
            loss = self.loss(model, theta, memory, episode.support, episode.query)
        return Report(zeros_like(theta), episode.query.counts, state, {"loss": loss})
