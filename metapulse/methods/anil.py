"""ANIL (Raghu et al. 2020): almost no inner loop; only the head adapts, the body is meta-learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.maml import MAML
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import FrozenParameters
from metapulse.models.base import Model
from metapulse.trees import Params, full_like


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

    def moving(self, model: Model, names: Iterable[str]) -> frozenset[str]:
        """Those of the names that the inner loop moves: the head's."""
        return model.head

    def rates(self, model: Model, meta: Params) -> Params:
        """α for what moves, 0 elsewhere."""
        moving = self.moving(model, meta)
        return full_like(meta, {name: self.inner_lr if name in moving else 0.0 for name in meta})

    def objective(self, model: Model, meta: Params, clients: int) -> FrozenParameters:
        """The loss as a function of what moves alone."""
        return FrozenParameters(model, self.moving(model, meta), task=model.task)


METHOD = Method(
    "anil",
    ANIL,
    Server("fedmaml"),
    sends="∇_θ L_Q(φ_K(θ)), where the inner loop moves the head alone",
    adapts="φ_{k+1} = φ_k − α ∇L_S(φ_k), of the head alone",
    head=True,
)
