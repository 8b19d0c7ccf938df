"""Support and query as a Flower app has them, tensors or loaders of batches, as an episode of one client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import DataError

#: Inputs and targets; or an iterable of batches, each (inputs, targets) or a mapping with these two entries.
Side: TypeAlias = tuple[Any, Any] | Iterable[Any]


def read_side(side: Side, name: str) -> tuple[Tensor, Tensor]:
    """All samples of one side.

    Args:
        side: tensors or arrays, or a loader that ends.
        name: "support" or "query", for messages.

    Returns:
        Inputs, float32 (samples, *features); labels, int64 (samples,), or targets, float32 (samples, outputs).

    Raises:
        DataError: there are none, their numbers differ, or they are not what a model could be trained on.
    """
    if isinstance(side, (tuple, list)) and len(side) == 2 and all(hasattr(part, "__array__") for part in side):
        batches = [side]
    else:
        batches = [_pair(batch, name) for batch in side]
    if not batches:
        raise DataError(f"{name}: no batches")
    x, y = (torch.cat([torch.as_tensor(batch[i]) for batch in batches]) for i in (0, 1))
    if len(x) == 0 or len(x) != len(y):
        raise DataError(f"{name}: {len(x)} inputs and {len(y)} targets; there must be equally many, at least one")
    if not x.is_floating_point() or x.dim() < 2:
        raise DataError(f"{name}: inputs are {x.dtype}{list(x.shape)}; must be floating-point, (samples, *features)")
    if not bool(torch.isfinite(x).all()) or (y.is_floating_point() and not bool(torch.isfinite(y).all())):
        raise DataError(f"{name}: inputs or targets hold NaN or infinity")
    if y.is_floating_point():
        return x.float(), y.float().reshape(len(y), -1)
    if y.dim() != 1:
        raise DataError(f"{name}: labels have shape {list(y.shape)}; must be (samples,)")
    return x.float(), y.long()


def _pair(batch: Any, name: str) -> tuple[Any, Any]:
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    if not isinstance(parts, (tuple, list)) or len(parts) != 2:
        told = f"{len(parts)} parts" if isinstance(parts, (tuple, list)) else type(batch).__name__
        raise DataError(f"{name}: a batch is {told}; must be inputs and targets")
    return parts[0], parts[1]


def task_of(x: Tensor, y: Tensor, outputs: int) -> Task:
    """What is predicted from what: classes where targets are whole numbers, a regression otherwise.

    Args:
        x: inputs, (samples, *features).
        y: from ``read_side``.
        outputs: of the model.

    Raises:
        DataError: labels or targets that the model has no outputs for.
    """
    features = tuple(x.shape[1:])
    if not y.is_floating_point():
        if int(y.min()) < 0 or int(y.max()) >= outputs:
            allowed = f"the model's {outputs} outputs allow 0 to {outputs - 1}"
            raise DataError(f"labels from {int(y.min())} to {int(y.max())}; {allowed}")
        return Task("classification", features, outputs)
    if y.shape[1] != outputs:
        raise DataError(f"targets have {y.shape[1]} numbers, the model {outputs} outputs")
    return Task("regression", features, outputs)


def episode_of(support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Episode:
    """An episode of one client."""
    return Episode(_batch(*support), _batch(*query))


def _batch(x: Tensor, y: Tensor) -> Batch:
    return Batch(x.unsqueeze(0), y.unsqueeze(0), torch.ones(1, len(x)))
