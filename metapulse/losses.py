"""Losses and metrics over a stack of clients; a masked sample counts for nothing.

Every function returns one number per client: the mean over that client's own samples, so padding changes nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from metapulse.data import Task
from metapulse.episodes import Batch, Outputs, PerClient, PerSample


def masked_mean(values: PerSample, mask: PerSample) -> PerClient:
    """Σ m v / Σ m per client; 0 for a client without samples."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1.0)


def cross_entropy(
    logits: Float[Tensor, "clients samples classes"], labels: Int64[Tensor, "clients samples"], mask: PerSample
) -> PerClient:
    """Mean of −log softmax(z)_y over each client's samples, in nats."""
    nll = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return masked_mean(nll.view(labels.shape), mask)


def squared_error(predictions: Outputs, targets: Outputs, mask: PerSample) -> PerClient:
    """Mean of (ŷ − y)² over each client's samples and outputs, in the target's unit squared."""
    return masked_mean((predictions - targets).square().mean(2), mask)


def task_loss(task: Task, predictions: Outputs, y: Tensor, mask: PerSample) -> PerClient:
    """Cross-entropy for classification, squared error for regression."""
    if task.kind == "classification":
        return cross_entropy(predictions, y, mask)
    return squared_error(predictions, y, mask)


def balanced_accuracy(
    guesses: Int64[Tensor, "clients samples"], labels: Int64[Tensor, "clients samples"], mask: PerSample, classes: int
) -> PerClient:
    """Mean over the classes present of each class's recall, in [0, 1]."""
    weights = functional.one_hot(labels, classes).to(mask) * mask.unsqueeze(2)  # (clients, samples, classes)
    count = weights.sum(1)
    recall = (weights * (guesses == labels).unsqueeze(2)).sum(1) / count.clamp(min=1.0)
    present = (count > 0).to(recall)
    return (recall * present).sum(1) / present.sum(1).clamp(min=1.0)


def task_metrics(
    task: Task, predictions: Outputs, y: Tensor, mask: PerSample, classes: Bool[Tensor, "clients outputs"] | None = None
) -> dict[str, PerClient]:
    """What a client reports of its predictions.

    Args:
        task: decides which metrics.
        predictions: logits or predicted targets.
        y: labels or targets.
        mask: 1 for real samples.
        classes: for classification, the classes a client may answer with (those it has support for).

    Returns:
        "loss", "accuracy" and "balanced_accuracy", or "mse" and "mae" (target's unit), one value per client.
    """
    if task.kind == "regression":
        error = (predictions - y).abs().mean(2)
        return {"mse": squared_error(predictions, y, mask), "mae": masked_mean(error, mask)}
    allowed = predictions if classes is None else predictions.masked_fill(~classes.unsqueeze(1), -torch.inf)
    guesses = allowed.argmax(2)
    return {
        "loss": cross_entropy(predictions, y, mask),
        "accuracy": masked_mean((guesses == y).to(mask), mask),
        "balanced_accuracy": balanced_accuracy(guesses, y, mask, task.outputs),
    }


def offered_facts(classes: Bool[Tensor, "clients classes"], query: Batch) -> dict[str, PerClient]:
    """How many classes each client has support for, and the share of its query whose class is none of them.

    Args:
        classes: which have support.
        query: what is asked.
    """
    there = classes.gather(1, query.y).to(query.mask)
    return {"offered": classes.sum(1).to(query.mask), "not_offered": 1.0 - masked_mean(there, query.mask)}


def offered_part(classes: Bool[Tensor, "clients classes"], query: Batch) -> Batch:
    """The query without the samples of classes that have no support: they are masked."""
    return Batch(query.x, query.y, query.mask * classes.gather(1, query.y).to(query.mask))


def support_classes(support: Batch, classes: int) -> Bool[Tensor, "clients classes"]:
    """Which classes each client has support for."""
    hot = functional.one_hot(support.y, classes) * support.mask.unsqueeze(2)
    return hot.sum(1) > 0
