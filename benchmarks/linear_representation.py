"""The model of FedRep's analysis: a linear representation under a linear head, no biases (a7_fedrep_*.toml)."""

from __future__ import annotations

from torch import nn


def net(inputs: int, rank: int) -> nn.Module:
    """x ↦ wᵀ Bᵀ x.

    Args:
        inputs: dimension of x.
        rank: dimension of the representation.
    """
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, 1, bias=False))
