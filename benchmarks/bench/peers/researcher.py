"""The loop a researcher writes: a deep copy of the module and a new optimiser for every client."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.bench.harness import Job, main
from benchmarks.bench.torch_models import arrays, loss, module, parameters
from benchmarks.bench.workload import BATCH, RATE, SAMPLES, STEPS


class Researcher:
    """Federated averaging by state dicts."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._load, self._model = job.load, job.load.workload.model
        self._global = module(self._model, job.load.theta)

    def round(self, round: int) -> Sequence[int]:
        """Train every client's copy; θ moves by the mean of how far they came."""
        clients = self._load.workload.clients(round)
        theta = self._global.state_dict()
        total = {name: torch.zeros_like(p) for name, p in theta.items()}
        for client in clients:
            for name, p in self._train(client).items():
                total[name] += p - theta[name]
        self._global.load_state_dict({name: p + total[name] / len(clients) for name, p in theta.items()})
        return list(clients)

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return arrays(parameters(self._global))

    def _train(self, client: int) -> dict[str, torch.Tensor]:
        net = copy.deepcopy(self._global)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        x, y = torch.from_numpy(self._load.x[client]), torch.from_numpy(self._load.y[client])
        for step in range(STEPS):
            first = step * BATCH % SAMPLES
            optimizer.zero_grad()
            loss(self._model, net(x[first : first + BATCH]), y[first : first + BATCH]).backward()
            optimizer.step()
        return net.state_dict()


if __name__ == "__main__":
    main(Researcher)
