"""The interface of a model whose derivatives alone are used."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from metapulse.episodes import Batch, PerClient
from metapulse.models.kernels.base import Expansion
from metapulse.trees import Flat, Stacked


@runtime_checkable
class Oracle(Protocol):
    """Loss and derivatives at stacked parameters, as ``metapulse.models.base.Model`` gives them."""

    def expand(self, params: Stacked, batch: Batch) -> Expansion:
        """Loss, gradient and Hessian-vector products of each client's loss around its own parameters."""

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """Loss (clients,) and ∇L per client."""

    def grad(self, params: Stacked, batch: Batch) -> Stacked:
        """∇L per client."""
