"""What a trial of the meta-test asks of a stack of clients: cut from their samples once, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from metapulse.client.spec import Trial
from metapulse.data import Samples, Task
from metapulse.episodes import Batch, Cut
from metapulse.errors import MetapulseError
from metapulse.rng import generator

EPISODE_SHIFT = 40  # episode j of client c has the address c + (j << 40): populations stay below 2^40
REDRAWS = 4  # cuts tried before a client that cannot be evaluated is given up
BUDGET = 256 * 2**20  # bytes of questions that a process keeps


@dataclass(frozen=True)
class AskedStack:
    """Test episodes of a stack, one row each, client by client.

    Args:
        clients: whose episodes could be cut.
        support, query: their samples.
        history: what each was recorded with old devices; no rows where none is asked for.
        base: what a target of 0 stands for in each query sample, per episode; [] where no metric reads values.
        failures: who else was asked, and why there is no episode.
    """

    clients: list[int]
    support: Batch
    query: Batch
    history: Batch
    base: list[Float32[np.ndarray, "_ outputs"]]
    failures: dict[int, str]

    @property
    def nbytes(self) -> int:
        """Memory of the samples."""
        return sum(
            part.x.nbytes + part.y.nbytes + part.mask.nbytes for part in (self.support, self.query, self.history)
        )


class AskedCache:
    """Stacks by their question, the last ones used.

    Args:
        budget: bytes it may hold.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget, self._used = budget, 0
        self._stacks: OrderedDict[Hashable, AskedStack] = OrderedDict()

    def get(self, question: Hashable) -> AskedStack | None:
        """The stack of a question, if it is kept."""
        if question in self._stacks:
            self._stacks.move_to_end(question)
        return self._stacks.get(question)

    def put(self, question: Hashable, asked: AskedStack) -> None:
        """Keep a stack that is not here yet, and let go of those that were used longest ago for it."""
        if asked.nbytes > self._budget:
            return
        self._stacks[question] = asked
        self._used += asked.nbytes
        while self._used > self._budget:
            _, gone = self._stacks.popitem(last=False)
            self._used -= gone.nbytes


def trial_cuts(samples: Samples, task: Task, client: int, trial: Trial) -> list[Cut]:
    """Support and query of each of a client's test episodes.

    Args:
        samples: of the client.
        task: what they are of.
        client: partition id, part of the address.
        trial: the question.

    Raises:
        MetapulseError: no episode can be cut out of the samples.
    """
    cuts = list[Cut]()
    for episode in range(trial.episodes):
        for attempt in range(REDRAWS):
            address = client + ((episode + attempt * trial.episodes) << EPISODE_SHIFT)
            rng = generator(trial.seed, f"meta-test/{trial.name}", 0, address)
            try:
                cuts.append(trial.plan.testing(samples, task, rng))
            except MetapulseError:
                if attempt == REDRAWS - 1:
                    raise
                continue
            break
    return cuts
