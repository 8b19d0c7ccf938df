"""How pFedMe's comparison judged Per-FedAvg: adapted on the very samples that are judged (a5_on_test_batches.toml).

It is here to tell what that adds to the published figures, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from metapulse.data import Client, Samples
from metapulse.sim.sources.synthetic import Synthetic

TRAINING, TESTING = "training", "testing"


@dataclass(frozen=True)
class OnTestBatches(Synthetic):
    """Every client twice: as it trains, and as it is tested, with its test samples to adapt on and again to judge.

    Clients 0 … N − 1 are the population's own, on the device "training"; client N + i, user "t_i" on the device
    "testing", has the test samples of client i alone.
    """

    @property
    def users(self) -> int:
        """Both kinds."""
        return 2 * super().users

    @property
    def devices(self) -> tuple[str, ...]:
        """The two kinds."""
        return TRAINING, TESTING

    def client(self, index: int) -> Client:
        """Which client, of which kind.

        Raises:
            DataError: no such client.
        """
        first = super().users
        if index < first:
            return replace(super().client(index), device=TRAINING)
        return replace(super().client(index), device=TESTING, label=f"t_{index - first}")

    def samples(self, index: int) -> Samples:
        """As generated; or the test samples, once on each side.

        Raises:
            DataError: no such client.
        """
        self._check(index)
        population = Synthetic(self.variant, self.alpha, self.beta, self.clients, self.seed)
        own = population.samples(index % super().users)
        if index < super().users:
            return own
        rows = np.flatnonzero(own.held_out)
        twice = own.take(np.concatenate([rows, rows]))
        return replace(twice, group=np.arange(len(twice.y)), held_out=np.arange(len(twice.y)) >= len(rows))
