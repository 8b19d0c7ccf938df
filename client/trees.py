"""Parameter trees: a dict from name to tensor, and the little algebra learners need.

``Params`` has no client axis (θ, what the server owns). ``Stacked`` has the client as the leading axis of every
tensor: thousands of clients are one stack, one device is a stack of one. No function here changes its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

Params: TypeAlias = Mapping[str, Tensor]
Stacked: TypeAlias = Mapping[str, Tensor]


def stack(params: Params, clients: int) -> dict[str, Tensor]:
    """θ seen by ``clients`` clients: views of shape (clients, *shape), no copy."""
    return {name: p.expand(clients, *p.shape) for name, p in params.items()}


def pick(stacked: Stacked, client: int) -> dict[str, Tensor]:
    """One client's tree out of a stack."""
    return {name: p[client] for name, p in stacked.items()}


def add(a: Params, b: Params, alpha: float = 1.0) -> dict[str, Tensor]:
    """a + α b."""
    return {name: a[name].add(b[name], alpha=alpha) for name in a}


def sub(a: Params, b: Params) -> dict[str, Tensor]:
    """a − b."""
    return {name: a[name] - b[name] for name in a}


def scale(a: Params, factor: float) -> dict[str, Tensor]:
    """factor · a."""
    return {name: p * factor for name, p in a.items()}


def mul(a: Params, b: Params) -> dict[str, Tensor]:
    """a ⊙ b; either may lack the client axis."""
    return {name: a[name] * b[name] for name in a}


def zeros_like(a: Params) -> dict[str, Tensor]:
    """A tree of zeros in the shape of a."""
    return {name: torch.zeros_like(p) for name, p in a.items()}


def norm(a: Params) -> Tensor:
    """Euclidean norm of the whole tree, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for p in a.values():
        total = total + p.double().square().sum()
    return total.sqrt()


def finite(a: Params) -> bool:
    """Whether every number of the tree is."""
    return all(bool(torch.isfinite(p).all()) for p in a.values())


def under(params: Params, prefix: str) -> dict[str, Tensor]:
    """The entries whose name starts with ``prefix``, the prefix taken off (Meta-SGD keeps its rates so)."""
    return {name.removeprefix(prefix): p for name, p in params.items() if name.startswith(prefix)}


def without(params: Params, prefix: str) -> dict[str, Tensor]:
    """The entries whose name does not start with ``prefix``."""
    return {name: p for name, p in params.items() if not name.startswith(prefix)}


def prefixed(params: Params, prefix: str) -> dict[str, Tensor]:
    """Every name with ``prefix`` put in front."""
    return {prefix + name: p for name, p in params.items()}
