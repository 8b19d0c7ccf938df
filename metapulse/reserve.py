"""Samples that a device keeps out of training, so that people in training can be tested on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from metapulse.data import Samples, Source
from metapulse.errors import DataError
from metapulse.history import Rows, apart
from metapulse.outcome import each
from metapulse.rng import generator

PEOPLE = 2**14  # people whose devices' rows a process keeps


def reserved(samples: Samples, split: str, seed: int, user: int) -> Bool[np.ndarray, " n"]:
    """Which samples are kept: half of the groups, or half of single samples, or the later half, or the publisher's.

    Groups are drawn by person and moment, so that a moment that two devices saw is kept on both or on neither, as long
    as both saw the same ones.

    Args:
        split: how, as in ``EpisodePlan``.

    Raises:
        DataError: one group only, or a single sample.
    """
    if split == "held_out":
        return samples.held_out
    if split == "forward":
        return np.arange(len(samples)) >= (len(samples) + 1) // 2
    codes = samples.group if split == "groups" else np.arange(len(samples))
    names = np.unique(codes)
    if len(names) < 2:
        raise DataError(
            f"one group of samples only ({len(samples)} samples); known_user needs one to keep for its test"
        )
    order = np.argsort(_scattered(names, seed, user), kind="stable")
    kept: Bool[np.ndarray, " n"] = np.isin(codes, names[order[: len(names) // 2]])
    return kept


class TrainableRows:
    """What each of a person's devices may train on beside the others; the same in every round, so it is found once.

    Args:
        split: how samples are kept, for the message.
        models: device models that train, and so keep samples; empty: all.
        read: a client's samples; ``held_out`` are those that it keeps.
    """

    def __init__(self, source: Any, split: str, models: Sequence[str], read: Callable[[int], Samples]) -> None:
        self._source: Source = source  # not looked at yet: a coordinator's has no data
        self._split, self._models, self._read = split, models, read
        self._rows: dict[int, dict[int, Rows]] = {}

    def rows(self, client: int) -> Rows | None:
        """Rows that a client may train on; None: the person wears no other device that trains.

        Raises:
            DataError: the client is left out.
        """
        user = self._source.client(client).user
        if user not in self._rows:
            worn = [c for c in self._source.clients_of(user) if c == client or self._trains(c)]
            if len(worn) < 2:
                return None
            if len(self._rows) >= PEOPLE:
                self._rows.clear()
            devices, _ = each(worn, self._read, 0, "reserve")  # who has no samples to keep is not asked about any
            self._rows[user] = trainable(devices)
        if client not in self._rows[user]:
            raise DataError(
                f"left out of training and of known_user (split {self._split}): nothing tells its samples from the"
                " moments that the person's other devices keep; needs a time column, or group names that devices share"
            )
        return self._rows[user][client]

    def _trains(self, client: int) -> bool:
        return not self._models or self._source.client(client).device in self._models


def trainable(devices: Mapping[int, Samples]) -> dict[int, Rows]:
    """Which rows each of a person's devices may train on: what neither it keeps nor another one, at the same moment.

    A device that would have nothing left, or leave nothing to one before it, is not among them: it neither trains nor
    is asked.

    Args:
        devices: everything of each, by partition id in the order of the source; what a device keeps is ``held_out``.
    """
    kept: dict[int, Samples] = {}
    found: dict[int, Rows] = {}
    for client, samples in devices.items():
        worn = {**kept, client: samples}
        rows = {c: _free(own, [other for o, other in worn.items() if o != c]) for c, own in worn.items()}
        if all(len(rows[c]) or own.held_out.all() for c, own in worn.items()):
            kept, found = worn, rows
    return found


def _free(own: Samples, others: Sequence[Samples]) -> Rows:
    free = ~own.held_out
    for other in others:
        clock = (own.time is not None and other.time is not None) or (own.span is not None and other.span is not None)
        if not clock and not np.isin(own.moments, other.moments).any():
            return np.zeros(0, np.int64)  # names of a device's own say nothing about another's moments
        free &= np.isin(np.arange(len(own)), apart(own, other, np.flatnonzero(other.held_out)))
    rows: Rows = np.flatnonzero(free)
    return rows


def _scattered(codes: Int64[np.ndarray, " k"], seed: int, user: int) -> np.ndarray:
    """Every code as a number that depends on it and the address alone (the finaliser of SplitMix64)."""
    z = codes.astype(np.uint64) ^ generator(seed, "reserve", 0, user).integers(2**64, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: np.ndarray = z ^ (z >> np.uint64(31))
    return out
