"""Derivatives through the inner loop by its adjoint: no graph is kept, only the visited points.

The inner loop φ_{k+1} = φ_k − α ⊙ g_k with g_k = ∇L_support(φ_k) has the transposed derivative I − H_k diag(α), so

    λ_K = ∇L_query(φ_K),        λ_k = λ_{k+1} − H_k (α ⊙ λ_{k+1}),

gives dL_query/dθ = λ_0, and dL_query/dα = −Σ_k g_k ⊙ λ_{k+1}. What does not move in the inner loop has α = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metapulse.episodes import Batch, PerClient
from metapulse.models.kernels.base import Expansion
from metapulse.models.native.dense import Dense
from metapulse.models.native.stacks import Compiled
from metapulse.models.oracle import Oracle
from metapulse.trees import Params, Stacked, flat_stack, mul, stack, sub, zeros_like


@dataclass(frozen=True)
class OuterGradient:
    """dL_query/dθ and dL_query/dα per client, and the query loss after adaptation."""

    theta: Stacked
    rates: Stacked
    loss: PerClient


def outer_gradient_sum(
    code: Compiled | None,
    theta: Stacked,
    rates: Params,
    support: Sequence[Batch],
    query: Batch,
    shares: PerClient,
) -> tuple[PerClient, Params] | None:
    """Query losses, and Σ_i s_i dL_i/dθ of ``outer_gradient``; None where no compiled code adds them up.

    Args:
        shares: s, (clients,), float32.
    """
    return code.adjoint_sum(theta, rates, support, query, shares) if isinstance(code, Dense) else None


def outer_gradient(
    model: Oracle,
    code: Compiled | None,
    theta: Stacked,
    rates: Params,
    support: Sequence[Batch],
    query: Batch,
    learned: bool,
) -> OuterGradient:
    """Gradient of the query loss after an inner step on each support batch, exact to second order.

    Args:
        code: its compiled form; None: there is none for these parameters.
        theta: φ₀, (clients, *shape) per name.
        rates: α per name: a number's tensor, or one rate per parameter; 0 keeps a name fixed.
        support: the batch of each inner step.
        query: what the adapted parameters are judged on.
        learned: whether dL_query/dα is asked for; it is zero otherwise.
    """
    if isinstance(code, Dense):
        loss, slope, slopes = code.adjoint(theta, rates, support, query, learned)
        return OuterGradient(slope, slopes, loss)
    clients = len(next(iter(theta.values())))
    alpha = flat_stack(stack(rates, clients))  # one rate per number of the stack: products are one operation
    phi: Stacked = theta
    visited: list[Expansion] = []
    for batch in support:
        visited.append(model.expand(phi, batch))
        phi = sub(phi, mul(visited[-1].grad, alpha))
    loss, adjoint = model.value_and_grad(phi, query)
    rate_grads = zeros_like(adjoint)
    for expansion in reversed(visited):
        if learned:
            rate_grads = sub(rate_grads, mul(expansion.grad, adjoint))
        adjoint = sub(adjoint, expansion.hvp(mul(adjoint, alpha)))
    return OuterGradient(adjoint, rate_grads, loss)
