"""Majority: the support's most frequent class for every sample; of targets, their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.amortised import targets
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.untrained import Untrained
from metapulse.models.base import Model
from metapulse.trees import Stacked


@dataclass(frozen=True)
class Majority(Untrained):
    """p(y = k | x) = (n_k + 1) / (n + C), whatever x (the first of equally frequent classes); ŷ = mean of y_i.

    Where every class has as many shots it always answers the first of them: chance, by balanced accuracy.
    """

    paper: ClassVar[Paper] = Paper("majority", "baseline", 0, "Majority label, or mean target", "", "no equation")

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """The logarithm of the shares of the classes, or the mean target (0 without support)."""
        total, n = targets(model.task, support).sum(1), support.counts.unsqueeze(1)
        if model.task.kind == "classification":
            return {"answer": ((total + 1.0) / (n + model.task.outputs)).log()}
        return {"answer": total / n.clamp(min=1.0)}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """The same for every sample."""
        return memory["answer"].unsqueeze(1).expand(-1, x.shape[1], -1)


METHOD = Method(
    "majority",
    Majority,
    Server("fedavg", fixed=("l2",), step="θ stays where it began"),
    sends="0",
    adapts="p(k) = (n_k + 1)/(n + C) for every sample, of targets their mean",
    baseline=True,
)
