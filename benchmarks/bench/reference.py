"""What the parameters are after the first round, in float64: one client after another, by plain autograd.

A client's update is computed once and kept; so a system can be checked whichever clients it sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.bench.torch_models import loss, module, parameters
from benchmarks.bench.workload import BATCH, CLIENTS, OUTER_RATE, RATE, SAMPLES, SHOTS, STEPS, Load

Tree = Mapping[str, np.ndarray]


class Reference:
    """The first round of one workload.

    Args:
        load: its numbers.
    """

    def __init__(self, load: Load) -> None:
        self._load, self._model = load, load.workload.model
        self._theta = flat(load.theta)
        self._path: Path = load.folder / f"{self._model}-updates.npy"
        self._updates = self._kept()

    def updates(self, clients: Sequence[int]) -> np.ndarray:
        """Update of each client in round 1, (clients, P) float64."""
        missing = [c for c in clients if np.isnan(self._updates[c, 0])]
        for client in missing:
            self._updates[client] = self._maml(client) if self._load.workload.second_order else self._local(client)
        if missing:
            np.save(self._path, self._updates)
        return self._updates[list(clients)]

    def after(self, clients: Sequence[int], aggregate: str = "mean") -> np.ndarray:
        """θ after round 1, (P,) float64.

        Args:
            clients: who took part.
            aggregate: "mean", "median" (by coordinate), or "krum:F" (Blanchard et al. 2017, F malicious).
        """
        updates = self.updates(clients)
        if aggregate == "median":
            step = np.median(updates, axis=0)
        elif aggregate.startswith("krum:"):
            step = updates[_krum(updates, int(aggregate.removeprefix("krum:")))]
        else:
            step = updates.mean(0)
        return self._theta - (OUTER_RATE if self._load.workload.second_order else 1.0) * step

    def error(self, theta: Tree, clients: Sequence[int], aggregate: str = "mean") -> tuple[float, float]:
        """‖θ − θ_ref‖/‖θ_ref‖, and the same of the step θ₁ − θ₀, which is the harder test."""
        expected = self.after(clients, aggregate)
        distance = float(np.linalg.norm(flat({name: theta[name] for name in self._load.theta}) - expected))
        return distance / float(np.linalg.norm(expected)), distance / float(np.linalg.norm(expected - self._theta))

    def _kept(self) -> np.ndarray:
        if self._path.exists():
            return np.load(self._path)
        return np.full((CLIENTS, len(self._theta)), np.nan)

    def _start(self) -> nn.Module:
        torch.set_num_threads(1)
        return module(self._model, self._load.theta).double()

    def _local(self, client: int) -> np.ndarray:
        net = self._start()
        x = torch.from_numpy(self._load.x[client]).double()
        y = torch.from_numpy(self._load.y[client])
        weights = [parameters(net)[name] for name in self._load.theta]
        for step in range(STEPS):
            rows = slice(step * BATCH % SAMPLES, step * BATCH % SAMPLES + BATCH)
            grads = torch.autograd.grad(loss(self._model, net(x[rows]), y[rows]), weights)
            with torch.no_grad():
                for p, g in zip(weights, grads, strict=True):
                    p -= RATE * g
        return self._theta - torch.cat([p.detach().flatten() for p in weights]).numpy()

    def _maml(self, client: int) -> np.ndarray:
        net = self._start()
        x = torch.from_numpy(self._load.x[client]).double()
        y = torch.from_numpy(self._load.y[client]).double()
        theta = {name: parameters(net)[name] for name in self._load.theta}
        phi: dict[str, torch.Tensor] = dict(theta)
        for _ in range(STEPS):
            support = loss(self._model, torch.func.functional_call(net, phi, x[:SHOTS]), y[:SHOTS])
            grads = torch.autograd.grad(support, list(phi.values()), create_graph=True)
            phi = {name: p - RATE * g for (name, p), g in zip(phi.items(), grads, strict=True)}
        query = loss(self._model, torch.func.functional_call(net, phi, x[SHOTS:]), y[SHOTS:])
        return torch.cat([g.flatten() for g in torch.autograd.grad(query, list(theta.values()))]).numpy()


def flat(tree: Tree) -> np.ndarray:
    """A tree as one float64 vector, in its own order."""
    return np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in tree.values()])


def _krum(updates: np.ndarray, malicious: int) -> int:
    """The update with the smallest sum of squared distances to its n − F − 2 nearest neighbours."""
    squares = (updates**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * updates @ updates.T, 0.0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : len(updates) - malicious - 2]
    return int(nearest.sum(1).argmin())
