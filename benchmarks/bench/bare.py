"""metapulse without Grid and Strategy: the stacked learner, chunk by chunk, and a mean. What it lacks is the seam.

Options: settings of a variant, ``section.key=value``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.bench.experiment import experiment
from benchmarks.bench.harness import Job, main
from benchmarks.bench.workload import OUTER_RATE
from metapulse.client.executor import ClientExecutor
from metapulse.sim.engines.chunks import comfortable
from metapulse.strategies.aggregate import AggregationSpec, partial_sum


class Bare:
    """A round is ``ClientExecutor.train`` on every chunk; a running sum in float64 of the chunks' sums."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        config = experiment(job.load, job.options)
        self._load = job.load
        self._work = ClientExecutor(config.client_config())
        self._theta = self._work.init()
        cohort = job.load.workload.cohort
        self._chunk = config.engine.chunk or comfortable(self._work.model, self._theta, cohort)
        self._rate = OUTER_RATE if job.load.workload.second_order else 1.0

    def round(self, round: int) -> Sequence[int]:
        """θ ← θ − rate · mean of the updates."""
        clients = self._load.workload.clients(round).tolist()
        total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in self._theta.items()}
        for first in range(0, len(clients), self._chunk):
            aggregation = AggregationSpec("uniform")
            outcome = self._work.train(
                self._theta, round, clients[first : first + self._chunk], sum_spec=aggregation.sum_spec
            )
            summed = partial_sum(outcome, aggregation).total
            assert summed is not None
            for name, part in summed.items():
                total[name] += part
        share = self._rate / len(clients)
        self._theta = {name: p - (share * total[name]).float() for name, p in self._theta.items()}
        return clients

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return {name: p.numpy() for name, p in self._theta.items()}


if __name__ == "__main__":
    main(Bare)
