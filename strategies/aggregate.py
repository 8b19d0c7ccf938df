"""Aggregation: from a stack of updates to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from flwr.app import ConfigRecord
from jaxtyping import Float
from torch import Tensor

from metapulse.client.privacy import Guard, clipped_sum, read_guard, silenced
from metapulse.client.secure.quantise import ENTRIES, SumTerms, quantise
from metapulse.client.wire import CLIP, GUARD, SUM
from metapulse.methods.base import NORM, Report, SumSpec, update_shares
from metapulse.outcome import Outcome
from metapulse.strategies.replies import MAX_WEIGHT, Dropped, UpdateStack, UpdateSum, sound
from metapulse.trees import Params, Stacked, all_finite, tree_map, weighted_sum


@dataclass(frozen=True)
class AggregationSpec:
    """How an engine that holds many clients returns their updates: one by one, or as a sum.

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
    terms: SumTerms | None = None
    #: How a learner may add its updates up by itself; None: it may not, they are looked at one by one.
    sum_spec: SumSpec | None = field(init=False)

    def __post_init__(self) -> None:
        apart = self.guard or self.terms or self.clip or not self.weighting
        object.__setattr__(self, "sum_spec", None if apart else SumSpec(self.weighting))

    @classmethod
    def asked(cls, config: ConfigRecord) -> AggregationSpec:
        """What an instruction asks for."""
        guard = read_guard(config) if GUARD in config else None
        return cls(str(config.get(SUM, "")), float(str(config.get(CLIP, 0.0))), guard)


def weighted_mean(update: Stacked, weight: Float[Tensor, " clients"]) -> dict[str, Tensor]:
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


def partial_sum(outcome: Outcome, aggregation: AggregationSpec) -> Outcome:
    """A chunk's updates as Σ w_i u_i, once each of them has been found sound; who is not becomes a failure.

    Where the learner has added them up itself, so it stays: a sum like that is only made of sound updates.

    A sum of some dozens of clients in float32 errs in the seventh digit; chunks are added up in float64
    (``join_sums``).

    Args:
        outcome: of one chunk.
        aggregation: how its updates are weighted, and clipped first.
    """
    if outcome.report is None or outcome.total is not None:
        return outcome
    if aggregation.terms is not None:
        return _partial_sum_entries(outcome, outcome.report, aggregation.terms, aggregation.guard)
    report = outcome.report
    total, metrics = _sum(report.update, report.weight, aggregation, torch.float32)
    sane = (report.weight > 0) & (report.weight <= MAX_WEIGHT)  # false for what is not a number
    if not (bool(sane.all()) and all_finite(total)):  # one bad number shows in the sum; now find whose it is
        outcome = vetted(outcome, report)
        if outcome.report is None:
            return outcome
        report = outcome.report
        wide = {name: u.double() for name, u in report.update.items()}
        total, metrics = _sum(wide, report.weight, aggregation, torch.float64)
    return replace(outcome, report=replace(report, update={}, metrics=report.metrics | metrics), total=total)


def vetted(outcome: Outcome, report: Report) -> Outcome:
    """A chunk without those whose update or weight is unsound, which become failures."""
    stack, refused = sound(UpdateStack(outcome.clients, report.update, report.weight, report.metrics))
    failures = outcome.failures | {one.client: one.reason for one in refused}
    if stack is None:
        return replace(outcome, clients=[], report=None, failures=failures)
    report = replace(report, update=stack.update, weight=stack.weight, metrics=dict(stack.metrics))
    return replace(outcome, clients=stack.clients, report=report, failures=failures)


def _partial_sum_entries(outcome: Outcome, report: Report, terms: SumTerms, guard: Guard | None) -> Outcome:
    """A chunk's whole numbers, added up; neither weights nor metrics leave a device."""
    outcome = vetted(outcome, report) if guard is None else replace(outcome, report=silenced(report))
    if outcome.report is None:
        return outcome
    entries = quantise(outcome.report, terms, outcome.clients, guard).sum(0)
    report = replace(outcome.report, update={}, metrics={})
    return replace(outcome, report=report, total={ENTRIES: torch.from_numpy(entries)})


def _sum(
    update: Stacked, weight: Float[Tensor, " clients"], aggregation: AggregationSpec, dtype: torch.dtype
) -> tuple[Params, dict[str, Tensor]]:
    """Σ w_i u_i; where updates are clipped Σ u_i, one weight for all as a claim of privacy has it, and their norms."""
    if not aggregation.clip:
        return weighted_sum(update, update_shares(weight, aggregation.weighting).to(dtype)), {}
    total, norms = clipped_sum(update, aggregation.clip)
    return total, {NORM: norms}


def join_sums(parts: Sequence[Outcome], weighting: str) -> tuple[UpdateSum | None, list[Dropped]]:
    """The sums of a round's chunks as one, in their order, and who failed."""
    failures = [Dropped(c, reason) for part in parts for c, reason in sorted(part.failures.items())]
    good = [(part, part.report, part.total) for part in parts if part.report is not None and part.total is not None]
    if not good:
        return None, failures
    total = tree_map(Tensor.double, good[0][2])
    for _, _, more in good[1:]:
        total = tree_map(torch.add, total, more)
    weight = torch.cat([report.weight for _, report, _ in good])
    metrics = {name: torch.cat([report.metrics[name] for _, report, _ in good]) for name in good[0][1].metrics}
    clients = [c for part, _, _ in good for c in part.clients]
    return UpdateSum(clients, total, float(update_shares(weight, weighting).double().sum()), weight, metrics), failures
