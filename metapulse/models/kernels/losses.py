"""Losses at the end of a chain; the formulas of ``metapulse.losses``, with their derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, PerClient
from metapulse.models.kernels.base import Loss, Saved


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Mean of −log softmax(z)_y over each client's samples.

    Classes go to the middle axis: a softmax over a handful of innermost numbers costs ten times as much.
    """

    def forward(self, y: Tensor, batch: Batch) -> tuple[PerClient, Saved]:
        """Log-probabilities (clients, classes, samples) are kept as probabilities."""
        log_p = torch.log_softmax(y.transpose(1, 2), 1)
        nll = log_p.gather(1, batch.y.unsqueeze(1)).squeeze(1)
        return -(nll * batch.weights).sum(1), log_p.exp_()

    def backward(self, saved: Saved, batch: Batch) -> Tensor:
        """(p − e_y) / n on real samples."""
        hot = batch.one_hot(saved.shape[1])
        return torch.sub(saved, hot).mul_(batch.weights.unsqueeze(1)).transpose(1, 2)

    def backward_tangent(self, saved: Saved, batch: Batch, dy: Tensor) -> Tensor:
        """(diag p − p pᵀ) ż / n."""
        p: Tensor = saved
        pull = p * dy.transpose(1, 2)
        return pull.sub_(p * pull.sum(1, keepdim=True)).mul_(batch.weights.unsqueeze(1)).transpose(1, 2)


@dataclass(frozen=True)
class SquaredError(Loss):
    """Mean of (ŷ − y)² over each client's samples and outputs."""

    def forward(self, y: Tensor, batch: Batch) -> tuple[PerClient, Saved]:
        """Residuals are kept."""
        error = y - batch.y
        return (error.square().mean(2) * batch.weights).sum(1), error

    def backward(self, saved: Saved, batch: Batch) -> Tensor:
        """2 (ŷ − y) / (n · outputs)."""
        error: Tensor = saved
        return error * (batch.weights * (2.0 / error.shape[2])).unsqueeze(2)

    def backward_tangent(self, saved: Saved, batch: Batch, dy: Tensor) -> Tensor:
        """2 ẏ / (n · outputs)."""
        return dy * (batch.weights * (2.0 / dy.shape[2])).unsqueeze(2)


def loss_kernel(task: Task) -> Loss:
    """The loss of a kind of task."""
    return CrossEntropy() if task.kind == "classification" else SquaredError()
