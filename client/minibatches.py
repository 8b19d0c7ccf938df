"""Minibatches of a ragged stack: each client walks through its own samples, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, cycle

import numpy as np
import torch
from jaxtyping import Int64

from client.episodes import Batch
from client.rng import Keys

Rows = Int64[np.ndarray, "clients _"]


def minibatches(
    batch: Batch, size: int, keys: Keys, purpose: str = "minibatches", shuffle: bool = True
) -> Iterator[Batch]:
    """An endless stream of minibatches.

    Client i with n_i > size samples gets ``size`` of them each time, epoch after epoch of fresh permutations; one with
    n_i ≤ size gets all of them every time. What a client gets depends on its own samples and address alone, never on
    the padding or on the others in the stack.

    Args:
        batch: the clients' samples.
        size: samples per minibatch, ≥ 1; 0 for all.
        keys: addresses of the stack.
        purpose: names the stream, so that two streams of one learner differ.
        shuffle: False: every epoch in the order in which the samples come.
    """
    longest, n = batch.mask.shape[1], batch.counts.long().cpu().numpy()
    if size == 0 or n.max(initial=0) <= size:
        while True:
            yield batch
    full = bool((n == longest).all())
    if full and not shuffle and longest % size == 0:
        at = range(0, longest, size)
        yield from cycle(
            [Batch(batch.x[:, i : i + size], batch.y[:, i : i + size], batch.mask[:, i : i + size]) for i in at]
        )
    # Real samples first, in their order.
    real = np.argsort(batch.mask.cpu().numpy() == 0, axis=1, kind="stable")
    everyone = torch.arange(len(n)).unsqueeze(1)
    mask = torch.from_numpy((np.arange(size) < n[:, None]).astype(np.float32)).to(batch.mask)
    for places in _walk(n, size, keys, purpose, shuffle):
        index = torch.from_numpy(np.take_along_axis(real, places, 1)).to(batch.x.device)
        yield Batch(batch.x[everyone, index], batch.y[everyone, index], mask)


def _walk(n: Int64[np.ndarray, " clients"], size: int, keys: Keys, purpose: str, shuffle: bool) -> Iterator[Rows]:
    """Which samples each client takes in each step: positions k·size, … of an endless chain of epochs.

    A client with n_i ≤ size takes its samples 0 … n_i − 1; what stands after them is masked.
    """
    permutation = np.broadcast_to(np.arange(n.max()), (len(n), n.max())).copy()
    small = n <= size
    drawn = np.where(small, np.iinfo(np.int64).max, -1)  # last epoch drawn
    for step in count():
        position = step * size + np.arange(size)[None, :]
        epoch, place = position // np.maximum(n, 1)[:, None], position % np.maximum(n, 1)[:, None]
        rows = np.take_along_axis(
            permutation, np.where(small[:, None], np.minimum(np.arange(size), n.max() - 1), place), 1
        )
        if not shuffle:
            yield rows
            continue
        fresh = np.flatnonzero(epoch[:, -1] > drawn)
        if len(fresh):
            permutation[fresh, : n[fresh].max()] = _permutations(n[fresh], epoch[fresh, -1], keys.take(fresh), purpose)
            later = np.take_along_axis(permutation[fresh], place[fresh], 1)
            rows[fresh] = np.where(epoch[fresh] > drawn[fresh, None], later, rows[fresh])
            drawn[fresh] = epoch[fresh, -1]
        yield rows


def _permutations(
    n: Int64[np.ndarray, " clients"], epochs: Int64[np.ndarray, " clients"], keys: Keys, purpose: str
) -> Rows:
    """One permutation of 0 … n_i − 1 per client: the order of n_i uniform numbers from the epoch's page."""
    u = keys.uniforms(purpose, int(n.max()), epochs)
    return np.argsort(np.where(np.arange(u.shape[1]) < n[:, None], u, 2.0), axis=1)
