"""Derivatives of any stacked loss by autograd: the reference for the kernels, and the way of a user's own module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metapulse.episodes import Batch, PerClient
from metapulse.models.kernels.base import Expansion
from metapulse.trees import Params, Stacked, flat_stack

#: Mean loss of each client, (clients,), from its parameters and samples.
LossFunction = Callable[[Stacked, Batch], Tensor]


def value_and_grad(loss: LossFunction, params: Stacked, batch: Batch) -> tuple[PerClient, Stacked]:
    """Loss and ∇L per client.

    Clients do not interact, so the gradient of the sum of all losses holds every client's own gradient.
    """
    leaves = _leaves(params)
    with torch.enable_grad():
        value = loss(leaves, batch)
        grads = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), flat_stack(dict(zip(leaves, grads, strict=True)))


def expand_loss(loss: LossFunction, params: Stacked, batch: Batch) -> Expansion:
    """Loss, ∇L, and v ↦ ∇²L v as the gradient of ∇L · v; the graph of ∇L lives as long as the expansion."""
    leaves = _leaves(params)
    values = list(leaves.values())
    with torch.enable_grad():
        value = loss(leaves, batch)
        grads = torch.autograd.grad(value.sum(), values, create_graph=True, allow_unused=True, materialize_grads=True)

    def hvp(vector: Stacked) -> Stacked:
        with torch.enable_grad():
            inner = torch.stack([(g * vector[name]).sum() for name, g in zip(leaves, grads, strict=True)]).sum()
            if not inner.requires_grad:  # a loss linear in its parameters
                return flat_stack({name: torch.zeros_like(p) for name, p in leaves.items()})
            products = torch.autograd.grad(inner, values, retain_graph=True, allow_unused=True, materialize_grads=True)
        return flat_stack(dict(zip(leaves, products, strict=True)))

    detached = dict(zip(leaves, (g.detach() for g in grads), strict=True))
    return Expansion(value.detach(), flat_stack(detached), hvp)


def _leaves(params: Params) -> dict[str, Tensor]:
    return {name: p.detach().requires_grad_() for name, p in params.items()}
