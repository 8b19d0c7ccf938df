"""Episodes: a client's samples cut into support and query, and many clients' episodes stacked, padded and masked.

The plan is drawn on the client with its own generator, so other clients do not change it. Support and query never
share a group (an execution, a day) where the plan says so, because windows of one group overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from metapulse.data import Samples, Task
from metapulse.errors import DataError
from metapulse.settings import setting

#: Inputs of a stack of clients; logits or targets of their samples; a number for each sample; one for each client.
Inputs = Float[Tensor, "clients samples *features"]
Outputs = Float[Tensor, "clients samples outputs"]
PerSample = Float[Tensor, "clients samples"]
PerClient = Float[Tensor, " clients"]
#: Inputs and labels of one client's samples.
Part: TypeAlias = tuple[np.ndarray, np.ndarray]

#: What keeps support and query apart.
Split: TypeAlias = Literal["groups", "samples", "forward", "held_out"]
SPLITS: tuple[Split, ...] = get_args(Split)
Uniforms = Float64[np.ndarray, "clients n"]
Rows = Int64[np.ndarray, " _"]  # of one client; lists of rows differ in length


@dataclass(frozen=True)
class Batch:
    """Samples of a stack of clients.

    Args:
        x: inputs, (clients, samples, *features), float.
        y: labels (clients, samples) or targets (clients, samples, outputs).
        mask: 1 for a real sample, 0 for padding, (clients, samples).
    """

    x: Inputs
    y: Int64[Tensor, "clients samples"] | Outputs
    mask: PerSample
    #: Whether it is known that none of them is padding (``equal_batch``); of a batch that ``replace`` makes, it is not.
    equal: bool = field(default=False, init=False, repr=False, compare=False)

    @cached_property
    def counts(self) -> PerClient:
        """Real samples of each client."""
        return self.mask.new_full(self.mask.shape[:1], float(self.mask.shape[1])) if self.equal else self.mask.sum(1)

    @cached_property
    def weights(self) -> PerSample:
        """Share of each sample in its client's mean: 1/n for a real one, 0 for padding."""
        if self.equal:
            return torch.full_like(self.mask, 1.0 / max(self.mask.shape[1], 1))
        return self.mask / self.counts.clamp(min=1.0).unsqueeze(1)

    def one_hot(self, classes: int) -> Float[Tensor, "clients classes samples"]:
        """Labels as indicators, classes on the middle axis."""
        hot = self.mask.new_zeros(self.mask.shape[0], classes, self.mask.shape[1])
        return hot.scatter_(1, self.y.unsqueeze(1), 1.0)

    def slice(self, first: int, end: int) -> Batch:
        """Samples ``first`` up to ``end`` of every client, where they lie."""
        x, y = self.x[:, first:end], self.y[:, first:end]
        return equal_batch(x, y) if self.equal else Batch(x, y, self.mask[:, first:end])

    def to(self, device: torch.device) -> Batch:
        """The same samples on another device."""
        if self.x.device == device:
            return self
        return Batch(self.x.to(device), self.y.to(device), self.mask.to(device))

    def join(self, other: Batch) -> Batch:
        """Both batches' samples, client by client."""
        return Batch(
            torch.cat([self.x, other.x], 1),
            torch.cat([self.y, other.y], 1),
            torch.cat([self.mask, other.mask], 1),
        )


def equal_batch(x: Inputs, y: Int64[Tensor, "clients samples"] | Outputs) -> Batch:
    """Samples of clients that have equally many, none of them padding: nothing need be counted."""
    batch = Batch(x, y, torch.ones(x.shape[:2], device=x.device))
    object.__setattr__(batch, "equal", True)
    return batch


@dataclass(frozen=True)
class Episode:
    """One task per client: adapt on ``support``, be judged on ``query``."""

    support: Batch
    query: Batch

    def to(self, device: torch.device) -> Episode:
        """The same episode on another device."""
        return Episode(self.support.to(device), self.query.to(device))

    @property
    def pooled(self) -> Batch:
        """All of an episode's samples as one batch: what learners without an inner split train on."""
        return self.support.join(self.query) if self.query.mask.shape[1] else self.support


@dataclass(frozen=True)
class EpisodePlan:
    """How an episode is cut out of a client's samples."""

    split: Split = setting(
        "groups",
        "what keeps support and query apart: whole groups, single samples, time (of each class the first half, in"
        " recorded order, against the second), or the publisher's held-out samples",
    )
    shots: int = setting(5, "support samples: up to this many per class, or in all for regression (0: every one)", ge=0)
    query: int = setting(0, "query samples per episode, drawn at random (0: every one)", ge=0)
    vary: bool = setting(
        False, "draw the shots of each training episode uniformly from 1 to ``shots``", used_if=("shots",)
    )

    def everything(self, samples: Samples) -> Cut:
        """All samples a client may train on, as support; no query."""
        rows = self.usable(samples)
        if len(rows) == 0:
            raise DataError("no samples to train on")
        return Cut(rows, rows[:0], rows)

    def usable(self, samples: Samples) -> Rows:
        """The rows a client may train on."""
        return np.flatnonzero(~samples.held_out) if self.split == "held_out" else np.arange(len(samples))

    def training(self, samples: Samples, task: Task, rng: np.random.Generator) -> Cut:
        """An episode for the outer update; with ``held_out``, the publisher's test samples are on neither side.

        Raises:
            DataError: the client's samples cannot be cut so (one group only, too few samples).
        """
        shots = int(rng.integers(1, self.shots + 1)) if self.vary and self.shots else self.shots
        support, query = self._sides(samples, self.everything(samples).support, shots, task, rng)
        if task.kind == "classification" and shots > 0:  # a device that trains knows its labels: classes on both sides
            pool, labels = support, [samples.y[side] for side in (support, query)]
            there = [np.bincount(side, minlength=task.outputs) > 0 for side in labels]
            both = there[0] & there[1]
            support, query = (side[both[label]] for side, label in zip((support, query), labels, strict=True))
            return replace(self._choose(samples, task, support, query, shots, rng), pool=pool)
        return self._choose(samples, task, support, query, shots, rng)

    def together(self, samples: Batch, task: Task, draw: Callable[[int], Uniforms]) -> tuple[Batch, Batch] | None:
        """Support and query of a whole stack at once, the same as ``training`` gives client by client.

        Args:
            samples: equally many of every client, none of them padding.
            draw: the first n uniform numbers of each client's episode generator, (clients, n), if needed.

        Returns:
            None where the plan can only be carried out for one client after the other.
        """
        n = samples.mask.shape[1]
        if task.kind != "regression" or self.vary or self.query:
            return None
        if self.split == "forward" and n > 1:
            first = min(self.shots or n, n // 2)
            return samples.slice(0, first), samples.slice(n // 2, n)
        half = self._half(task, self.shots, n)
        if self.split != "samples" or not 0 < half < n:
            return None
        u = draw(n)
        order = torch.from_numpy(np.argsort(u, 1) + n * np.arange(len(u))[:, None])
        sides = []
        for rows in (order[:, :half], order[:, half:]):
            x, y = (
                part.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, *part.shape[2:])
                for part in (samples.x, samples.y)
            )
            sides.append(equal_batch(x, y))
        return sides[0], sides[1]

    @staticmethod
    def _half(task: Task, shots: int, n: int) -> int:
        """Samples on the support side when single samples are split."""
        return shots if task.kind == "regression" and 0 < shots < n else (n + 1) // 2

    def testing(self, samples: Samples, task: Task, rng: np.random.Generator) -> Cut:
        """An episode for the meta-test: with ``held_out``, the query is the publisher's test samples.

        The support alone says which classes are offered. The query is all of the other side, whatever its labels.

        The same generator gives nested episodes: K shots are the first of any larger K.

        Raises:
            DataError: as for ``training``.
        """
        rows = np.arange(len(samples))
        if self.split != "held_out":
            return self._choose(samples, task, *self._sides(samples, rows, self.shots, task, rng), self.shots, rng)
        support = rng.permutation(rows[~samples.held_out])
        return self._choose(samples, task, support, rows[samples.held_out], self.shots, rng)

    def _sides(
        self, samples: Samples, rows: Rows, shots: int, task: Task, rng: np.random.Generator
    ) -> tuple[Rows, Rows]:
        if self.split == "groups":
            return _split_groups(samples.group, rows, rng)
        if self.split == "forward":
            return _split_forward(samples.y if task.kind == "classification" else None, rows)
        rows = rows[np.argsort(rng.random(len(rows)))]
        half = self._half(task, shots, len(rows))
        return rows[:half], rows[half:]

    def _choose(
        self, samples: Samples, task: Task, support: Rows, query: Rows, shots: int, rng: np.random.Generator
    ) -> Cut:
        pool = support
        if task.kind == "classification" and shots > 0:  # up to K: min(K, available) shots of every class
            label = samples.y[support]
            order = np.argsort(label, kind="stable")
            place = np.arange(len(order)) - np.searchsorted(label[order], label[order])  # among those of its class
            support = support[order[place < shots]]
        elif shots > 0:
            support = support[:shots]
        if self.query > 0 and len(query) > self.query:
            query = rng.choice(query, self.query, replace=False)
        if len(support) == 0 or len(query) == 0:
            raise DataError(f"no episode: {len(support)} support and {len(query)} query samples after the split")
        return Cut(support, query, pool)


@dataclass(frozen=True)
class Cut:
    """Rows of a client's samples: support (in order of use), query, and the unlabelled pool it may normalise on."""

    support: Rows
    query: Rows
    pool: Rows


def _split_groups(group: Rows, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """A random half of the groups (rounded down, at least one) against the rest; rows shuffled within each side."""
    names, number = np.unique(group[rows], return_inverse=True)
    if len(names) < 2:
        raise DataError(f"one group of samples only ({len(rows)} samples); support and query need one each")
    chosen = np.zeros(len(names), bool)
    chosen[rng.permutation(len(names))[: len(names) // 2]] = True
    order = rng.permutation(len(rows))
    inside = chosen[number[order]]
    return rows[order[inside]], rows[order[~inside]]


def _split_forward(labels: Rows | None, rows: Rows) -> tuple[Rows, Rows]:
    """The first half of each class (of everything, without labels) against the second, both in recorded order."""
    if labels is None:
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]
    own = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    first = np.concatenate([part[: len(part) // 2] for part in own])
    return np.sort(first), np.setdiff1d(rows, first)


#: No samples: the query of learners that train on all.
NOTHING = Batch(torch.zeros(0, 0, 0), torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0))


def full_batch(x: np.ndarray, y: np.ndarray) -> Batch:
    """A batch of clients that all have equally many samples."""
    return equal_batch(torch.from_numpy(x), torch.from_numpy(y))


def empty_part(task: Task) -> Part:
    """Inputs and labels of no samples, as a model of the task reads them."""
    labels = task.kind == "classification"
    y = np.zeros(0, np.int64) if labels else np.zeros((0, task.outputs), np.float32)
    return np.zeros((0, *task.features), np.float32), y


def stack_targets(parts: Sequence[Float32[np.ndarray, "_ outputs"]]) -> Outputs:
    """Numbers beside the samples of several clients, padded with zeros to the longest."""
    out = np.zeros((len(parts), max(map(len, parts)), parts[0].shape[1]), np.float32)
    for row, own in zip(out, parts, strict=True):
        row[: len(own)] = own
    return torch.from_numpy(out)


def stack_batches(parts: Sequence[Part]) -> Batch:
    """Pad and stack (x, y) of several clients; a padded row is zero and masked.

    Args:
        parts: per client x (n_i, *features) float32 and y (n_i,) int64 or (n_i, outputs) float32.

    Returns:
        A batch whose samples axis is max n_i.
    """
    longest = max(len(x) for x, _ in parts)
    x0, y0 = parts[0]
    x = np.zeros((len(parts), longest, *x0.shape[1:]), dtype=np.float32)
    y = np.zeros((len(parts), longest, *y0.shape[1:]), dtype=y0.dtype)
    mask = np.zeros((len(parts), longest), dtype=np.float32)
    for i, (xi, yi) in enumerate(parts):
        x[i, : len(xi)], y[i, : len(xi)], mask[i, : len(xi)] = xi, yi, 1.0
    return Batch(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(mask))
