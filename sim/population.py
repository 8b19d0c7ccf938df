"""A simulated population: who of the people attack, and what goes wrong with their devices.

Neither is an engine's: every draw has its address, so that on every engine the same people attack and the same devices
fail. An engine gives its clients the work of such a population in the place of the ordinary one; what clients are told
holds nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.make import make_executor
from metapulse.client.spec import ClientConfig, client_config_from_json
from metapulse.episodes import Batch, Episode, Inputs, Outputs
from metapulse.errors import ClientError
from metapulse.losses import task_metrics
from metapulse.methods.base import Report, SumSpec
from metapulse.metrics.chosen import ChosenMetrics
from metapulse.outcome import Outcome
from metapulse.registry import ATTACKS
from metapulse.rng import Keys
from metapulse.server.config import Config
from metapulse.settings import build, plain
from metapulse.sim.attacks.base import Attack
from metapulse.sim.faults import Faults
from metapulse.trees import Params


@dataclass(frozen=True)
class Population:
    """Sections [attack] and [faults] as JSON, which travels to workers and is a key of what they have made.

    Args:
        attack: "" without attackers.
        faults: "" where nothing goes wrong.
    """

    attack: str = ""
    faults: str = ""

    @classmethod
    def of(cls, config: Config) -> Population:
        """The population of a configuration."""
        attacked, failing = config.attack["name"] != "none", config.faults.simulated
        attack, faults = (json.dumps(plain(section), sort_keys=True) for section in (config.attack, config.faults))
        return cls(attack if attacked else "", faults if failing else "")


SOUND = Population()


@dataclass(frozen=True)
class ClientJob:
    """What the clients of an engine do.

    Args:
        text: the work of an instruction, as JSON.
    """

    text: str
    population: Population = SOUND

    @property
    def work(self) -> ClientExecutor:
        """The work, made once per process."""
        return _made(self)

    @property
    def faulty(self) -> FaultyClients | None:
        """The work of a population with attackers or faults; None of any other."""
        return work if isinstance(work := self.work, FaultyClients) else None


def forget_jobs() -> None:
    """Make work anew from here on: a file of one's own may have changed since this process last ran."""
    _made.cache_clear()


@lru_cache(maxsize=8)
def _made(job: ClientJob) -> ClientExecutor:
    spec = client_config_from_json(json.loads(job.text))
    return (
        make_executor(spec) if job.population == SOUND else make_executor(spec, partial(FaultyClients, job.population))
    )


class FaultyClients(ClientExecutor):
    """Work of a population some of whom attack, or whose devices fail.

    Args:
        population: who attacks, and what goes wrong.
    """

    def __init__(self, population: Population, spec: ClientConfig) -> None:
        super().__init__(spec)
        self.attack: Attack = ATTACKS.make(json.loads(population.attack)) if population.attack else Attack()
        self.faults = build(Faults, json.loads(population.faults or "{}"), "faults")

    @property
    def apart(self) -> bool:
        """Whether updates must be seen one by one, not as their sum."""
        return self.attack.omniscient or self.faults.duplicate > 0

    def twice(self, round: int, clients: Sequence[int]) -> list[int]:
        """Whose reply comes a second time."""
        return self.faults.twice(self.spec.seed, round, clients) if self.faults.duplicate else []

    def train(
        self,
        meta: Params,
        round: int,
        clients: Sequence[int],
        states: Mapping[int, Params] | None = None,
        sum_spec: SumSpec | None = None,
    ) -> Outcome:
        """One round of those who can be reached; late replies are lost, and what their devices keep is not.

        Updates come one by one, whatever ``sum_spec`` says: a sum could not be taken apart again.
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
        outcome = without_reports(replace(outcome, failures=outcome.failures | lost), late)
        return outcome if self.attack.omniscient else self.forged(outcome, round)

    def forged(self, outcome: Outcome, round: int) -> Outcome:
        """An outcome with what its attackers report in the place of their honest updates.

        Args:
            outcome: of a stack; of the whole cohort where the attack is made of all clients' updates.
        """
        if outcome.report is None:
            return outcome
        bad = self._attackers(round, outcome.clients).to(outcome.report.weight.device)
        if not bad.any() or (self.attack.omniscient and bad.all()):  # no honest client to learn from
            return outcome
        keys = Keys(self.spec.seed, round, outcome.clients)
        return replace(
            outcome, report=replace(outcome.report, update=self.attack.forge(outcome.report.update, bad, keys))
        )

    def round_episodes(self, keys: Keys) -> tuple[list[int], Episode, dict[int, str]]:
        """Those of the work, with what attackers and faults do to samples."""
        kept, episode, failures = super().round_episodes(keys)
        if not kept:
            return kept, episode, failures
        keys, bad = Keys(keys.seed, keys.round, kept), self._attackers(keys.round, kept)

        def changed(batch: Batch, side: str) -> Batch:
            batch = self.faults.shortened(batch, keys, side)
            return self.attack.poison(self.task, batch, bad, keys, side) if bad.any() else batch

        return kept, Episode(changed(episode.support, "support"), changed(episode.query, "query")), failures

    def _inputs(self, query: Batch) -> Inputs:
        """What an attack is known by is asked besides."""
        probe = self.attack.probe(query)
        return query.x if probe is None else torch.cat([query.x, probe.x], 1)

    def _judge(
        self, answers: Outputs, query: Batch, classes: Bool[Tensor, "c k"] | None, more: ChosenMetrics | None = None
    ) -> dict[str, Tensor]:
        own, probe = query.mask.shape[1], self.attack.probe(query)
        found = super()._judge(answers[:, :own], query, classes, more)
        if probe is None:
            return found
        return found | self.attack.success(task_metrics(self.task, answers[:, own:], probe.y, probe.mask, classes))

    def _attackers(self, round: int, clients: Sequence[int]) -> Bool[Tensor, " clients"]:
        return self.attack.attackers(self.spec.seed, round, [self.source.client(c).user for c in clients])


def without_reports(outcome: Outcome, lost: Mapping[int, str]) -> Outcome:
    """An outcome without the reports of some clients; their devices keep what they have learnt."""
    if not lost or outcome.report is None:
        return outcome
    rows = [i for i, c in enumerate(outcome.clients) if c not in lost]
    if not rows:
        return replace(outcome, clients=[], report=None)
    rows_kept, report = torch.from_numpy(np.array(rows)).to(outcome.report.weight.device), outcome.report
    metrics = {name: m[rows_kept] for name, m in report.metrics.items()}
    kept = Report({name: u[rows_kept] for name, u in report.update.items()}, report.weight[rows_kept], {}, metrics)
    return replace(outcome, clients=[outcome.clients[i] for i in rows], report=kept)


def _said(reasons: Mapping[int, str], round: int, stage: str) -> dict[int, str]:
    return {client: str(ClientError(round, client, stage, reason)) for client, reason in reasons.items()}
