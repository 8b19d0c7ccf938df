"""What a device keeps from its own training, so that a person of the training can be tested on it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64

from client.data import Samples
from client.errors import DataError
from client.rng import generator


def reserved(samples: Samples, split: str, seed: int, user: int) -> Bool[np.ndarray, " n"]:
    """Which samples are kept: half of the groups, or half of single samples, or the later half, or the publisher's.

    Groups are drawn by person and moment, so that a moment that two devices saw is kept on both or on neither, as long
    as both saw the same ones.

    Args:
        samples: everything of one device.
        split: how, as in ``EpisodePlan``.
        seed: of the draw.
        user: the person.

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


def _scattered(codes: Int64[np.ndarray, " k"], seed: int, user: int) -> np.ndarray:
    """Every code as a number that depends on it and the address alone (the finaliser of SplitMix64)."""
    z = codes.astype(np.uint64) ^ generator(seed, "reserve", 0, user).integers(2**64, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: np.ndarray = z ^ (z >> np.uint64(31))
    return out
