"""What a stack of clients answered to its query, as metrics read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Outputs, PerSample


@dataclass(frozen=True)
class Answers:
    """Answers, and what would have been right; a masked sample counts for nothing.

    Args:
        task: what is predicted.
        predictions: logits or predicted targets.
        y: labels or targets.
        mask: 1 for real samples.
        allowed: for classification, the classes a client may answer with; None: all.
        base: for regression, the value that a target of 0 stands for, in ``task.value_unit``; None: not known.
    """

    task: Task
    predictions: Outputs
    y: Int64[Tensor, "clients samples"] | Outputs
    mask: PerSample
    allowed: Bool[Tensor, "clients outputs"] | None = None
    base: Outputs | None = None

    @cached_property
    def logits(self) -> Outputs:
        """Logits, −∞ for a class that the client may not answer with."""
        if self.allowed is None:
            return self.predictions
        return self.predictions.masked_fill(~self.allowed.unsqueeze(1), -torch.inf)

    @cached_property
    def probabilities(self) -> Float[Tensor, "clients samples classes"]:
        """Softmax over the classes a client may answer with."""
        return self.logits.softmax(2)

    @cached_property
    def guesses(self) -> Int64[Tensor, "clients samples"]:
        """The most likely class."""
        return self.logits.argmax(2)

    @cached_property
    def labels(self) -> Int64[Tensor, "clients samples"]:
        """The right class."""
        return self.y.long()

    @property
    def predicted(self) -> Outputs:
        """Values that are predicted, in ``task.value_unit``; the predictions where that is not known."""
        return self._values(self.predictions)

    @property
    def true(self) -> Outputs:
        """Values that came true, likewise."""
        return self._values(self.y)

    def _values(self, y: Outputs) -> Outputs:
        return y if self.base is None else self.base + self.task.scale * y
