"""Meta-Curvature (Park, Oliva 2019): MAML whose gradients pass through learned matrices, one for each axis of a tensor.

A matrix over all numbers of a tensor would be learned if it were not so large; a product of one per axis (outputs,
inputs, kernel) is small and mixes them all. θ carries the matrices in the same record, under ``curvature/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.maml import MAML
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, add, prefixed, stack, sub, subtree

CURVATURE = "curvature/"


@dataclass(frozen=True)
class MetaCurvature(MAML):
    """φ_{k+1} = φ_k − α MC(∇L_support(φ_k)), MC(G) = G ×₁ M₁ ×₂ M₂ …; reports ∇ L_query(φ_K) in θ and in every M.

    M_j has a row and a column for each place on axis j of a tensor of θ and starts as the identity, which is MAML.
    """

    paper: ClassVar[Paper] = Paper(
        "park2019metacurvature", "Park and Oliva", 2019, "Meta-Curvature", "1902.03356", "Section 3"
    )
    beside: ClassVar[str] = CURVATURE

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and under ``curvature/`` an identity per axis of each."""
        params = model.init(rng)
        axes = {f"{name}/{axis}": torch.eye(size) for name, p in params.items() for axis, size in enumerate(p.shape)}
        return params | prefixed(axes, CURVATURE)

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Steps along the transformed gradients."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        matrices = stack(subtree(meta, CURVATURE), len(keys.clients))
        yield phi
        for batch in self.batches(support, keys, "adapt"):
            phi = add(phi, transformed(model.grad(phi, batch), matrices), -self.inner_lr)
            yield phi

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """MAML's adjoint with MC between: λ ← λ − H MCᵀ(αλ); the weight is the number of query samples."""
        clients = len(keys.clients)
        phi, matrices = self.start(meta, clients), stack(subtree(meta, CURVATURE), clients)
        visited = []
        for batch in islice(self.batches(episode.support, keys), self.inner_steps):
            visited.append(model.expand(phi, batch))
            phi = add(phi, transformed(visited[-1].grad, matrices), -self.inner_lr)
        loss, adjoint = model.value_and_grad(phi, episode.query)
        slopes: Params = {name: torch.zeros_like(m) for name, m in matrices.items()}
        for expansion in reversed(visited):
            back, own = self._back(expansion.grad, matrices, adjoint)
            slopes = sub(slopes, own)
            adjoint = sub(adjoint, expansion.hvp(back))
        return Report({**adjoint, **prefixed(slopes, CURVATURE)}, episode.query.counts, state, {"loss": loss})

    def _back(self, g: Stacked, matrices: Stacked, adjoint: Stacked) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """Slopes of α⟨λ, MC(g)⟩ in g, which is MCᵀ(αλ), and in the matrices."""
        leaves, own = ({name: p.detach().requires_grad_() for name, p in tree.items()} for tree in (g, matrices))
        with torch.enable_grad():
            moved = transformed(leaves, own)
            product = self.inner_lr * torch.stack([(p * adjoint[name]).sum() for name, p in moved.items()]).sum()
        grads = torch.autograd.grad(product, [*leaves.values(), *own.values()])
        return dict(zip(leaves, grads[: len(leaves)], strict=True)), dict(zip(own, grads[len(leaves) :], strict=True))


def transformed(gradient: Stacked, matrices: Stacked) -> dict[str, Tensor]:
    """MC(G) of every tensor: M_j times G along each axis j.

    Args:
        gradient: (clients, *shape) per name.
        matrices: (clients, size, size) per name and axis: "layer0.weight/1".
    """
    result = {}
    for name, g in gradient.items():
        for axis in range(1, g.dim()):
            turned = g.movedim(axis, 1)
            g = (matrices[f"{name}/{axis - 1}"] @ turned.reshape(*turned.shape[:2], -1)).view(turned.shape)
            g = g.movedim(1, axis)
        result[name] = g
    return result


METHOD = Method(
    "meta_curvature",
    MetaCurvature,
    Server("fedmaml"),
    sends="∇L_Q(φ_K) in θ and in a matrix M_j per axis of every tensor",
    adapts="φ_{k+1} = φ_k − α MC(∇L_S(φ_k)), MC(G) = G ×₁ M₁ ×₂ M₂ …",
)
