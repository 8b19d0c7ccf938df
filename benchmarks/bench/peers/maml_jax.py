"""Second-order MAML in JAX by hand: one compiled program a round, vmap over tasks of the gradient of the inner loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bench.harness import Job, main
from benchmarks.bench.peers.jax_models import loss
from benchmarks.bench.workload import OUTER_RATE, RATE, SHOTS, STEPS

CHUNK = 25  # tasks stacked at once; the best of 5, 10, 25, 50, 100, 250, 1000


class MamlJax:
    """The data live on the device; a round is one call with the clients' numbers."""

    def __init__(self, job: Job) -> None:
        self._load = job.load
        chunk = min(int(job.options[0]) if job.options else CHUNK, job.load.workload.cohort)
        self._x, self._y = jnp.asarray(job.load.x), jnp.asarray(job.load.y)
        self._theta: Any = {name: jnp.asarray(p) for name, p in job.load.theta.items()}
        self._round = jax.jit(partial(_round, chunk))

    def round(self, round: int) -> Sequence[int]:
        """One compiled call."""
        clients = self._load.workload.clients(round)
        self._theta = jax.block_until_ready(self._round(self._theta, self._x, self._y, jnp.asarray(clients)))
        return list(clients)

    def parameters(self) -> dict[str, np.ndarray]:
        """θ."""
        return {name: np.asarray(p) for name, p in self._theta.items()}


def _round(chunk: int, theta: Any, x: jax.Array, y: jax.Array, clients: jax.Array) -> Any:
    def some(total: Any, part: jax.Array) -> tuple[Any, None]:
        grads = jax.vmap(jax.grad(_outer), in_axes=(None, 0, 0))(theta, x[part], y[part])
        return jax.tree.map(lambda t, g: t + g.sum(0), total, grads), None

    zero = jax.tree.map(jnp.zeros_like, theta)
    total, _ = jax.lax.scan(some, zero, clients.reshape(-1, chunk))
    return jax.tree.map(lambda p, t: p - OUTER_RATE / len(clients) * t, theta, total)


def _outer(phi: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    for _ in range(STEPS):
        grads = jax.grad(partial(loss, "sine"))(phi, x[:SHOTS], y[:SHOTS])
        phi = jax.tree.map(lambda p, g: p - RATE * g, phi, grads)
    return loss("sine", phi, x[SHOTS:], y[SHOTS:])


if __name__ == "__main__":
    main(MamlJax)
