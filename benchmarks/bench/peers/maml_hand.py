"""Second-order MAML by hand: fast weights through plain functions, ``autograd.grad`` with ``create_graph``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.bench.harness import main
from benchmarks.bench.peers.maml_loop import MamlLoop
from benchmarks.bench.workload import RATE, STEPS


class Hand(MamlLoop):
    """No module in the inner loop."""

    def gradient(self, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Sequence[Tensor]:
        """Five steps with their graph, then back through them."""
        phi = self.weights
        for _ in range(STEPS):
            grads = torch.autograd.grad(_error(phi, support), phi, create_graph=True)
            phi = [p - RATE * g for p, g in zip(phi, grads, strict=True)]
        return torch.autograd.grad(_error(phi, query), self.weights)


def _error(phi: Sequence[Tensor], part: tuple[Tensor, Tensor]) -> Tensor:
    x, y = part
    x = torch.relu(functional.linear(x, phi[0], phi[1]))
    x = torch.relu(functional.linear(x, phi[2], phi[3]))
    return functional.mse_loss(functional.linear(x, phi[4], phi[5]), y)


if __name__ == "__main__":
    main(Hand)
