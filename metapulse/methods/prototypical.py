"""Prototypical networks (Snell, Swersky, Zemel 2017): the nearest class mean, in an embedding learned for it.

Only the encoder travels. The prototypes are a client's own and stay on its device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import FLOOR, MetricLearner, class_shares
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.trees import Stacked


@dataclass(frozen=True)
class ClassMeans(MetricLearner):
    """Remembers the mean embedding of each class, and which classes have support."""

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """c_k = 1/n_k Σ_{y_i = k} f(x_i), and 1 for every class that has one."""
        return class_means(model.embed(phi, support.x), support, model.task.outputs)


@dataclass(frozen=True)
class ProtoNet(ClassMeans):
    """p(y = k | x) ∝ exp(−‖f(x) − c_k‖²); reports ∇_θ of the query's −log p. θ is the encoder f alone."""

    paper: ClassVar[Paper] = Paper(
        "snell2017protonet",
        "Snell, Swersky and Zemel",
        2017,
        "Prototypical Networks for Few-shot Learning",
        "1703.05175",
        "equations 1 and 2",
    )

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """−‖f(x) − c_k‖²; far below all others for a class without support."""
        return nearness(model.embed(phi, x), memory)


def class_means(
    z: Float[Tensor, "clients samples width"], support: Batch, classes: int
) -> dict[str, Float[Tensor, "clients classes *width"]]:
    """The mean of every class, and 1 for every class that has one.

    Args:
        z: the support's samples, embedded.
        support: their labels.
        classes: how many there are.
    """
    share = class_shares(support, classes)
    return {"means": share @ z, "known": (share.sum(2) > 0).to(share)}


def nearness(z: Float[Tensor, "clients samples width"], memory: Stacked) -> Float[Tensor, "clients samples classes"]:
    """−‖z − c_k‖²; far below all others for a class without a mean.

    Args:
        z: embedded samples.
    """
    means = memory["means"]
    squares = z.square().sum(2, keepdim=True) + means.square().sum(2).unsqueeze(1)
    logits = 2.0 * z @ means.transpose(1, 2) - squares
    return logits.masked_fill(memory["known"].unsqueeze(1) == 0, FLOOR)


METHOD = Method(
    "protonet",
    ProtoNet,
    Server("fedmaml"),
    sends="∇_θ L_Q through the reading of the support",
    adapts="c_k = mean of f(x_i) over y_i = k; p(k|x) ∝ exp(−‖f(x) − c_k‖²)",
    notes="A class without support is no answer, and its query samples do not count.",
    head=True,
)
