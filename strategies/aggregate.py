"""Aggregation: from a stack of updates to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from client.learners.base import shares
from client.trees import Stacked, finite, weighted_sum
from client.work import Outcome
from strategies.replies import MAX_WEIGHT, Dropped, Stack, Total, sound


def mean(update: Stacked, weight: Float[Tensor, " clients"]) -> dict[str, Tensor]:
    """Σ w_i u_i / Σ w_i, accumulated in float64.

    A float32 mean over ten thousand clients errs in the sixth digit, and its error depends on their order.

    Args:
        update: (clients, *shape) per name.
        weight: w ≥ 0, not all zero.

    Returns:
        The mean, in each update's own dtype.
    """
    shares = weight.double() / weight.double().sum()
    return {
        name: torch.tensordot(shares, u.double().reshape(len(u), -1), dims=1).to(u.dtype).view(u.shape[1:])
        for name, u in update.items()
    }


def condense(outcome: Outcome, weighting: str) -> Outcome:
    """A chunk's updates as Σ w_i u_i, once each of them has been found sound; who is not becomes a failure.

    Where the learner has added them up itself, so it stays: a sum like that is only made of sound updates.

    A sum of some dozens of clients in float32 errs in the seventh digit; chunks are added up in float64 (``join``).

    Args:
        outcome: of one chunk.
        weighting: "samples" or "uniform".
    """
    if outcome.report is None or outcome.total is not None:
        return outcome
    report, clients, failures = outcome.report, outcome.clients, outcome.failures
    total = weighted_sum(report.update, shares(report.weight, weighting).to(torch.float32))
    sane = (report.weight > 0) & (report.weight <= MAX_WEIGHT)  # false for what is not a number
    if not (bool(sane.all()) and finite(total)):  # one bad number shows in the sum; now find whose it is
        stack, refused = sound(Stack(clients, report.update, report.weight, report.metrics))
        failures = failures | {one.client: one.reason for one in refused}
        if stack is None:
            return replace(outcome, clients=[], report=None, failures=failures)
        report, clients = replace(report, weight=stack.weight, metrics=dict(stack.metrics)), stack.clients
        wide = {name: u.double() for name, u in stack.update.items()}
        total = weighted_sum(wide, shares(stack.weight, weighting).double())
    return replace(outcome, clients=clients, report=replace(report, update={}), failures=failures, total=total)


def join(parts: Sequence[Outcome], weighting: str) -> tuple[Total | None, list[Dropped]]:
    """The sums of a round's chunks as one, in their order, and who failed."""
    failures = [Dropped(c, reason) for part in parts for c, reason in sorted(part.failures.items())]
    good = [(part, part.report, part.total) for part in parts if part.report is not None and part.total is not None]
    if not good:
        return None, failures
    total = {name: p.double() for name, p in good[0][2].items()}
    for _, _, more in good[1:]:
        total = {name: p + more[name] for name, p in total.items()}
    weight = torch.cat([report.weight for _, report, _ in good])
    metrics = {name: torch.cat([report.metrics[name] for _, report, _ in good]) for name in good[0][1].metrics}
    clients = [c for part, _, _ in good for c in part.clients]
    return Total(clients, total, float(shares(weight, weighting).double().sum()), weight, metrics), failures
