"""Derivatives through the inner loop by its adjoint: no graph is kept, only the visited points.

The inner loop φ_{k+1} = φ_k − α ⊙ g_k with g_k = ∇L_support(φ_k) has the transposed derivative I − H_k diag(α), so

    λ_K = ∇L_query(φ_K),        λ_k = λ_{k+1} − H_k (α ⊙ λ_{k+1}),

gives dL_query/dθ = λ_0, and dL_query/dα = −Σ_k g_k ⊙ λ_{k+1}. Names outside ``only`` do not move in the inner loop,
which is α = 0 for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.models.base import Model
from metapulse.models.kernels.base import Expansion
from metapulse.models.native.dense import Dense
from metapulse.trees import Params, Stacked, flat_stack, mul, stack, sub, zeros_like


@dataclass(frozen=True)
class OuterGradient:
    """dL_query/dθ and dL_query/dα per client, and the query loss after adaptation."""

    theta: Stacked
    rates: Stacked
    loss: Float[Tensor, " clients"]


def outer_gradient(
    model: Model,
    theta: Stacked,
    rates: Params,
    episode: Episode,
    batches: Iterator[Batch],
    steps: int,
    learned: bool = False,
) -> OuterGradient:
    """Gradient of the query loss after ``steps`` inner steps, exact to second order.

    Args:
        model: the oracle.
        theta: φ₀, (clients, *shape) per name.
        rates: α per name: a number's tensor, or one rate per parameter; 0 keeps a name fixed.
        episode: the query set is used from it.
        batches: support batch of each inner step.
        steps: K ≥ 0.
        learned: whether dL_query/dα is asked for; it is zero otherwise.
    """
    if isinstance(model.compiled, Dense) and model.compiled.takes(theta):
        visits = list(islice(batches, steps))
        found = model.compiled.adjoint(theta, rates, visits, episode.query, learned)
        return OuterGradient(loss=found[0], theta=found[1], rates=found[2])
    clients = len(next(iter(theta.values())))
    alpha = flat_stack(stack(rates, clients))  # one rate per number of the stack: products are one operation
    phi: Stacked = theta
    visited: list[Expansion] = []
    for batch in islice(batches, steps):
        visited.append(model.expand(phi, batch))
        phi = sub(phi, mul(visited[-1].grad, alpha))
    loss, adjoint = model.value_and_grad(phi, episode.query)
    rate_grads = zeros_like(adjoint)
    for at in reversed(visited):
        if learned:
            rate_grads = sub(rate_grads, mul(at.grad, adjoint))
        adjoint = sub(adjoint, at.hvp(mul(adjoint, alpha)))
    return OuterGradient(adjoint, rate_grads, loss)
