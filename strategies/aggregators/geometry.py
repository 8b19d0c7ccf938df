"""Distances between updates and combinations of them, precise despite an attacker's 1e30."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: The updates of a round, one client per row; and one update.
Updates = Float[Tensor, "clients parameters"]
Vector = Float[Tensor, " parameters"]

ROWS, COLUMNS = 64, 1024  # of a block that fits the cache
TINY = 1e-300


def squared_distances(updates: Updates) -> Float[Tensor, "clients clients"]:
    """‖x_i − x_j‖² from one Gram matrix, in float32, of which half is computed.

    What all have in common is taken off first, for it would cancel; every row is brought to about length one, for a
    long one would overflow: y_i = (x_i − c) / s_i, and ‖x_i − x_j‖² = s_i² y_i·y_i + s_j² y_j·y_j − 2 s_i s_j y_i·y_j.
    The centre c is a mean to which no update counts more than the median length. The error is at most some
    1e-7 (‖x_i − c‖² + ‖x_j − c‖²).

    Args:
        updates: one client per row, finite.

    Returns:
        float64, symmetric, ≥ 0, zero on the diagonal.
    """
    clients = len(updates)
    lengths = distances(updates, torch.zeros_like(updates[0])).clamp_min(TINY)
    centre = combination((lengths.median() / lengths).clamp_max(1.0) / clients, updates)
    scale, near = (lengths + centre.norm())[:, None], centre.float()
    gram = torch.zeros(clients, clients)
    for first in range(0, updates.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        y = (updates[:, columns] - near[columns]).double().div_(scale).float()
        for row in range(0, clients, ROWS):
            end = min(row + ROWS, clients)
            gram[row:end, :end].addmm_(y[row:end], y[:end].t())
    wide = (gram.tril() + gram.tril(-1).t()).double() * (scale * scale.t())
    squares = wide.diagonal()
    squared: Tensor = (squares[:, None] + squares - 2.0 * wide).clamp_min(0.0)
    return squared.fill_diagonal_(0.0)


def distances(updates: Updates, centre: Vector) -> Float[Tensor, " clients"]:
    """‖x_i − c‖ in float64."""
    return torch.cat([(part.double() - centre).norm(dim=1) for part in torch.split(updates, ROWS)])


def combination(weights: Float[Tensor, " clients"], updates: Updates) -> Vector:
    """Σ_i w_i x_i in float64."""
    parts = zip(torch.split(weights.double(), ROWS), torch.split(updates, ROWS), strict=True)
    return torch.stack([w @ part.double() for w, part in parts]).sum(0)


def average(updates: Updates) -> Vector:
    """The plain mean, accumulated in float64."""
    return updates.mean(0, dtype=torch.float64)


def ordered(updates: Updates) -> Updates:
    """Every coordinate's values in ascending order; NumPy sorts short columns several times faster than torch."""
    values = updates.numpy().copy()
    values.sort(axis=0)
    return torch.from_numpy(values)
