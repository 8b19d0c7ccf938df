"""The split of people into training, validation and test: seeded, exact, and without listing a large population.

Every person gets a rank by a keyed permutation that can be evaluated for any few people alone (a four-round Feistel
network with cycle walking). The first ranks are the meta-test, the next meta-validation, the rest meta-training; so a
million people split exactly as a list of them would, in the memory of a thousand.

Source: Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom functions".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64, Shaped

from metapulse.errors import ConfigError
from metapulse.server.evaluation import once
from metapulse.settings import setting

TURNS = 4  # rounds of the network
#: People, or their ranks.
People: TypeAlias = Int64[np.ndarray, " people"]
#: Words of the round functions known so far: a row per round, a column per half of a value; −1 where not asked yet.
Words: TypeAlias = Int64[np.ndarray, "turns halves"]

#: "train", "validation" or "test".
Phases: TypeAlias = Shaped[np.ndarray, " people"]


@dataclass(frozen=True)
class SplitSettings:
    """Which people are for meta-training, which for choosing, which for the meta-test; always by person."""

    validation: float = setting(0.1, "share of people for meta-validation", ge=0, lt=1)
    test: float = setting(0.2, "share of people for the meta-test", ge=0, lt=1)
    validation_users: tuple[str, ...] = setting((), "these people instead, by the publisher's ids")
    test_users: tuple[str, ...] = setting((), "these people instead, by the publisher's ids")
    train_devices: tuple[str, ...] = setting((), "device models worn in meta-training (empty: all)")
    seed: int = setting(0, "seed of the split; independent of the run's", ge=0)
    folds: int = setting(0, "people in so many parts, of which one is tested (0: split.test says who is)", ge=0)
    fold: int = setting(0, "which part is tested, from 0", ge=0, used_if=("folds",))

    def __post_init__(self) -> None:
        for key in ("validation_users", "test_users", "train_devices"):
            once(f"split.{key}", getattr(self, key))
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            allowed = "split.folds must be 0 or ≥ 2, and split.fold below it"
            raise ConfigError("split.fold", [self.fold, self.folds], allowed)
        if self.folds and (self.test_users or self.validation_users):
            raise ConfigError("split.folds", self.folds, "draws the people; name none in split.test_users")
        if self.folds and self.validation + 1.0 / self.folds >= 1:
            raise ConfigError("split.validation", self.validation, f"must be < 1 - 1/{self.folds}, a fold being tested")
        if self.validation + self.test >= 1:
            raise ConfigError(
                "split.test", self.test, f"validation + test must be < 1 (validation = {self.validation})"
            )


@dataclass(frozen=True)
class Permutation:
    """A keyed permutation of 0 … n − 1.

    The round functions are hashes of half a value, so √n of them are all there can be: each is computed once.

    Args:
        n: how many, ≥ 1.
        seed: the key.
    """

    n: int
    seed: int

    def __call__(self, values: People) -> People:
        """Where each value goes.

        Args:
            values: from 0 to n − 1.
        """
        out = self._network(values)
        while (
            outside := np.flatnonzero(out >= self.n)
        ).size:  # walk on until back inside: fewer than four steps on average
            out[outside] = self._network(out[outside])
        return out

    def _network(self, values: People) -> People:
        """The permutation of 0 … 4^half − 1, of which n is part."""
        left, right = values >> self._half, values & self._mask
        for turn in range(TURNS):
            left, right = right, left ^ self._hashed(turn, right)
        return (left << self._half) | right

    def _hashed(self, turn: int, right: People) -> People:
        """A round function's words at the given halves."""
        known = self._words[turn]
        words: People = known[right]
        if (new := right[words < 0]).size == 0:
            return words
        for half in set(new.tolist()):
            digest = blake2b(f"{self.seed}/{turn}/{half}".encode(), digest_size=8).digest()
            known[half] = int.from_bytes(digest, "little") & self._mask
        words = known[right]
        return words

    @property
    def _half(self) -> int:
        """Bits of half a value."""
        return max(1, ((self.n - 1).bit_length() + 1) // 2)

    @property
    def _mask(self) -> int:
        return (1 << self._half) - 1

    @cached_property
    def _words(self) -> Words:
        return np.full((TURNS, 1 << self._half), -1, dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """Phase of every person.

    Args:
        users: how many people there are.
        validation: share for meta-validation.
        test: share for the meta-test.
        seed: of the permutation.
        validation_users: people fixed for meta-validation; then ``validation`` is not used.
        test_users: people fixed for the meta-test; then ``test`` is not used.
        folds: parts of equal size (± 1) into which the permutation falls; 0: ``test`` says how many are tested.
        fold: the part that is the meta-test's; meta-validation's come next, around the end.
    """

    users: int
    validation: float
    test: float
    seed: int
    validation_users: Collection[int] = field(default=frozenset())
    test_users: Collection[int] = field(default=frozenset())
    folds: int = 0
    fold: int = 0

    @property
    def _bounds(self) -> tuple[int, int]:
        """First rank of the fold, and the first after it: over all folds every person is tested once."""
        return self.fold * self.users // self.folds, (self.fold + 1) * self.users // self.folds

    @property
    def shares(self) -> tuple[int, int]:
        """How many ranks are the meta-test's, and how many meta-validation's."""
        tests = 0 if self.test_users else round(self.test * self.users)
        if self.folds:
            tests = self._bounds[1] - self._bounds[0]
        return tests, 0 if self.validation_users else round(self.validation * self.users)

    @property
    def trivial(self) -> bool:
        """Whether all people are in meta-training."""
        return not (any(self.shares) or self.test_users or self.validation_users)

    def phases(self, people: People) -> Phases:
        """Each person's phase, one of "train", "validation", "test".

        Args:
            people: from 0 to users − 1.
        """
        tests, validations = self.shares
        rank = self._ranks(people) if tests or validations else np.full(len(people), self.users)
        if self.folds:
            rank = (rank - self._bounds[0]) % self.users
        named = [np.isin(people, list(users)) for users in (self.test_users, self.validation_users)]
        return np.select(
            [*named, rank < tests, rank < tests + validations], ["test", "validation"] * 2, default="train"
        )

    @cached_property
    def _ranks(self) -> Permutation:
        return Permutation(self.users, self.seed)
