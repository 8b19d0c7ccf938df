"""Whole inner loops of a stack of clients, for every model: step by step, or in one call of compiled code.

A loop gets the model, and the compiled code that may stand in for it (None: there is none for these parameters). Both
ways take the same steps on the same batches; they round differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.models.native.dense import Dense
from metapulse.models.native.stacks import Compiled
from metapulse.models.oracle import Oracle
from metapulse.trees import Flat, Params, Stacked, add, flat_stack, mul, norms, per_client, stack, sub, where

AT_ONCE = 16  # minibatches handed to compiled code in one call: they are all in memory then


def run_sgd(
    model: Oracle, code: Compiled | None, start: Stacked, batches: Iterator[Batch], lr: float, steps: int
) -> tuple[Flat, PerClient]:
    """φ_K of φ_{k+1} = φ_k − α ∇L_k(φ_k), and the sum of the batch losses on the way.

    Args:
        start: φ₀, (clients, *shape) per name; not changed.
        batches: one for each step.
        lr: α > 0.
        steps: K ≥ 0.
    """
    phi, left = flat_stack(start), steps
    total = phi.buffer.new_zeros(phi.layout.clients)
    if code is not None:
        while group := list(islice(batches, min(left, AT_ONCE))):
            loss, phi = code.descend(phi, group, lr)
            total, left = total + loss, left - len(group)
        return phi, total
    gradient = phi.blank()
    for k, batch in enumerate(islice(batches, steps)):
        loss, grads = model.value_and_grad(phi, batch, gradient)
        step = flat_stack(grads).buffer
        if k == 0:  # φ₀ is not ours to change
            phi = phi.like(torch.sub(phi.buffer, step, alpha=lr))
        else:  # in place: two buffers stay in the cache where four would not
            phi.buffer.sub_(step, alpha=lr)
        total += loss
    return phi, total


def answers_of_sgd(
    code: Compiled | None,
    start: Stacked,
    batches: Iterator[Batch],
    lr: float,
    steps: Sequence[int],
    x: Inputs,
    one_batch: bool,
) -> Sequence[Outputs] | None:
    """What φ_k of ``run_sgd`` answers to x, for the steps k asked for; None where no compiled code answers on its way.

    Args:
        start: φ₀, (clients, *shape) per name; not changed.
        batches: one for each step.
        lr: α > 0.
        steps: k ≥ 0, ascending.
        x: inputs of each client.
        one_batch: whether all batches are one; others are in memory at once, and may not be too many.
    """
    if not isinstance(code, Dense) or not (one_batch or steps[-1] <= AT_ONCE):
        return None
    return list(code.answer(start, list(islice(batches, steps[-1])), lr, steps, x)[1])


def sgd_displacement(
    model: Oracle, code: Compiled | None, start: Stacked, batches: Iterator[Batch], lr: float, steps: int
) -> tuple[Flat, PerClient]:
    """φ₀ − φ_K of ``run_sgd``, and the sum of the batch losses on the way."""
    if code is not None and 0 < steps <= AT_ONCE:
        loss, moved = code.descend(start, list(islice(batches, steps)), lr, displacement=True)
        return moved, loss
    phi, loss = run_sgd(model, code, start, batches, lr, steps)
    return flat_stack(sub(start, phi)), loss


def guarded_sgd(
    model: Oracle, code: Compiled | None, start: Stacked, rates: Params, batch: Batch, steps: int, free: int
) -> tuple[Stacked, PerClient]:
    """φ_K of φ_{k+1} = φ_k − α ⊙ ∇L(φ_k) on one batch, where further steps must not raise L; and the loss there.

    A client whose loss a guarded step would raise, or make no number, stays: the next step would be the same.

    Args:
        start: φ₀, (clients, *shape) per name; not changed.
        rates: α per name, a rate per parameter, with or without client axis.
        batch: all that is looked at.
        steps: K ≥ 0.
        free: steps at the beginning that are taken in any case, ≥ 0.
    """
    if isinstance(code, Dense):
        loss, end = code.guarded(start, rates, batch, steps, free)
        return end, loss
    alpha = flat_stack(stack(rates, len(batch.mask)))
    phi: Stacked = start
    loss, gradient = model.value_and_grad(phi, batch)
    for k in range(steps):
        step = sub(phi, mul(gradient, alpha))
        after, slope = model.value_and_grad(step, batch)
        if k < free:
            phi, loss, gradient = step, after, slope
            continue
        better = after <= loss  # False for NaN
        if not better.any():
            break
        phi, gradient = where(better, step, phi), where(better, slope, gradient)
        loss = torch.where(better, after, loss)
    return phi, loss


def adapted_sgd(
    model: Oracle,
    code: Compiled | None,
    start: Stacked,
    batches: Sequence[Iterator[Batch]],
    rates: tuple[float, float],
    delta: float,
    steps: int,
) -> tuple[Stacked, PerClient]:
    """θ − w_K of SGD on the loss after one adaptation step, and the sum of those losses on the way.

    F(w) = f(w − α ∇f(w)), of which w ← w − β ∇F(w) with ∇F = (I − α ∇²f(w)) ∇f(w − α ∇f(w)). Its product with the
    Hessian is dropped, or replaced by ∇²f(w) v ≈ (∇f(w + δ̂ v) − ∇f(w − δ̂ v)) / 2δ̂ with δ̂ = δ / ‖v‖ per client, as
    an absolute width would vanish in rounding while v shrinks (Fallah, Mokhtari and Ozdaglar 2020, arXiv:2002.07948,
    equations 7, 11 and 12).

    Args:
        model: the oracle of f.
        start: θ, (clients, *shape) per name.
        batches: D of the adaptation, D′ of the loss after it, D″ of the curvature; one each for a step.
        rates: α and β.
        delta: δ; 0 drops the Hessian.
        steps: K ≥ 0.
    """
    alpha, beta = rates
    if isinstance(code, Dense):
        loss, moved = code.per_fedavg(start, [list(islice(each, steps)) for each in batches], alpha, beta, delta)
        return moved, loss
    w, total = start, next(iter(start.values())).new_zeros(len(next(iter(start.values()))))
    for d, d1, d2 in islice(zip(*batches, strict=False), steps):
        phi = add(w, model.grad(w, d), -alpha)
        loss, g = model.value_and_grad(phi, d1)
        if delta:
            width = delta / norms(g).clamp(min=1e-12)
            step = flat_stack(per_client(g, width))
            difference = sub(model.grad(add(w, step), d2), model.grad(sub(w, step), d2))
            g = add(g, flat_stack(per_client(difference, 0.5 / width)), -alpha)
        w = add(w, g, -beta)
        total = total + loss
    return sub(start, w), total
