"""Who is for training and who is held out: by person, seeded, exact, and without ever listing a large population.

Every person gets a rank by a keyed permutation that can be evaluated for one person alone (a four-round Feistel
network with cycle walking). The first ranks are the meta-test, the next meta-validation, the rest meta-training; so a
million people split exactly as a list of them would, in no memory.

Source: Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom functions".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass(frozen=True)
class Permutation:
    """A keyed permutation of 0 … n − 1.

    Args:
        n: how many, ≥ 1.
        seed: the key.
    """

    n: int
    seed: int

    def __call__(self, value: int) -> int:
        """Where ``value`` goes."""
        half = max(1, ((self.n - 1).bit_length() + 1) // 2)
        mask = (1 << half) - 1
        while True:  # walk until back inside: fewer than four steps on average
            left, right = value >> half, value & mask
            for turn in range(4):
                text = f"{self.seed}/{turn}/{right}".encode()
                word = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
                left, right = right, left ^ (word & mask)
            value = (left << half) | right
            if value < self.n:
                return value


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
    """

    users: int
    validation: float
    test: float
    seed: int
    validation_users: Collection[int] = field(default=frozenset())
    test_users: Collection[int] = field(default=frozenset())

    def phase(self, user: int) -> str:
        """One of "train", "validation", "test"."""
        if user in self.test_users:
            return "test"
        if user in self.validation_users:
            return "validation"
        tests = 0 if self.test_users else round(self.test * self.users)
        validations = 0 if self.validation_users else round(self.validation * self.users)
        if not tests and not validations:
            return "train"
        rank = Permutation(self.users, self.seed)(user)
        if rank < tests:
            return "test"
        return "validation" if rank < tests + validations else "train"
