"""Sampling of clients: cohorts and test groups, drawn from the directory of clients that an engine offers.

Drawing is by partition id, addressed by (seed, round), never by node ids, which Flower makes up anew for every run. A
draw from a million clients costs what a draw from a thousand does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from flwr.serverapp import Grid
from jaxtyping import Bool, Int64

from metapulse.client.flower_compat import NodeInfo
from metapulse.errors import ConfigError
from metapulse.rng import generator, uniforms
from metapulse.server.config import Config
from metapulse.server.directory import Directory
from metapulse.server.grid import GridWrapper
from metapulse.server.split import Split
from metapulse.strategies.registry import STRATEGIES

LISTED = 20_000  # populations up to this size are listed; larger ones are drawn from by rejection
BLOCK = 2**16  # people of a large population whose coins are thrown at once

#: Partition ids.
Ids: TypeAlias = Int64[np.ndarray, " clients"]
#: Who of them.
Who: TypeAlias = Bool[np.ndarray, " clients"]
#: Tells who of some clients may be drawn.
Fits: TypeAlias = Callable[[Ids], Who]


@dataclass(frozen=True)
class ClientSampler:
    """Samples cohorts and test groups of clients.

    Args:
        config: split, evaluation and seeds.
    """

    directory: Directory
    config: Config

    @cached_property
    def split(self) -> Split:
        """Phase of every person; people named in the configuration are looked up by their published ids."""
        settings = self.config.split
        tests = self._by_label("split.test_users", settings.test_users)
        validations = self._by_label("split.validation_users", settings.validation_users)
        if both := tests & validations:
            raise ConfigError("split.test_users", list(settings.test_users), f"{len(both)} are validation users too")
        return Split(
            self.directory.users,
            settings.validation,
            settings.test,
            settings.seed,
            validations,
            tests,
            settings.folds,
            settings.fold,
        )

    def cohort(self, round: int, size: int) -> list[int]:
        """Partition ids of one round's clients, ascending (``size`` 0, or more than there are: every one)."""
        rng = generator(self.config.run.seed, "cohort", round)
        eligible = self._train
        if eligible is None:
            if size == 0:
                raise ConfigError("strategy.cohort", 0, f"must be given for {len(self.directory)} clients")
            fits = self._fits("train", self.train_devices)
            return self._reject(rng, size, self.directory.partition_ids(), fits, "strategy.cohort")
        if len(eligible) == 0:
            raise ConfigError("split", self.config.split.test, "leaves no person in meta-training")
        everyone = size == 0 or size >= len(eligible)
        return _sorted(eligible if everyone else rng.choice(eligible, size, replace=False))

    def clamped(self, size: int) -> list[str]:
        """What to say of a cohort that is larger than the population; [] where it is not."""
        there = None if self._train is None else len(self._train)
        if there is None or size <= there:
            return []
        return [f"strategy.cohort = {size}, and {there} clients are in meta-training: each round asks all of them"]

    @cached_property
    def people(self) -> int:
        """How many people can be drawn by person; of a large population all of meta-training, whatever they wear."""
        if self._people is not None:
            return len(self._people)
        return self.directory.users - sum(self.split.shares)

    @property
    def drawn_from(self) -> int:
        """N, how many a round is drawn from: people under privacy, else clients (of too many, people × devices)."""
        if self._train is not None and not self.config.privacy.on:
            return len(self._train)
        return round(self.people * (1.0 if self.config.privacy.on else len(self.directory) / self.directory.users))

    @property
    def labels(self) -> list[str]:
        """Published ids of all people who can be drawn by person, sorted; [] where there are too many to list."""
        if self._train is None:
            return []
        return sorted({self.directory.client(c).label for c in self._train.tolist()})

    def persons(self, seed: int, round: int, size: int, sampling: str, people: int = 0) -> list[int]:
        """Partition ids of a round that is drawn by person, ascending: no person is in it with two devices.

        Each person is in it with probability size / people, independently of all others ("poisson"; it may be empty),
        or exactly ``size`` people are ("fixed"). Which of several devices takes part is drawn then. Coins have
        addresses: a person's coin does not depend on the other people.

        Args:
            seed: address of the draw; where privacy rests on it, a secret.
            size: people expected or drawn, from 1 to ``people``.
            sampling: "poisson" or "fixed".
            people: how many the probability is to be of (0: as many as there are).
        """
        if sampling == "poisson":
            chosen = self._by_coin(seed, round, size / (people or self.people))
        elif self._people is None:
            chosen = self._from_many(generator(seed, "people", round), size)
        else:
            chosen = generator(seed, "people", round).choice(self._people, size, replace=False)
        found = (self._device(seed, round, user) for user in chosen.tolist())
        return sorted(client for client in found if client is not None)

    def _by_coin(self, seed: int, round: int, rate: float) -> Ids:
        """People of meta-training whose own coin says so: u(seed, "people", round, person) < rate."""

        def heads(people: Ids) -> Who:
            return np.asarray(uniforms(seed, "people", round, people, 1)[:, 0] < rate)

        if self._people is not None:
            listed: Ids = self._people[heads(self._people)]
            return listed
        users = self.directory.users
        blocks = [np.arange(start, min(start + BLOCK, users)) for start in range(0, users, BLOCK)]
        drawn = np.concatenate([block[heads(block)] for block in blocks])
        chosen: Ids = drawn[self._in_training(drawn)]
        return chosen

    def _in_training(self, people: Ids) -> Who:
        return np.asarray(self.split.phases(people) == "train")

    def _from_many(self, rng: np.random.Generator, size: int) -> Ids:
        """So many people of a large population."""
        everyone = range(self.directory.users)
        return np.array(self._reject(rng, size, everyone, self._in_training, "strategy.cohort"), dtype=np.int64)

    def _device(self, seed: int, round: int, user: int) -> int | None:
        """The device with which a person takes part; None for people without one of meta-training."""
        worn = self.directory.clients_of(user)
        if not self._any_device:
            worn = [c for c in worn if self.directory.client(c).device in self.train_devices]
        if len(worn) < 2:
            return worn[0] if worn else None
        return worn[int(generator(seed, "device", round, user).integers(len(worn)))]

    def targets(self, scenario: str, held_out: str = "") -> list[int]:
        """Partition ids asked in a scenario, ascending; the same in every round.

        Args:
            held_out: whose people where it is about held-out ones, "validation" or "test" ("": evaluation.phase).

        Raises:
            ConfigError: no client fits the scenario.
        """
        settings = self.config.evaluation
        phase = "train" if scenario == "known_user" else held_out or settings.phase
        devices = self._asked_on(scenario, phase)
        rng = generator(settings.seed, f"targets/{scenario.removesuffix('_history')}")
        fits = self._fits(phase, devices)
        if len(self.directory) > LISTED:
            return self._reject(rng, settings.clients, self.directory.partition_ids(), fits, "evaluation.clients")
        everyone = self._listed(fits)
        if not len(everyone):
            raise ConfigError(
                "evaluation.scenarios", scenario, f"none fits: phase {phase}, devices {', '.join(devices) or 'none'}"
            )
        if len(everyone) <= settings.clients:
            return _sorted(everyone)
        return _sorted(rng.choice(everyone, settings.clients, replace=False))

    def _asked_on(self, scenario: str, phase: str) -> tuple[str, ...]:
        """Device models on which a scenario is asked; those of the test are for the test alone."""
        if not scenario.startswith("new_device"):
            return self.train_devices
        tests, key = self.test_devices, "evaluation.devices"
        if seen := [d for d in tests if d in self.train_devices]:
            raise ConfigError(key, seen, "worn in meta-training; must not be in split.train_devices")
        if phase != "validation":
            return tests
        key = "evaluation.validation_devices"
        named = self._known(key, self.config.evaluation.validation_devices)
        if both := [d for d in named if d in tests]:
            raise ConfigError(key, both, "devices of the test; must not be in evaluation.devices")
        return named or self.train_devices

    @property
    def train_devices(self) -> tuple[str, ...]:
        """Device models of the meta-training population."""
        return self._known("split.train_devices", self.config.split.train_devices) or self.directory.devices

    @property
    def test_devices(self) -> tuple[str, ...]:
        """Device models of the new-device scenarios."""
        named = self._known("evaluation.devices", self.config.evaluation.devices)
        return named or tuple(d for d in self.directory.devices if d not in self.train_devices)

    @cached_property
    def _train(self) -> Ids | None:
        """Clients in meta-training; None where there are too many to list."""
        return None if len(self.directory) > LISTED else self._listed(self._fits("train", self.train_devices))

    @cached_property
    def _any_device(self) -> bool:
        return set(self.train_devices) >= set(self.directory.devices)

    @cached_property
    def _people(self) -> Ids | None:
        """People in meta-training, ascending; None where there are too many to list."""
        if self._train is None:
            return None
        return np.unique(np.array([self.directory.client(c).user for c in self._train.tolist()], dtype=np.int64))

    def _listed(self, fits: Fits) -> Ids:
        everyone = np.array(self.directory.partition_ids(), dtype=np.int64)
        fitting: Ids = everyone[fits(everyone)]
        return fitting

    def _fits(self, phase: str, devices: Collection[str]) -> Fits:
        """The test for people of one phase with one of some devices; no client is looked at where all pass it."""
        if phase == "train" and self.split.trivial and set(devices) >= set(self.directory.devices):
            return lambda clients: np.ones(len(clients), dtype=np.bool_)

        def fits(clients: Ids) -> Who:
            who = [self.directory.client(c) for c in clients.tolist()]
            users = np.array([one.user for one in who], dtype=np.int64)
            worn = np.array([one.device in devices for one in who], dtype=np.bool_)
            fitting: Who = worn & (self.split.phases(users) == phase)
            return fitting

        return fits

    def _reject(self, rng: np.random.Generator, size: int, everyone: Sequence[int], fits: Fits, key: str) -> list[int]:
        """``size`` distinct ones that fit: the first to be drawn, of whom no more are looked at than it takes."""
        chosen = np.empty(0, dtype=np.int64)
        for _ in range(200):
            drawn = np.array([everyone[i] for i in rng.integers(len(everyone), size=2 * size).tolist()], dtype=np.int64)
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            fresh = drawn[~np.isin(drawn, chosen)]
            while len(fresh) and len(chosen) < size:
                part, fresh = np.split(fresh, [size - len(chosen)])
                chosen = np.concatenate([chosen, part[fits(part)]])
            if len(chosen) == size:
                return _sorted(chosen)
        raise ConfigError(key, size, f"more than the clients that fit ({len(chosen)} found)")

    def _known(self, key: str, devices: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [d for d in devices if d not in self.directory.devices]
        if unknown:
            raise ConfigError(key, unknown, f"must be among {', '.join(self.directory.devices)}")
        return devices

    def _by_label(self, key: str, labels: tuple[str, ...]) -> frozenset[int]:
        if not labels:
            return frozenset()
        if len(self.directory) > LISTED:
            raise ConfigError(key, list(labels), f"people can be named in populations up to {LISTED} clients")
        users = {who.label: who.user for who in map(self.directory.client, self.directory.partition_ids())}
        unknown = [label for label in labels if label not in users]
        if unknown:
            raise ConfigError(key, unknown, f"no such people; there are {', '.join(sorted(users)[:30])}")
        return frozenset(users[label] for label in labels)


def over_selected(config: Config) -> Mapping[str, Any]:
    """The strategy's section, its cohort larger by the share that is asked beyond it."""
    more = config.faults.over_selection
    cohort = STRATEGIES.make(config.strategy).cohort
    return {**config.strategy, "cohort": math.ceil(cohort * (1 + more))} if more else config.strategy


def _sorted(clients: Ids) -> list[int]:
    ids: list[int] = np.sort(clients).tolist()
    return ids


class SubsetGrid(GridWrapper):
    """A grid that shows a chosen group of clients and nothing else; messages go through to the real one.

    So a strategy that asks for "all nodes" gets this round's cohort, drawn by address, whatever engine is behind.
    """

    def __init__(self, grid: Grid, clients: Sequence[int], directory: Directory) -> None:
        super().__init__(grid)
        self._directory = directory
        self.show(clients)

    def show(self, clients: Sequence[int]) -> None:
        """From now on it shows these clients."""
        self._clients = dict(zip(self._directory.nodes_of(clients), clients, strict=True))
        self.client_of = self._clients.__getitem__  # partition id of a node

    def get_node_ids(self) -> Iterable[int]:
        """The chosen nodes."""
        return list(self._clients)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The chosen nodes."""
        return (NodeInfo(node_id=node) for node in self._clients)
