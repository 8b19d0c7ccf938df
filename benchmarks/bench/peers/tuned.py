"""The same loop, tuned: one module for all clients, ``autograd.grad``, and all parameters changed in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.bench.harness import Job, main
from benchmarks.bench.torch_models import arrays, loss, module, parameters
from benchmarks.bench.workload import BATCH, RATE, SAMPLES, STEPS


class Tuned:
    """Local SGD in place, and a running sum of how far the clients came."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._load, self._model = job.load, job.load.workload.model
        self._net = module(self._model, job.load.theta)
        self._names = list(parameters(self._net))
        self._weights = list(self._net.parameters())
        self._values = [p.data for p in self._weights]
        self._theta = [p.clone() for p in self._values]
        self._x, self._y = torch.from_numpy(job.load.x), torch.from_numpy(job.load.y)

    def round(self, round: int) -> Sequence[int]:
        """Train client by client; θ moves by the mean of what they report."""
        clients = self._load.workload.clients(round).tolist()
        total = [torch.zeros_like(p) for p in self._theta]
        for client in clients:
            torch._foreach_add_(total, torch._foreach_sub(self.train(self._theta, client), self._theta))
        torch._foreach_add_(self._theta, total, alpha=1 / len(clients))
        return clients

    def train(self, theta: list[torch.Tensor], client: int) -> list[torch.Tensor]:
        """Where one client ends; the tensors are those of the module, and change with the next client."""
        torch._foreach_copy_(self._values, theta)
        x, y = self._x[client], self._y[client]
        for step in range(STEPS):
            first = step * BATCH % SAMPLES
            outputs = self._net(x[first : first + BATCH])
            grads = torch.autograd.grad(loss(self._model, outputs, y[first : first + BATCH]), self._weights)
            torch._foreach_add_(self._values, grads, alpha=-RATE)
        return self._values

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return arrays(dict(zip(self._names, self._theta, strict=True)))


if __name__ == "__main__":
    main(Tuned)
