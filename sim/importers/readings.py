"""Readings of a sensor: one a stamp, on a regular grid, and in windows that one label dominates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64


def merge_duplicates(
    t: Float64[np.ndarray, " n"], values: Float[np.ndarray, "n channels"]
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m channels"]]:
    """Sort by time and average the readings that carry the same stamp.

    Phones deliver readings in bursts with one stamp; interpolating through such a step would invent a jump.

    Returns:
        Strictly increasing stamps, and their mean values.
    """
    stamps, first = np.unique(t, return_inverse=True)
    count = np.bincount(first)
    sums = [np.bincount(first, values[:, c].astype(np.float64)) for c in range(values.shape[1])]
    return stamps, np.stack([s / count for s in sums], 1)  # (m, channels)


def motion_windows(
    t_ms: Float64[np.ndarray, " n"],
    values: Float[np.ndarray, "n channels"],
    labels: Int[np.ndarray, " n"],
    length: int = 64,
    hop: int = 32,
    step_ms: float = 20.0,
    purity: float = 0.75,
) -> tuple[Float32[np.ndarray, "k channels length"], Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Resample a recording to a regular grid and cut windows that one label dominates.

    Args:
        t_ms: stamps, ms, in any order, repeats allowed.
        values: readings at those stamps.
        labels: label code at those stamps, ≥ 0.
        length: readings per window.
        hop: readings from one window's start to the next; below ``length`` they overlap.
        step_ms: grid step; 20 ms is 50 Hz.
        purity: least share of the window under its commonest label, in (0, 1].

    Returns:
        Windows, their labels, and the stamp at which each starts.
    """
    stamps, merged = merge_duplicates(t_ms, values)
    points = int((stamps[-1] - stamps[0]) // step_ms) + 1
    grid = stamps[0] + step_ms * np.arange(points)
    order = np.argsort(t_ms, kind="stable")
    label = labels[order][np.searchsorted(t_ms[order], grid, "right") - 1]  # in force since the last reading
    signal = np.stack([np.interp(grid, stamps, merged[:, c]) for c in range(values.shape[1])])  # (channels, points)
    begin = np.arange(0, points - length + 1, hop)
    inside = begin[:, None] + np.arange(length)  # (windows, length)
    share = np.stack([(label[inside] == c).mean(1) for c in range(int(labels.max()) + 1)], 1)  # (windows, classes)
    keep = share.max(1, initial=0) >= purity if len(begin) else np.zeros(0, bool)
    x = signal[:, inside[keep]].transpose(1, 0, 2).astype(np.float32)  # (kept, channels, length)
    return x, share[keep].argmax(1).astype(np.int64), grid[begin[keep]]
