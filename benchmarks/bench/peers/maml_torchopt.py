"""Second-order MAML with TorchOpt: its differentiable SGD on the module, whose state is put back after every task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchopt
from torch import Tensor

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.maml_loop import MamlLoop, error
from benchmarks.bench.workload import RATE, STEPS


class TorchOpt(MamlLoop):
    """``MetaSGD`` with ``extract_state_dict`` and ``recover_state_dict``, as in the library's own MAML example."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._optimizer = torchopt.MetaSGD(self.net, lr=RATE)

    def gradient(self, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Sequence[Tensor]:
        """Five differentiable steps."""
        net = torchopt.extract_state_dict(self.net, by="reference", detach_buffers=True)
        optimizer = torchopt.extract_state_dict(self._optimizer, by="reference")
        for _ in range(STEPS):
            self._optimizer.step(error(self.net, support))
        grads = torch.autograd.grad(error(self.net, query), self.weights)
        torchopt.recover_state_dict(self.net, net)
        torchopt.recover_state_dict(self._optimizer, optimizer)
        return grads


if __name__ == "__main__":
    main(TorchOpt)
