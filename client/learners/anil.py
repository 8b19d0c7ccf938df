"""ANIL (Raghu et al. 2020): almost no inner loop; only the head adapts, the body is meta-learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from client.episodes import Batch
from client.learners.base import Paper
from client.learners.inner import descend
from client.learners.maml import MAML
from client.minibatches import minibatches
from client.models.base import Model
from client.rng import Keys
from client.trees import Params, Stacked


@dataclass(frozen=True)
class ANIL(MAML):
    """MAML whose inner rate is α for the head and zero for the rest."""

    paper: ClassVar[Paper] = Paper(
        "raghu2020anil",
        "Raghu et al.",
        2020,
        "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
        "1909.09157",
        "Section 4",
    )

    def rates(self, model: Model, meta: Params) -> dict[str, Tensor]:
        """α for the head's parameters, 0 elsewhere."""
        rates = super().rates(model, meta)
        return {name: r if name in model.head else torch.zeros_like(r) for name, r in rates.items()}

    def path(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        start: Stacked | None = None,
    ) -> Iterator[Stacked]:
        """Gradient steps on the head alone."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        batches = minibatches(support, self.batch_size, keys, "adapt")
        return (p.params for p in descend(model, phi, batches, self.inner_lr, only=model.head))
