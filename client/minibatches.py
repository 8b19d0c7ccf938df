"""Minibatches of a ragged stack: each client walks through shuffles of its own samples with its own generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from client.episodes import Batch
from client.rng import Keys


def minibatches(batch: Batch, size: int, keys: Keys, purpose: str = "minibatches") -> Iterator[Batch]:
    """An endless stream of minibatches.

    Client i with n_i > size samples gets ``size`` of them each time, epoch after epoch of fresh permutations; one with
    n_i ≤ size gets all of them every time. What a client gets depends on its own samples and address alone, never on
    the padding or on the others in the stack.

    Args:
        batch: the clients' samples.
        size: samples per minibatch, ≥ 1; 0 for all.
        keys: addresses of the stack.
        purpose: names the stream, so that two streams of one learner differ.
    """
    real = [np.flatnonzero(row) for row in batch.mask.cpu().numpy()]
    if size == 0 or max(map(len, real)) <= size:
        while True:
            yield batch
    walks = [_walk(own, size, rng) for own, rng in zip(real, keys.generators(purpose), strict=True)]
    everyone = torch.arange(len(real)).unsqueeze(1)
    while True:
        rows = np.zeros((len(real), size), dtype=np.int64)
        mask = np.zeros((len(real), size), dtype=np.float32)
        for i, walk in enumerate(walks):
            own = next(walk)
            rows[i, : len(own)], mask[i, : len(own)] = own, 1.0
        index = torch.from_numpy(rows)
        yield Batch(batch.x[everyone, index], batch.y[everyone, index], torch.from_numpy(mask).to(batch.mask))


def _walk(own: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cut an endless chain of permutations of ``own`` into pieces of ``size``."""
    if len(own) <= size:
        while True:
            yield own
    left = own[:0]
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(own)])
        yield left[:size]
        left = left[size:]
