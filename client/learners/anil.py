"""ANIL (Raghu et al. 2020): almost no inner loop; only the head adapts, the body is meta-learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from client.episodes import Batch
from client.learners.base import Paper
from client.learners.inner import descend
from client.learners.maml import MAML
from client.models.base import Model
from client.rng import Keys
from client.trees import Params, Stacked, full_like


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

    def rates(self, model: Model, meta: Params) -> Params:
        """α for the head's parameters, 0 elsewhere."""
        return full_like(meta, {name: self.inner_lr if name in model.head else 0.0 for name in meta})

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
        batches = self.batches(support, keys, "adapt")
        return (p.params for p in descend(model, phi, batches, self.inner_lr, only=model.head))
