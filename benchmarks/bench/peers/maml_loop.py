"""What the second-order peers that go task by task share: the round, and the numbers of one task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.bench.harness import Job
from benchmarks.bench.torch_models import arrays, module, parameters
from benchmarks.bench.workload import OUTER_RATE, SHOTS


class MamlLoop(ABC):
    """θ lives in a module; every task adds its outer gradient."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._load = job.load
        self.net: nn.Module = module("sine", job.load.theta)
        self.weights = list(self.net.parameters())
        self._x, self._y = torch.from_numpy(job.load.x), torch.from_numpy(job.load.y)

    @abstractmethod
    def gradient(self, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Sequence[Tensor]:
        """∇_θ L_query(φ_K(θ)), one tensor per parameter."""

    def round(self, round: int) -> Sequence[int]:
        """θ ← θ − rate · mean of the tasks' outer gradients."""
        clients = self._load.workload.clients(round).tolist()
        total = [torch.zeros_like(p) for p in self.weights]
        for client in clients:
            x, y = self._x[client], self._y[client]
            torch._foreach_add_(total, self.gradient((x[:SHOTS], y[:SHOTS]), (x[SHOTS:], y[SHOTS:])))
        with torch.no_grad():
            torch._foreach_add_(self.weights, total, alpha=-OUTER_RATE / len(clients))
        return clients

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return arrays(parameters(self.net))


def error(net: nn.Module, part: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared error of a module on (x, y)."""
    return functional.mse_loss(net(part[0]), part[1])
