"""fedjax: its federated averaging, with the jit backend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import fedjax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.jax_models import loss
from benchmarks.bench.workload import BATCH, CLIENTS, RATE, STEPS

jax.tree_map = jax.tree.map  # fedjax 0.0.17 calls it by a name that JAX has dropped since


class FedJax:
    """Client datasets are made once; a round is ``apply``."""

    def __init__(self, job: Job) -> None:
        fedjax.set_for_each_client_backend("jit")
        self._load = job.load
        of_loss = jax.grad(partial(loss, job.load.workload.model))

        def gradient(params: Any, batch: Any, rng: Any) -> Any:
            return of_loss(params, batch["x"], batch["y"])

        self._algorithm = fedjax.algorithms.fed_avg.federated_averaging(
            gradient,
            fedjax.optimizers.sgd(RATE),
            fedjax.optimizers.sgd(1.0),
            fedjax.ShuffleRepeatBatchHParams(batch_size=BATCH, num_epochs=None, num_steps=STEPS, skip_shuffle=True),
        )
        x, y = job.load.x, job.load.y.astype(np.int32)
        self._data = [fedjax.ClientDataset({"x": x[c], "y": y[c]}) for c in range(CLIENTS)]
        self._state = self._algorithm.init({name: jnp.asarray(p) for name, p in job.load.theta.items()})
        self._key = jax.random.PRNGKey(0)  # asked for, not used

    def round(self, round: int) -> Sequence[int]:
        """One round of their algorithm."""
        clients = self._load.workload.clients(round).tolist()
        asked = [(c, self._data[c], self._key) for c in clients]
        self._state, _ = self._algorithm.apply(self._state, asked)
        jax.block_until_ready(self._state.params)
        return clients

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return {name: np.asarray(p) for name, p in self._state.params.items()}


if __name__ == "__main__":
    main(FedJax)
