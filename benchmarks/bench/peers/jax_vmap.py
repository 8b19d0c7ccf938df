"""JAX by hand: one compiled program a round, vmap over clients, scan over steps, scan over chunks.

For the CNN one compiled program a client with its steps unrolled: XLA's convolutions on the CPU are several times
slower inside a loop or with a batch of weights, and as fast as the best of the other forms (products of shifted copies,
im2col; scan or unrolled; chunks of 1 to 20).

Option: clients stacked at once, 0 for a program a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.jax_models import loss
from benchmarks.bench.workload import BATCH, RATE, SAMPLES, STEPS

CHUNK = {"mlp": 20, "module": 20, "cnn": 0, "gru": 1}  # the best of 1, 5, 10, 20, 50, 100, 250, 1000
BATCHES = SAMPLES // BATCH


class JaxVmap:
    """The data live on the device; a round is told the clients' numbers."""

    def __init__(self, job: Job) -> None:
        self._load = job.load
        model = job.load.workload.model
        self._x, self._y = jnp.asarray(job.load.x), jnp.asarray(job.load.y.astype(np.int32))
        self._theta: Any = {name: jnp.asarray(p) for name, p in job.load.theta.items()}
        chunk = int(job.options[0]) if job.options else CHUNK[model]
        self._whole = jax.jit(partial(_whole, model, chunk)) if chunk else None
        self._one = jax.jit(partial(_one, model), donate_argnums=0)
        self._move = jax.jit(_move)

    def round(self, round: int) -> Sequence[int]:
        """θ moves by the mean of how far the clients came."""
        clients = self._load.workload.clients(round)
        moved = self._each(clients) if self._whole is None else self._whole(self._theta, self._x, self._y, clients)
        self._theta = jax.block_until_ready(moved)
        return list(clients)

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return {name: np.asarray(p) for name, p in self._theta.items()}

    def _each(self, clients: np.ndarray) -> Any:
        total = jax.tree.map(jnp.zeros_like, self._theta)
        for client in clients:
            total = self._one(total, self._theta, self._x, self._y, client)
        return self._move(self._theta, total, len(clients))


def _whole(model: str, chunk: int, theta: Any, x: jax.Array, y: jax.Array, clients: jax.Array) -> Any:
    """The next θ: chunk by chunk, scanning over steps."""

    def some(total: Any, part: jax.Array) -> tuple[Any, None]:
        ends = jax.vmap(partial(_scanned, model, theta))(x[part], y[part])
        return jax.tree.map(lambda t, e, p: t + (e - p).sum(0), total, ends, theta), None

    total = jax.lax.scan(some, jax.tree.map(jnp.zeros_like, theta), clients.reshape(-1, chunk))[0]
    return _move(theta, total, len(clients))


def _move(theta: Any, total: Any, clients: int) -> Any:
    return jax.tree.map(lambda p, t: p + t / clients, theta, total)


def _one(model: str, total: Any, theta: Any, x: jax.Array, y: jax.Array, client: jax.Array) -> Any:
    """One client's way, unrolled, added to the total."""
    phi = theta
    for step in range(STEPS):
        phi = _step(model, phi, *_batch(x[client], y[client], step % BATCHES))
    return jax.tree.map(lambda t, e, p: t + (e - p), total, phi, theta)


def _scanned(model: str, theta: Any, x: jax.Array, y: jax.Array) -> Any:
    def step(phi: Any, i: jax.Array) -> tuple[Any, None]:
        return _step(model, phi, *_batch(x, y, i)), None

    return jax.lax.scan(step, theta, jnp.arange(STEPS) % BATCHES)[0]


def _step(model: str, phi: Any, x: jax.Array, y: jax.Array) -> Any:
    return jax.tree.map(lambda p, g: p - RATE * g, phi, jax.grad(partial(loss, model))(phi, x, y))


def _batch(x: jax.Array, y: jax.Array, i: Any) -> tuple[jax.Array, jax.Array]:
    return x.reshape(BATCHES, BATCH, *x.shape[1:])[i], y.reshape(BATCHES, BATCH)[i]


if __name__ == "__main__":
    main(JaxVmap)
