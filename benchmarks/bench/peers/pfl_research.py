"""pfl-research: FederatedAveraging on its simulated backend, with PyTorch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Weighted
from pfl.model.pytorch import PyTorchModel
from torch import nn

from benchmarks.bench import torch_models
from benchmarks.bench.harness import Job, main
from benchmarks.bench.workload import BATCH, CLIENTS, RATE, SAMPLES, STEPS

NEVER = 10**9


class Own(nn.Module):
    """The workload's module with the two methods that pfl asks for."""

    def __init__(self, model: str, net: nn.Module) -> None:
        super().__init__()
        self.model, self.net = model, net

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of one batch."""
        return torch_models.loss(self.model, self.net(x), y)

    @torch.no_grad()
    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Weighted]:
        """Asked for before the first round only."""
        return {"loss": Weighted(len(x) * float(self.loss(x, y)), len(x))}


class InOrder(Dataset):
    """Five batches, rows 0–31, 32–63, 0–31, …; pfl itself would stop at the end of the samples."""

    def iter(self, batch_size: int | None) -> Iterable[Any]:
        """The batches of one round."""
        for step in range(STEPS):
            first = step * BATCH % SAMPLES
            yield [part[first : first + BATCH] for part in self.raw_data]


class Pfl:
    """One call of ``run`` a round; it goes on where the last one stopped."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._load, name = job.load, job.load.workload.model
        self._net = torch_models.module(name, job.load.theta)
        own = Own(name, self._net)
        self._model = PyTorchModel(own, torch.optim.SGD, torch.optim.SGD(own.parameters(), lr=1.0))
        x, y = torch.from_numpy(job.load.x), torch.from_numpy(job.load.y)
        users = [InOrder((x[c], y[c]), user_id=str(c)) for c in range(CLIENTS)]
        self._coming: list[int] = []
        data = FederatedDataset(users.__getitem__, lambda: self._coming.pop(0))
        self._backend = SimulatedBackend(data, data, [WeightByUser()])
        self._algorithm = FederatedAveraging()

    def round(self, round: int) -> Sequence[int]:
        """One central iteration."""
        clients = self._load.workload.clients(round).tolist()
        self._coming[:] = clients
        self._algorithm.run(
            NNAlgorithmParams(round, NEVER, len(clients), None),
            self._backend,
            self._model,
            NNTrainHyperParams(BATCH, 1, RATE),
            NNEvalHyperParams(None),
            send_metrics_to_platform=False,
        )
        return clients

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return torch_models.arrays(torch_models.parameters(self._net))


if __name__ == "__main__":
    main(Pfl)
