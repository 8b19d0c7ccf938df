"""Minibatches of a ragged stack: each client walks through its own samples, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, cycle

import numpy as np
import torch
from jaxtyping import Int64

from metapulse.episodes import Batch
from metapulse.rng import Keys

Counts = Int64[np.ndarray, " _"]


def minibatches(
    batch: Batch, size: int, keys: Keys, purpose: str = "minibatches", shuffle: bool = True, ahead: int = 8
) -> Iterator[Batch]:
    """An endless stream of minibatches.

    Client i with n_i > size samples gets ``size`` of them each time, epoch after epoch of fresh permutations; one with
    n_i ≤ size gets all of them every time. What a client gets depends on its own samples and address alone, never on
    the padding or on the others in the stack.

    Args:
        batch: the clients' samples.
        size: samples per minibatch, ≥ 1; 0 for all.
        purpose: names the stream, so that two streams of one learner differ.
        shuffle: False: every epoch in the order in which the samples come.
        ahead: steps drawn at once; how many will be taken is the best guess. It changes nothing but the speed.
    """
    longest, n = batch.mask.shape[1], batch.counts.long().cpu().numpy()
    if size == 0 or n.max(initial=0) <= size:
        while True:
            yield batch
    if not shuffle and longest % size == 0 and n.min() == longest:
        starts = range(0, longest, size)
        yield from cycle([Batch(*(part[:, i : i + size] for part in (batch.x, batch.y, batch.mask))) for i in starts])
    real = np.argsort(batch.mask.cpu().numpy() == 0, axis=1, kind="stable")  # real samples first, in their order
    first = np.arange(len(n))[:, None] * longest
    mask = torch.from_numpy((np.arange(size) < n[:, None]).astype(np.float32)).to(batch.mask)
    flat_x, flat_y = batch.x.flatten(0, 1), batch.y.flatten(0, 1)
    for block in count():
        places = np.arange(size) + size * np.arange(block * ahead, (block + 1) * ahead)[:, None, None]
        walks = np.minimum(np.broadcast_to(np.arange(size), (ahead, len(n), size)), longest - 1).copy()
        for group in _alike(n, size):
            walks[:, group] = _walk(n[group], places, keys.take(group), purpose, shuffle)
        for walk in walks:
            index = torch.from_numpy(first + np.take_along_axis(real, walk, 1)).to(batch.x.device).flatten()
            x, y = (part.index_select(0, index).view(len(n), size, *part.shape[1:]) for part in (flat_x, flat_y))
            yield Batch(x, y, mask)


def _alike(n: Counts, size: int) -> list[Counts]:
    """Positions of the clients that do not fit into one minibatch, by the power of two that holds their samples.

    A group is drawn as one table, whose rows are as long as its longest client needs.
    """
    power = np.where(n > size, np.ceil(np.log2(np.maximum(n, 1))), -1)
    return [np.flatnonzero(power == p) for p in np.unique(power) if p >= 0]


def _walk(
    n: Counts, places: Int64[np.ndarray, "steps 1 size"], keys: Keys, purpose: str, shuffle: bool
) -> Int64[np.ndarray, "steps clients size"]:
    """The samples at the given places of each client's endless chain of epochs."""
    epoch: np.ndarray = places // n[:, None]
    within: np.ndarray = places % n[:, None]
    if not shuffle:
        return within
    low, high = epoch[0, :, 0], epoch[-1, :, -1]
    pages = high - low + 1
    client = np.repeat(np.arange(len(n)), pages)
    start = np.cumsum(pages) - pages  # where each client's pages begin in the table
    page = np.arange(len(client)) - start[client] + low[client]
    table = _permutations(n[client], page, keys.take(client), purpose)
    rows: np.ndarray = table[(start - low)[:, None] + epoch, within]
    return rows


def _permutations(n: Counts, pages: Counts, keys: Keys, purpose: str) -> Int64[np.ndarray, "rows longest"]:
    """One permutation of 0 … n_i − 1 per row: the order of n_i uniform numbers from its page."""
    u = keys.uniforms(purpose, int(n.max()), pages)
    order: np.ndarray = np.argsort(np.where(np.arange(u.shape[1]) < n[:, None], u, 2.0), axis=1)
    return order
