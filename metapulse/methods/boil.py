"""BOIL (Oh, Yoo, Kim, Yun 2021): body only update in the inner loop; the head is meta-learned and stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.anil import ANIL
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model


@dataclass(frozen=True)
class BOIL(ANIL):
    """MAML whose inner rate is α for the body and zero for the head: ANIL turned round."""

    paper: ClassVar[Paper] = Paper(
        "oh2021boil",
        "Oh, Yoo, Kim and Yun",
        2021,
        "BOIL: Towards Representation Change for Few-shot Learning",
        "2008.08882",
        "Section 3",
    )

    def moving(self, model: Model, names: Iterable[str]) -> frozenset[str]:
        """Those of the names that the inner loop moves: all but the head's."""
        return frozenset(names) - model.head


METHOD = Method(
    "boil",
    BOIL,
    Server("fedmaml"),
    sends="∇_θ L_Q(φ_K(θ)), where the inner loop moves all but the head",
    adapts="φ_{k+1} = φ_k − α ∇L_S(φ_k), of all but the head",
    head=True,
)
