"""``torch.func``: vmap over clients of the gradient of a functional call, in chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.func import functional_call, grad, vmap

from benchmarks.bench.harness import Job, main
from benchmarks.bench.torch_models import arrays, loss, module, parameters
from benchmarks.bench.workload import BATCH, RATE, SAMPLES, STEPS

CHUNK = {
    "mlp": 250,
    "module": 250,
    "cnn": 25,
}  # clients stacked at once; the best of 5, 10, 25, 50, 100, 250, 500, 1000


class TorchFunc:
    """Stacked local SGD."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._load, self._model = job.load, job.load.workload.model
        self._net = module(self._model, job.load.theta)
        self._theta = {name: p.detach().clone() for name, p in parameters(self._net).items()}
        self._x, self._y = torch.from_numpy(job.load.x), torch.from_numpy(job.load.y)
        self._grads = vmap(grad(self._loss))

    def round(self, round: int) -> Sequence[int]:
        """Chunk by chunk; θ moves by the mean of the updates."""
        clients = torch.from_numpy(self._load.workload.clients(round))
        total = {name: torch.zeros_like(p) for name, p in self._theta.items()}
        for some in clients.split(CHUNK[self._model]):
            for name, p in self._train(self._x[some], self._y[some]).items():
                total[name] += (p - self._theta[name]).sum(0)
        self._theta = {name: p + total[name] / len(clients) for name, p in self._theta.items()}
        return clients.tolist()

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return arrays(self._theta)

    def _loss(self, params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(self._model, functional_call(self._net, params, x), y)

    def _train(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        phi = {name: p.expand(len(x), *p.shape) for name, p in self._theta.items()}
        for step in range(STEPS):
            rows = slice(step * BATCH % SAMPLES, step * BATCH % SAMPLES + BATCH)
            grads = self._grads(phi, x[:, rows], y[:, rows])
            phi = {name: p - RATE * grads[name] for name, p in phi.items()}
        return phi


if __name__ == "__main__":
    main(TorchFunc)
