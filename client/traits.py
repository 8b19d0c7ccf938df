"""Work of a population some of whom attack, or whose devices fail: the client's, and so the same on every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from metapulse.client.attacks.base import Attack
from metapulse.client.spec import WorkSpec
from metapulse.client.work import Work
from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import ClientError
from metapulse.methods.base import Adding, Learner, Report
from metapulse.outcome import Outcome
from metapulse.registry import ATTACKS
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked


class Troubled(Work):
    """Work with attackers and faults.

    Args:
        spec: the specification.
        task: as for ``Work``.
    """

    def __init__(self, spec: WorkSpec, task: Task | None = None) -> None:
        super().__init__(spec, task)
        self.attack: Attack = ATTACKS.make(spec.attack)
        self.faults = spec.faults

    def train(
        self,
        meta: Params,
        round: int,
        clients: Sequence[int],
        states: Mapping[int, Params] | None = None,
        adding: Adding | None = None,
    ) -> Outcome:
        """One round of those who can be reached; late replies are lost, and what their devices keep is not.

        Updates come one by one, whatever ``adding`` says: a sum could not be taken apart again.
        """
        who = {c: self.source.client(c) for c in clients}
        away = self.faults.away(self.spec.seed, round, list(who.values()))
        there = [c for c in clients if c not in away]
        outcome = super().train(meta, round, there, states) if there else Outcome([], None, {})
        late: dict[int, str] = {}
        if outcome.report is not None:
            samples = outcome.report.weight.double().cpu().numpy()
            late = self.faults.late(self.spec.seed, round, [who[c] for c in outcome.clients], samples)
        lost = _said(away, round, "away") | _said(late, round, "reply")
        outcome = without(replace(outcome, failures=outcome.failures | lost), late)
        return outcome if self.attack.omniscient else self.forged(outcome, round)

    def forged(self, outcome: Outcome, round: int) -> Outcome:
        """An outcome with what its attackers report in the place of their honest updates.

        Args:
            outcome: of a stack; of the whole cohort where the attack is made of everybody's updates.
            round: federated round.
        """
        if outcome.report is None:
            return outcome
        bad = self._attackers(round, outcome.clients).to(outcome.report.weight.device)
        if not bad.any() or (self.attack.omniscient and bad.all()):  # nobody honest to learn from
            return outcome
        keys = Keys(self.spec.seed, round, outcome.clients)
        return replace(
            outcome, report=replace(outcome.report, update=self.attack.forge(outcome.report.update, bad, keys))
        )

    def _episodes(self, round: int, clients: Sequence[int]) -> tuple[list[int], Episode, dict[int, str]]:
        kept, episode, failures = super()._episodes(round, clients)
        if not kept:
            return kept, episode, failures
        keys, bad = Keys(self.spec.seed, round, kept), self._attackers(round, kept)

        def changed(batch: Batch, side: str) -> Batch:
            batch = self.faults.shortened(batch, keys, side)
            return self.attack.poison(self.task, batch, bad, keys, side) if bad.any() else batch

        return kept, Episode(changed(episode.support, "support"), changed(episode.query, "query")), failures

    def _judge(
        self, learner: Learner, phi: Stacked, query: Batch, classes: Bool[Tensor, "c k"] | None
    ) -> dict[str, Tensor]:
        judge: Callable[[Batch], dict[str, Tensor]] = partial(super()._judge, learner, phi, classes=classes)
        return judge(query) | self.attack.success(self.task, query, judge)

    def _attackers(self, round: int, clients: Sequence[int]) -> Bool[Tensor, " clients"]:
        return self.attack.attackers(self.spec.seed, round, [self.source.client(c).user for c in clients])


def without(outcome: Outcome, lost: Mapping[int, str]) -> Outcome:
    """An outcome without the reports of some clients; their devices keep what they have learnt."""
    if not lost or outcome.report is None:
        return outcome
    rows = [i for i, c in enumerate(outcome.clients) if c not in lost]
    if not rows:
        return replace(outcome, clients=[], report=None)
    at, report = torch.from_numpy(np.array(rows)).to(outcome.report.weight.device), outcome.report
    metrics = {name: m[at] for name, m in report.metrics.items()}
    kept = Report({name: u[at] for name, u in report.update.items()}, report.weight[at], {}, metrics)
    return replace(outcome, clients=[outcome.clients[i] for i in rows], report=kept)


def _said(reasons: Mapping[int, str], round: int, stage: str) -> dict[int, str]:
    return {client: str(ClientError(round, client, stage, reason)) for client, reason in reasons.items()}
