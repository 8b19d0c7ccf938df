"""Canaries: artificial people whose updates an attacker chose, and therefore can look for in θ.

They take the place of people at the engine, where updates come out of learners: whatever a run does to an update after
that, on devices, in workers or on the server, it does to theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, client_config_from_json
from metapulse.data import Client, Task
from metapulse.methods.base import Report, SumSpec
from metapulse.outcome import Outcome
from metapulse.rng import generator
from metapulse.server.directory import Directory
from metapulse.sim.engines.cohort import FIRST_NODE
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.population import ClientJob
from metapulse.trees import Params, flatten, row_like


@dataclass(frozen=True)
class Canaries:
    """Canary i reports s_i ρ v_i, v_i a direction of its own drawn uniformly, ρ far more than what may count.

    Args:
        first: partition id of the first; those of people are below.
        signs: s_i, 1: in; 0: out, nothing comes; −1: the opposite comes, where neighbours replace one person.
        length: ρ > 0.
        weights: samples that each claims to have.
        seed: address of the directions.
        absent: people of whom nothing comes either.
    """

    first: int
    signs: Int64[np.ndarray, " canaries"]
    length: float
    weights: Float64[np.ndarray, " canaries"]
    seed: int
    absent: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.signs)

    def direction(self, canary: int, parameters: int) -> Float64[Tensor, " parameters"]:
        """v_i, of length one."""
        drawn = generator(self.seed, "canary/direction", 0, canary).standard_normal(parameters)
        return torch.from_numpy(drawn / np.linalg.norm(drawn))

    def report(self, meta: Params, canaries: Sequence[int]) -> Report:
        """What some canaries report, in the shape of θ.

        Args:
            meta: θ.
            canaries: which, from 0; at least one.
        """
        size = sum(p.numel() for p in meta.values())
        updates = [row_like(int(self.signs[i]) * self.length * self.direction(i, size), meta) for i in canaries]
        update = {name: torch.stack([one[name] for one in updates]) for name in meta}
        return Report(update, torch.from_numpy(self.weights[list(canaries)]), {}, {})

    def scores(self, moved: Params) -> Float64[np.ndarray, " canaries"]:
        """⟨v_i, θ_0 − θ_T⟩: how far θ went the way of each canary.

        Args:
            moved: θ_0 − θ_T.
        """
        flat = flatten({name: p.double().unsqueeze(0) for name, p in moved.items()})[0]
        return np.array([float(self.direction(i, len(flat)) @ flat) for i in range(len(self))])


class CanaryPool(LocalPool):
    """This process, with canaries among the people."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries

    def _make(self, job: ClientJob) -> ClientExecutor:
        return CanaryExecutor(client_config_from_json(json.loads(job.text)), self._canaries)


class CanaryExecutor(ClientExecutor):
    """People's work as it is, and canaries' reports beside theirs."""

    def __init__(self, spec: ClientConfig, canaries: Canaries) -> None:
        super().__init__(spec)
        self._canaries = canaries

    def train(
        self,
        meta: Params,
        round: int,
        clients: Sequence[int],
        states: Mapping[int, Params] | None = None,
        sum_spec: SumSpec | None = None,
    ) -> Outcome:
        """One round; updates one by one, whatever ``sum_spec`` says, because canaries' are to be among them."""
        first = self._canaries.first
        people = [c for c in clients if c < first and c not in self._canaries.absent]
        heard = [c for c in clients if c >= first and self._canaries.signs[c - first]]
        outcome = super().train(meta, round, people, states) if people else Outcome([], None, {})
        reports = [replace(outcome.report, metrics={})] if outcome.report is not None else []  # they are not used
        if heard:
            reports.append(self._canaries.report(meta, [c - first for c in heard]))
        return replace(outcome, clients=[*outcome.clients, *heard], report=_join(reports) if reports else None)


def _join(reports: Sequence[Report]) -> Report:
    """People's and canaries', one after the other."""
    names = reports[0].update
    return Report(
        {name: torch.cat([one.update[name] for one in reports]) for name in names},
        torch.cat([one.weight.to(reports[0].weight) for one in reports]),
        {},
        {},
    )


@dataclass(frozen=True)
class CrowdDirectory:
    """A directory of some people, each with one device, and of canaries, who wear the same.

    Args:
        real: the run's own directory.
        people: partition ids of those who are there.
        canaries: how many there are besides.
    """

    real: Directory
    people: Sequence[int]
    canaries: int

    @property
    def task(self) -> Task:
        """What is predicted from what."""
        return self.real.task

    @property
    def users(self) -> int:
        """Number of people, those included who are not there."""
        return self.real.users + self.canaries

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device model that occurs."""
        return self.real.devices

    def __len__(self) -> int:
        return len(self.people) + self.canaries

    def partition_ids(self) -> Sequence[int]:
        """Partition ids, ascending."""
        return [*self.people, *range(len(self.real), len(self.real) + self.canaries)]

    def client(self, index: int) -> Client:
        """Who a client is; labels are partition ids."""
        canary = index - len(self.real)
        if canary < 0:
            return replace(self.real.client(index), label=str(index))
        return Client(index, self.real.users + canary, self.real.client(self.people[0]).device, str(index))

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices, of which there is one here."""
        if user >= self.real.users:
            return [user - self.real.users + len(self.real)]
        return [c for c in self.real.clients_of(user) if c in self.people]

    def nodes_of(self, clients: Sequence[int]) -> list[int]:
        """Where some clients are."""
        return [self.node(client) for client in clients]

    def node(self, index: int) -> int:
        """Where a client is."""
        return index + FIRST_NODE
