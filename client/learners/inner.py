"""The inner loop: gradient descent of every client on its own samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from client.episodes import Batch
from client.models.base import Model
from client.trees import Params, Stacked, zeros_like

#: A step rule turns gradients into steps; it keeps its own moments and never changes what comes in.
Rule = Callable[[Stacked], dict[str, Tensor]]


@dataclass(frozen=True)
class Point:
    """A point on the inner path: φ_k and the batch loss at φ_{k−1} that led there (zero at the start)."""

    params: Stacked
    loss: Float[Tensor, " clients"]


def descend(
    model: Model,
    start: Stacked,
    batches: Iterator[Batch],
    lr: float,
    optimizer: str = "sgd",
    only: frozenset[str] | None = None,
) -> Iterator[Point]:
    """φ₀, φ₁, …: φ_{k+1} = φ_k − α g_k (SGD), or Adam's step from zero moments.

    Args:
        model: the oracle.
        start: φ₀, (clients, *shape) per name.
        batches: one batch per step.
        lr: α > 0.
        optimizer: "sgd" or "adam" (Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1).
        only: names that move; the others stay (ANIL's body). None: all.
    """
    rule = _adam(start, lr) if optimizer == "adam" else _sgd(lr)
    phi = dict(start)
    yield Point(phi, next(iter(phi.values())).new_zeros(len(next(iter(phi.values())))))
    for batch in batches:
        loss, grads = model.value_and_grad(phi, batch)
        steps = rule(grads if only is None else {name: grads[name] for name in phi if name in only})
        phi = {name: p - steps[name] if name in steps else p for name, p in phi.items()}
        yield Point(phi, loss)


def _sgd(lr: float) -> Rule:
    return lambda grads: {name: lr * g for name, g in grads.items()}


def _adam(like: Params, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Rule:
    m, v, t = zeros_like(like), zeros_like(like), 0

    def rule(grads: Stacked) -> dict[str, Tensor]:
        nonlocal t
        t += 1
        steps = {}
        for name, g in grads.items():
            m[name] = torch.lerp(m[name], g, 1 - beta1)
            v[name] = torch.lerp(v[name], g * g, 1 - beta2)
            steps[name] = lr * (m[name] / (1 - beta1**t)) / ((v[name] / (1 - beta2**t)).sqrt() + eps)
        return steps

    return rule
