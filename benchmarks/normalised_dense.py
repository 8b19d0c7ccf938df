"""MAML's network without convolutions (omniglot_5way_1shot.toml), with layer norm where it has batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def normalised_dense(inputs: int = 784, hidden: Sequence[int] = (256, 128, 64, 64), outputs: int = 5) -> nn.Module:
    """Linear layers with layer norm and ReLU between.

    Args:
        inputs: dimension of x.
        hidden: widths between.
        outputs: classes.
    """
    layers = [part for a, b in pairwise((inputs, *hidden)) for part in (nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))
