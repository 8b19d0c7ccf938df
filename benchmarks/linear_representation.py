"""The models of FedRep's linear simulation, without biases (a7_fedrep_*.toml)."""

from __future__ import annotations

from torch import nn


def representation(inputs: int = 20, rank: int = 2) -> nn.Module:
    """A linear representation under a linear head, x ↦ wᵀ Bᵀ x.

    Args:
        inputs: dimension of x.
        rank: dimension of the representation.
    """
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, 1, bias=False))


def regression(inputs: int = 20) -> nn.Module:
    """x ↦ wᵀ x from w = 0, where gradient descent finds the least-squares solution of least norm.

    Args:
        inputs: dimension of x.
    """
    layer = nn.Linear(inputs, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer
