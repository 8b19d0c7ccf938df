"""The inner loop: gradient descent of every client on its own samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from metapulse.episodes import Batch, PerClient
from metapulse.models.base import Model
from metapulse.trees import Flat, Stacked, flat_stack, per_client, sub

#: A step rule turns a gradient buffer into a step; it keeps its own moments and never changes what comes in.
Rule = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class InnerPoint:
    """A point on the inner path: φ_k and the batch loss at φ_{k−1} that led there (zero at the start)."""

    params: Stacked
    loss: PerClient


def descend(
    model: Model, start: Stacked, batches: Iterator[Batch], lr: float, optimizer: str = "sgd"
) -> Iterator[InnerPoint]:
    """φ₀, φ₁, …: φ_{k+1} = φ_k − α g_k (SGD), or Adam's step from zero moments.

    Args:
        start: φ₀, (clients, *shape) per name.
        batches: one batch per step.
        lr: α > 0.
        optimizer: "sgd" or "adam" (Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1).
    """
    phi = flat_stack(start)
    rule = _adam(phi.buffer, lr) if optimizer == "adam" else lambda g: g * lr
    yield InnerPoint(phi, phi.buffer.new_zeros(phi.layout.clients))
    for batch in batches:
        loss, grads = model.value_and_grad(phi, batch)
        phi = phi.like(phi.buffer - rule(flat_stack(grads).buffer))
        yield InnerPoint(phi, loss)


def run_inner_loop(
    model: Model, start: Stacked, batches: Iterator[Batch], lr: float, optimizer: str, steps: int
) -> tuple[Flat, PerClient]:
    """φ_K after ``steps`` steps of ``descend``, and the mean of the batch losses on the way (zero without steps)."""
    if optimizer == "sgd":
        phi, total = model.run_sgd(start, batches, lr, steps)
        return phi, total / max(steps, 1)
    phi = flat_stack(start)
    gradient, rule = phi.blank(), _adam(phi.buffer, lr)
    total = gradient.buffer.new_zeros(phi.layout.clients)
    for batch in islice(batches, steps):
        loss, grads = model.value_and_grad(phi, batch, gradient)
        phi = phi.like(phi.buffer - rule(flat_stack(grads).buffer))
        total += loss
    return phi, total / max(steps, 1)


def run_uneven_inner_loops(
    model: Model, start: Stacked, batches: Iterator[Batch], lr: float, steps: PerClient
) -> tuple[Stacked, PerClient]:
    """``run_inner_loop`` by SGD where every client takes a number of steps of its own; the others wait."""
    if bool((steps == steps[0]).all()):
        return run_inner_loop(model, start, batches, lr, "sgd", int(steps[0]))
    phi, total = start, torch.zeros_like(steps)
    for k, batch in enumerate(islice(batches, int(steps.max()))):
        going = (k < steps).to(steps)
        loss, grads = model.value_and_grad(phi, batch)
        phi = sub(phi, per_client(grads, lr * going))
        total = total + loss * going
    return phi, total / steps.clamp(min=1.0)


def displacement(
    model: Model, start: Stacked, batches: Iterator[Batch], lr: float, optimizer: str, steps: int
) -> tuple[Flat, PerClient]:
    """φ₀ − φ_K of ``run_inner_loop``, and the mean loss on the way."""
    if optimizer == "sgd":
        moved, total = model.sgd_displacement(start, batches, lr, steps)
        return moved, total / max(steps, 1)
    phi, loss = run_inner_loop(model, start, batches, lr, optimizer, steps)
    return flat_stack(sub(start, phi)), loss


def _adam(like: Tensor, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Rule:
    m, v, t = torch.zeros_like(like), torch.zeros_like(like), 0

    def rule(g: Tensor) -> Tensor:
        nonlocal m, v, t
        t += 1
        m, v = torch.lerp(m, g, 1 - beta1), torch.lerp(v, g * g, 1 - beta2)
        return lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)

    return rule
