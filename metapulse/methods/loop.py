"""Parts of learners that descend gradients: minibatches, a rate, a number of steps, an optimiser.

A learner takes the parts that its paper has; their settings are then its own. What reads its support at once, or
solves for it, takes none of them, and a setting of theirs is an unknown key for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice, pairwise, repeat
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64

from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.methods.base import Learner
from metapulse.methods.inner import descend
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked

Counts = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Minibatches(Learner):
    """Reads its samples in minibatches."""

    batch_size: int = setting(0, "samples per inner step (0: all of them)", ge=0)
    order: Literal["shuffled", "sequential"] = setting(
        "shuffled",
        "minibatches from fresh shuffles, or in the samples' own order",
        used_if=("batch_size",),
    )

    @property
    def steps(self) -> int:
        """Minibatches that one round is expected to take; it decides the speed of drawing them, and no number."""
        return self.inner_steps

    def batches(self, samples: Batch, keys: Keys, purpose: str = "minibatches") -> Iterator[Batch]:
        """The minibatches of an inner loop, without end.

        Args:
            samples: of every client.
            purpose: names the stream, so that two streams of one learner differ.
        """
        return minibatches(samples, self.batch_size, keys, purpose, self.order == "shuffled", max(self.steps, 1))

    def reads_all(self, samples: Batch) -> bool:
        """Whether every minibatch is all of every client's samples."""
        return not self.batch_size or samples.mask.shape[1] <= self.batch_size

    def first(self, samples: Batch, keys: Keys, steps: int) -> list[Batch]:
        """The first so many of ``batches``, for an inner loop that is one call of compiled code."""
        return list(islice(self.batches(samples, keys), steps))


@dataclass(frozen=True)
class Descent(Minibatches):
    """Adapts by gradient steps on minibatches of the support set, with one rate: φ_{k+1} = φ_k − α ∇L_support(φ_k)."""

    inner_lr: float = setting(0.01, "inner learning rate α", gt=0)

    @property
    def optimizer(self) -> str:
        """Plain gradient steps; ``ChosenOptimizer`` makes a setting of it."""
        return "sgd"

    def begin(self, model: Model, meta: Params, state: Stacked, support: Batch) -> Stacked:
        """φ₀ of adaptation: θ, unless the device has its own, or chooses."""
        return self.start(meta, len(support.mask))

    def objective(self, model: Model, meta: Params, clients: int) -> Model:
        """The oracle that adaptation descends: the loss alone, unless something pulls on φ, or some of it is held."""
        return model

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """From ``begin``, gradient steps on ``objective``, or the optimiser's along them.

        See ``Learner.adaptation_trajectory``.
        """
        phi = self.begin(model, meta, state, support) if start is None else start
        oracle, batches = self.objective(model, meta, len(keys.clients)), self.batches(support, keys, "adapt")
        return (point.params for point in descend(oracle, phi, batches, self.inner_lr, self.optimizer))

    def adapted_at(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        steps: Sequence[int],
        start: Stacked | None = None,
    ) -> Iterator[Stacked]:
        """From one of the steps to the next in one call of the model, where the path is plain SGD on its loss."""
        if not self._is_plain(model, meta, keys):
            yield from super().adapted_at(model, meta, state, support, keys, steps, start)
            return
        phi = self.begin(model, meta, state, support) if start is None else start
        batches = self.batches(support, keys, "adapt")
        for before, k in pairwise((0, *steps)):
            phi, _ = model.run_sgd(phi, batches, self.inner_lr, k - before)
            yield phi

    def answers_at(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        steps: Sequence[int],
        x: Inputs,
        start: Stacked | None = None,
    ) -> Iterator[Outputs]:
        """The whole path in one call of the model, where it is plain SGD on its loss and the model answers."""
        answers: Iterable[Outputs] | None = None
        own = type(self).predict is not Learner.predict or type(self).adapted_at is not Descent.adapted_at
        if not own and self._is_plain(model, meta, keys):
            phi = self.begin(model, meta, state, support) if start is None else start
            batches, whole = self.batches(support, keys, "adapt"), self.reads_all(support)
            answers = model.answers_of_sgd(phi, batches, self.inner_lr, steps, x, whole)
        if answers is None:
            answers = super().answers_at(model, meta, state, support, keys, steps, x, start)
        yield from answers

    def _is_plain(self, model: Model, meta: Params, keys: Keys) -> bool:
        """Whether adaptation is SGD on the model's loss and nothing else."""
        own_path = type(self).adaptation_trajectory is not Descent.adaptation_trajectory
        return not own_path and self.optimizer == "sgd" and self.objective(model, meta, len(keys.clients)) is model


@dataclass(frozen=True)
class InnerLoop(Descent):
    """A round's work is a fixed number of such steps, which is also how many adaptation takes unless it is told."""

    inner_steps: int = setting(5, "gradient steps of one client in one round", ge=0)


@dataclass(frozen=True)
class ChosenOptimizer:
    """The steps may also be Adam's: for learners whose update is wherever the inner loop ends, however it got there.

    Comes first among the bases of a learner: ``class Reptile(ChosenOptimizer, InnerLoop)``.
    """

    optimizer: Literal["sgd", "adam"] = setting("sgd", "inner optimiser")


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
    if size == 0:
        yield from repeat(batch)
    longest, n = batch.mask.shape[1], batch.counts.long().cpu().numpy()
    if n.max(initial=0) <= size:
        yield from repeat(batch)
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
            walks[:, group] = _walk(n, group, places, keys, purpose) if shuffle else places % n[group][:, None]
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
    counts: Counts, group: Counts, places: Int64[np.ndarray, "steps 1 size"], keys: Keys, purpose: str
) -> Int64[np.ndarray, "steps some size"]:
    """The samples at the given places of the endless chain of shuffled epochs of each client of a group.

    Each epoch has a page of uniform numbers, and their order is its permutation of 0 … n_i − 1.
    """
    n = counts[group]
    epoch: np.ndarray = places // n[:, None]
    low, high = epoch[0, :, 0], epoch[-1, :, -1]
    pages = high - low + 1
    client = np.repeat(np.arange(len(n)), pages)
    start = np.cumsum(pages) - pages  # where each client's pages begin in the table
    page = np.arange(len(client)) - start[client] + low[client]
    u = keys.uniforms(purpose, int(n.max()), page, group[client])
    table = np.argsort(np.where(np.arange(u.shape[1]) < n[client][:, None], u, 2.0), axis=1)
    rows: np.ndarray = table[(start - low)[:, None] + epoch, places % n[:, None]]
    return rows
