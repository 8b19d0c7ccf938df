"""Nearest class mean without a model: of plain statistics of the windows, or of the samples as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import MetricLearner
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.prototypical import class_means, nearness
from metapulse.methods.untrained import Untrained
from metapulse.models.base import Model
from metapulse.settings import setting
from metapulse.trees import Stacked


@dataclass(frozen=True)
class ClassMean(Untrained, MetricLearner):
    """p(y = k | x) ∝ exp(−‖z − c_k‖²/d) with c_k the mean of z over y_i = k, z of width d read off x alone.

    z is the mean and the sd of every channel of a window of channels × time, or x itself, flattened.
    """

    paper: ClassVar[Paper] = Paper("class_mean", "baseline", 0, "Nearest class mean without a model", "", "no equation")

    reads: Literal["statistics", "samples"] = setting(
        "statistics",
        "what is averaged: mean and sd of every channel of a window (samples without time as they are), or the samples",
    )

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """Class means of the support, and which classes have one."""
        return class_means(self.features(support.x), support, model.task.outputs)

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """−‖z − c_k‖²/d; far below all others for a class without support."""
        return nearness(self.features(x), memory)

    def features(self, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """z/√d."""
        z = x.flatten(2)
        if self.reads == "statistics" and x.dim() == 4:
            mean = x.mean(3, keepdim=True)
            z = torch.cat([mean, (x - mean).square().mean(3, keepdim=True).sqrt()], 2).squeeze(3)
        return z / math.sqrt(z.shape[2])


METHOD = Method(
    "class_mean",
    ClassMean,
    Server("fedavg", fixed=("l2",), step="θ stays where it began"),
    sends="0",
    adapts="−‖z − c_k‖²/d, c_k the mean of z over y_i = k, z of width d read off x alone",
    baseline=True,
    notes="A class without support is no answer.",
)
