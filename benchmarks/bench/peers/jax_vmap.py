"""JAX by hand: one compiled program a round, vmap over clients, scan over steps, map over chunks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.jax_models import CHUNK, loss
from benchmarks.bench.workload import BATCH, RATE, SAMPLES, STEPS


class JaxVmap:
    """The data live on the device; a round is one call with the clients' numbers."""

    def __init__(self, job: Job) -> None:
        self._load = job.load
        model = job.load.workload.model
        chunk = int(job.options[0]) if job.options else CHUNK[model]
        self._x, self._y = jnp.asarray(job.load.x), jnp.asarray(job.load.y.astype(np.int32))
        self._theta: Any = {name: jnp.asarray(p) for name, p in job.load.theta.items()}
        self._round = jax.jit(partial(_round, model, chunk))

    def round(self, round: int) -> Sequence[int]:
        """One compiled call."""
        clients = self._load.workload.clients(round)
        self._theta = jax.block_until_ready(self._round(self._theta, self._x, self._y, jnp.asarray(clients)))
        return list(clients)

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return {name: np.asarray(p) for name, p in self._theta.items()}


def _round(model: str, chunk: int, theta: Any, x: jax.Array, y: jax.Array, clients: jax.Array) -> Any:
    def some(total: Any, part: jax.Array) -> tuple[Any, None]:
        ends = jax.vmap(partial(_train, model, theta))(x[part], y[part])
        return jax.tree.map(lambda t, e, p: t + (e - p).sum(0), total, ends, theta), None

    zero = jax.tree.map(jnp.zeros_like, theta)
    total, _ = jax.lax.scan(some, zero, clients.reshape(-1, chunk))
    return jax.tree.map(lambda p, t: p + t / len(clients), theta, total)


def _train(model: str, theta: Any, x: jax.Array, y: jax.Array) -> Any:
    batches = SAMPLES // BATCH
    x, y = x.reshape(batches, BATCH, *x.shape[1:]), y.reshape(batches, BATCH)

    def step(phi: Any, i: jax.Array) -> tuple[Any, None]:
        grads = jax.grad(partial(loss, model))(phi, x[i], y[i])
        return jax.tree.map(lambda p, g: p - RATE * g, phi, grads), None

    return jax.lax.scan(step, theta, jnp.arange(STEPS) % batches)[0]


if __name__ == "__main__":
    main(JaxVmap)
