"""Second-order MAML with higher: a functional copy of the module and a differentiable SGD for every task."""

from __future__ import annotations

from collections.abc import Sequence

import higher
import torch
from torch import Tensor

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.maml_loop import MamlLoop, error
from benchmarks.bench.workload import RATE, STEPS


class Higher(MamlLoop):
    """``innerloop_ctx``, as in the library's own MAML example."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._optimizer = torch.optim.SGD(self.net.parameters(), lr=RATE)

    def gradient(self, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Sequence[Tensor]:
        """Five differentiable steps."""
        with higher.innerloop_ctx(self.net, self._optimizer, copy_initial_weights=False) as (net, optimizer):
            for _ in range(STEPS):
                optimizer.step(error(net, support))
            return torch.autograd.grad(error(net, query), self.weights)


if __name__ == "__main__":
    main(Higher)
