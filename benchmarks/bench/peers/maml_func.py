"""Second-order MAML with ``torch.func``: vmap over tasks of the gradient of the unrolled inner loop, in chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from benchmarks.bench.harness import Job, main
from benchmarks.bench.torch_models import arrays, module, parameters
from benchmarks.bench.workload import OUTER_RATE, RATE, SHOTS, STEPS

CHUNK = 250  # tasks stacked at once; the best of 25, 50, 100, 250, 500, 1000


class Func:
    """θ has no task axis; the tasks' gradients have one."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._load, self._net = job.load, module("sine", job.load.theta)
        self._chunk = int(job.options[0]) if job.options else CHUNK
        self._theta = {name: p.detach().clone() for name, p in parameters(self._net).items()}
        self._x, self._y = torch.from_numpy(job.load.x), torch.from_numpy(job.load.y)
        self._gradients = vmap(grad(self._outer), in_dims=(None, 0, 0))

    def round(self, round: int) -> Sequence[int]:
        """θ ← θ − rate · mean of the tasks' outer gradients."""
        clients = torch.from_numpy(self._load.workload.clients(round))
        total = {name: torch.zeros_like(p) for name, p in self._theta.items()}
        for some in clients.split(self._chunk):
            for name, g in self._gradients(self._theta, self._x[some], self._y[some]).items():
                total[name] += g.sum(0)
        self._theta = {name: p - OUTER_RATE / len(clients) * total[name] for name, p in self._theta.items()}
        return clients.tolist()

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return arrays(self._theta)

    def _loss(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(functional_call(self._net, params, x), y)

    def _outer(self, phi: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        for _ in range(STEPS):
            grads = grad(self._loss)(phi, x[:SHOTS], y[:SHOTS])
            phi = {name: p - RATE * grads[name] for name, p in phi.items()}
        return self._loss(phi, x[SHOTS:], y[SHOTS:])


if __name__ == "__main__":
    main(Func)
