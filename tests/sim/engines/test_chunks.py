"""Chunks of default size: bounded in memory, and even where there are many."""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.models.gru import GRU
from metapulse.models.mlp import MLP
from metapulse.sim.engines.chunks import COMPILED, KERNELS, STACK, WORKERS, comfortable

MLP_ = MLP(task=Task("classification", (4,), 3))
GRU_ = GRU(task=Task("classification", (2, 5), 3))


@given(clients=st.integers(0, 20_000), numbers=st.integers(0, 2**23), compiled=st.booleans())
def test_bounds(clients: int, numbers: int, compiled: bool) -> None:
    """At least one client, at most what the model's kind and the memory of a stack allow."""
    chunk = comfortable(MLP_ if compiled else GRU_, {"w": torch.empty(numbers, device="meta")}, clients)
    assert 1 <= chunk <= (COMPILED if compiled else KERNELS)
    assert chunk == 1 or chunk * numbers <= STACK


@given(clients=st.integers(WORKERS * KERNELS + 1, 20_000))
def test_workers_get_as_much_as_each_other(clients: int) -> None:
    """No worker has a tenth more to do than the average, whether there are two workers or eight."""
    chunk = comfortable(MLP_, {"w": torch.empty(6438)}, clients)
    chunks = math.ceil(clients / chunk)
    for workers in (2, 4, 8):
        ends = [min(math.ceil(i * chunks / workers) * chunk, clients) for i in range(workers + 1)]
        assert max(b - a for a, b in itertools.pairwise(ends)) <= 1.1 * clients / workers
