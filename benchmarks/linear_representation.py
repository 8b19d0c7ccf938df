"""The models of FedRep's linear simulation, without biases (a7_fedrep_*.toml)."""

from __future__ import annotations

from torch import nn


def representation(inputs: int = 20, rank: int = 2) -> nn.Module:
    """A linear representation under a linear head, x ↦ wᵀ Bᵀ x; B starts orthonormal, as in the paper.

    A smaller B makes larger heads, and these make larger steps of B: with few samples some seeds end nowhere.

    Args:
        inputs: dimension of x.
        rank: dimension of the representation.
    """
    body, head = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, 1, bias=False)
    nn.init.orthogonal_(body.weight)
    return nn.Sequential(body, head)


def regression(inputs: int = 20) -> nn.Module:
    """x ↦ wᵀ x from w = 0, where gradient descent finds the least-squares solution of least norm.

    Args:
        inputs: dimension of x.
    """
    layer = nn.Linear(inputs, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer
