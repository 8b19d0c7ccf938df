"""The complete panel of seeds × clients on which two methods are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from metapulse.sim.lab.statistics.crossed import Values


@dataclass(frozen=True)
class Panel:
    """One method on one question.

    Args:
        seeds: of training, rising.
        clients: who answered after every one of these runs, rising.
        users: the person of each client.
        values: one number per seed and client.
    """

    seeds: tuple[int, ...]
    clients: tuple[int, ...]
    users: tuple[str, ...]
    values: Float64[np.ndarray, "seeds clients"]

    @property
    def people(self) -> Values:
        """Mean over each person's clients: who wears two devices counts once."""
        _, person = np.unique(self.users, return_inverse=True)
        member = np.equal.outer(person, np.arange(person.max() + 1)).astype(np.float64)
        means: Values = self.values @ (member / member.sum(0))
        return means

    def take(self, seeds: Sequence[int], clients: Sequence[int]) -> Panel:
        """Some seeds and clients of it, in the order given."""
        rows, columns = [self.seeds.index(s) for s in seeds], [self.clients.index(c) for c in clients]
        users = tuple(self.users[i] for i in columns)
        return Panel(tuple(seeds), tuple(clients), users, self.values[np.ix_(rows, columns)])


def panel(rows: pl.DataFrame) -> Panel:
    """The clients that answered in every seed.

    Args:
        rows: seed, client, user, value; one per seed and client.
    """
    seeds = rows["seed"].unique().sort()
    whole = rows.filter(pl.len().over("client") == len(seeds)).sort("seed", "client")
    first = whole.filter(pl.col("seed") == seeds[0])
    values = whole["value"].to_numpy().reshape(len(seeds), len(first))
    return Panel(tuple(seeds), tuple(first["client"]), tuple(first["user"]), values)


def paired(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    """Both on the seeds and clients that both have."""
    seeds = [s for s in a.seeds if s in b.seeds]
    clients = [c for c in a.clients if c in set(b.clients)]
    return a.take(seeds, clients), b.take(seeds, clients)
