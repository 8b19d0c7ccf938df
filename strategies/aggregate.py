"""Aggregation: from a stack of updates to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from flwr.app import ConfigRecord
from jaxtyping import Float
from torch import Tensor

from metapulse.client.privacy import Guard, clipped_sum, read_guard
from metapulse.client.secure.quantise import ENTRIES, Terms, quantise
from metapulse.client.wire import CLIP, GUARD, SUM
from metapulse.methods.base import NORM, Adding, Report, shares
from metapulse.outcome import Outcome
from metapulse.strategies.replies import MAX_WEIGHT, Dropped, Stack, Total, sound
from metapulse.trees import Params, Stacked, finite, tensors, weighted_sum


@dataclass(frozen=True)
class Handover:
    """How an engine that holds many clients hands over their updates.

    Args:
        weighting: "samples" or "uniform": as their weighted sum; "": one by one.
        clip: C, the norm that the updates of a sum are clipped to first; 0: they are not.
        guard: what each device does to its own update before; None: nothing.
        terms: as a sum of whole numbers (``metapulse.client.secure.quantise``), on which the guard has acted; None: as
        it is.
    """

    weighting: str = ""
    clip: float = 0.0
    guard: Guard | None = None
    terms: Terms | None = None
    #: How a learner may add its updates up by itself; None: it may not, they are looked at one by one.
    adding: Adding | None = field(init=False)

    def __post_init__(self) -> None:
        apart = self.guard or self.terms or self.clip or not self.weighting
        object.__setattr__(self, "adding", None if apart else Adding(self.weighting))

    @classmethod
    def asked(cls, config: ConfigRecord) -> Handover:
        """What an instruction asks for."""
        guard = read_guard(config) if GUARD in config else None
        return cls(str(config.get(SUM, "")), float(str(config.get(CLIP, 0.0))), guard)


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


def condense(outcome: Outcome, handover: Handover) -> Outcome:
    """A chunk's updates as Σ w_i u_i, once each of them has been found sound; who is not becomes a failure.

    Where the learner has added them up itself, so it stays: a sum like that is only made of sound updates.

    A sum of some dozens of clients in float32 errs in the seventh digit; chunks are added up in float64 (``join``).

    Args:
        outcome: of one chunk.
        handover: how its updates are weighted, and clipped first.
    """
    if outcome.report is None or outcome.total is not None:
        return outcome
    if handover.terms is not None:
        return _condense_entries(outcome, outcome.report, handover.terms, handover.guard)
    report = outcome.report
    total, metrics = _sum(report.update, report.weight, handover, torch.float32)
    sane = (report.weight > 0) & (report.weight <= MAX_WEIGHT)  # false for what is not a number
    if not (bool(sane.all()) and finite(total)):  # one bad number shows in the sum; now find whose it is
        outcome = vetted(outcome, report)
        if outcome.report is None:
            return outcome
        report = outcome.report
        wide = {name: u.double() for name, u in report.update.items()}
        total, metrics = _sum(wide, report.weight, handover, torch.float64)
    return replace(outcome, report=replace(report, update={}, metrics=report.metrics | metrics), total=total)


def vetted(outcome: Outcome, report: Report) -> Outcome:
    """A chunk without those whose update or weight is unsound, which become failures."""
    stack, refused = sound(Stack(outcome.clients, report.update, report.weight, report.metrics))
    failures = outcome.failures | {one.client: one.reason for one in refused}
    if stack is None:
        return replace(outcome, clients=[], report=None, failures=failures)
    report = replace(report, update=stack.update, weight=stack.weight, metrics=dict(stack.metrics))
    return replace(outcome, clients=stack.clients, report=report, failures=failures)


def _condense_entries(outcome: Outcome, report: Report, terms: Terms, guard: Guard | None) -> Outcome:
    """A chunk's whole numbers, added up; neither weights nor metrics leave a device."""
    outcome = vetted(outcome, report)
    if outcome.report is None:
        return outcome
    entries = quantise(outcome.report, terms, outcome.clients, guard).sum(0)
    report = replace(outcome.report, update={}, metrics={})
    return replace(outcome, report=report, total={ENTRIES: torch.from_numpy(entries)})


def _sum(
    update: Stacked, weight: Float[Tensor, " clients"], handover: Handover, dtype: torch.dtype
) -> tuple[Params, dict[str, Tensor]]:
    """Σ w_i u_i; where updates are clipped Σ u_i, one weight for all as a claim of privacy has it, and their norms."""
    if not handover.clip:
        return weighted_sum(update, shares(weight, handover.weighting).to(dtype)), {}
    total, norms = clipped_sum(update, handover.clip)
    return total, {NORM: norms}


def join(parts: Sequence[Outcome], weighting: str) -> tuple[Total | None, list[Dropped]]:
    """The sums of a round's chunks as one, in their order, and who failed."""
    failures = [Dropped(c, reason) for part in parts for c, reason in sorted(part.failures.items())]
    good = [(part, part.report, part.total) for part in parts if part.report is not None and part.total is not None]
    if not good:
        return None, failures
    total = {name: p.double() for name, p in tensors(good[0][2]).items()}
    for _, _, more in good[1:]:
        other = tensors(more)
        total = {name: p + other[name] for name, p in total.items()}
    weight = torch.cat([report.weight for _, report, _ in good])
    metrics = {name: torch.cat([report.metrics[name] for _, report, _ in good]) for name in good[0][1].metrics}
    clients = [c for part, _, _ in good for c in part.clients]
    return Total(clients, total, float(shares(weight, weighting).double().sum()), weight, metrics), failures
