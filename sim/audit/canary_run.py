"""The one-run audit: the run again with canaries, each in it by a coin, and how well θ tells which."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from metapulse.rng import generator
from metapulse.server.privacy import released
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.sim.audit.bound import EpsilonBound, best_bound, guess_bounds
from metapulse.strategies.privacy.accounting import REPLACE, spent


@dataclass(frozen=True)
class CanaryAudit:
    """Result of the canary audit.

    Args:
        canaries: m.
        people: who trained beside them.
        cohort: people in a round, expected.
        rounds: that were trained.
        delta: δ of both bounds.
        bounds: for every number of guesses; all hold together.
        epsilon: what the run states; None: nothing.
        again: what its accountant says of the run with canaries, whose rate is no larger where that can be; 0: nothing.
        scores: of every canary.
        present: its coin.
    """

    canaries: int
    people: int
    cohort: int
    rounds: int
    delta: float
    bounds: list[EpsilonBound]
    epsilon: float | None
    again: float
    scores: list[float]
    present: list[bool]

    @property
    def bound(self) -> EpsilonBound:
        """The bound that shows most."""
        return best_bound(self.bounds)

    @property
    def refuted(self) -> bool:
        """Whether the claim cannot be true."""
        return self.epsilon is not None and self.bound.epsilon > max(self.epsilon, self.again)


def canary_audit(subject: AuditedRun, canaries: int, most: int, seed: int) -> CanaryAudit:
    """Do the run again with canaries; people are in a round as likely as in the run, or a little less.

    Args:
        canaries: m ≥ 2.
        most: people beside them at most.
        seed: address of coins and directions.
    """
    present = generator(seed, "canary/coin").random(canaries) < 0.5
    plan = subject.plan
    # Neighbours that differ in whether a person is there, or in their data: here, one update or its opposite.
    out = -1 if plan is not None and plan.release.relation == REPLACE else 0
    planted = subject.canaries([1 if coin else out for coin in present], seed)
    people = subject.people(seed, most + 1)
    there = len(people) - 1 + canaries
    cohort = max(1, there * subject.cohort // subject.sampler.people)
    with tempfile.TemporaryDirectory() as folder:
        moved, summary = subject.again(planted, people, cohort, Path(folder) / "run", {})
        again = 0.0
        if plan is not None:  # of the ledger, whether or not the noise has a seed
            again = spent(tuple(released(Path(folder) / "run").items()), plan.settings.delta, plan.settings.accountant)
    scores, delta = planted.scores(moved), 0.0 if plan is None else plan.settings.delta
    bounds = guess_bounds(scores, present, delta)
    rounds = summary["privacy"]["rounds"] if plan is not None else summary["rounds"]
    shown = (scores.tolist(), present.tolist())
    return CanaryAudit(canaries, len(people) - 1, cohort, rounds, delta, bounds, subject.claimed, again, *shown)
