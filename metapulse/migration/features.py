"""Labelled samples of an old device in the new device's feature space, through moments that both devices recorded.

    z_new ≈ m_new + Bᵀ(z_old − m_old),   B ~ N(B₀, C)

with m the means of a person's own shared moments, B₀ the population's map and C how far a person may be from it: the
posterior of ``metapulse.gaussian_head`` after the person's shared moments, none of which needs a label. What a model
then learns on is the person's old labelled samples, as the new device would have seen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64

from metapulse.data import Samples
from metapulse.gaussian_head import GaussianHead, condition
from metapulse.record.mapped import nearest_index

Feature: TypeAlias = Float[np.ndarray, "_ width"]
Indices: TypeAlias = Int64[np.ndarray, " k"]
US = 1e6


def shared_moments(old: Samples, new: Samples, within_s: float) -> tuple[Indices, Indices]:
    """Rows of both devices that are of one moment: the nearest of each other in time, none of them twice.

    Args:
        old: of the old device, with times.
        new: of the new device, with times.
        within_s: how far apart they may be, seconds.

    Returns:
        Rows of ``old`` and of ``new``, as many of each; none where a device does not know the time.
    """
    none = np.empty(0, np.int64)
    if old.time is None or new.time is None or not len(old) or not len(new):
        return none, none
    order_a, order_b = np.argsort(old.time, kind="stable"), np.argsort(new.time, kind="stable")
    a, b = ((time[order] * US).astype(np.int64) for time, order in ((old.time, order_a), (new.time, order_b)))
    to, back = nearest_index(a, b), nearest_index(b, a)
    mutual = (back[to] == np.arange(len(a))) & (np.abs(b[to] - a) <= within_s * US)
    return order_a[mutual], order_b[to[mutual]]


def population_map(people: Sequence[tuple[Feature, Feature]], pairs: float = 10.0) -> GaussianHead:
    """The population's map B₀, and a belief that weighs as much as so many pairs of a person's own.

    B₀ = (Σ HᵀH + v I)⁻¹ Σ HᵀG over people, H and G their features less their means: two sums that a federation adds
    up. C = I / (pairs · v), v the mean variance of a feature.

    Args:
        people: of each, features of both devices at shared moments.
        pairs: how many own pairs the population outweighs, > 0.

    Returns:
        A stack of one, with noise 1.
    """
    width = people[0][0].shape[1]
    gram, moment, count = np.zeros((width, width)), np.zeros((width, people[0][1].shape[1])), 0
    for z_old, z_new in people:
        h, g = z_old - z_old.mean(0), z_new - z_new.mean(0)
        gram, moment, count = gram + h.T @ h, moment + h.T @ g, count + len(h)
    v = max(float(np.trace(gram)) / (width * max(count, 1)), 1e-12)
    weights = np.linalg.solve(gram + v * np.eye(width), moment)
    return prior_map(weights, v, pairs)


def own_map(z_old: Feature, pairs: float = 10.0) -> GaussianHead:
    """The belief of one who knows nothing of other people: features stay as they are, B₀ = I.

    Args:
        z_old: features of the old device, for their scale.
        pairs: how many own pairs this outweighs, > 0.
    """
    v = max(float(z_old.var(0).mean()), 1e-12)
    return prior_map(np.eye(z_old.shape[1]), v, pairs)


def prior_map(weights: Float[np.ndarray, "width outputs"], v: float, pairs: float) -> GaussianHead:
    """A belief around ``weights`` with C = I / (pairs · v) and noise 1, a stack of one."""
    mean = torch.from_numpy(np.asarray(weights, np.float64))[None]
    spread = torch.eye(len(weights), dtype=torch.float64)[None] / (pairs * v)
    return GaussianHead(mean, spread, torch.ones(1, mean.shape[2], dtype=torch.float64))


def map_features(prior: GaussianHead, z_old: Feature, z_new: Feature, z: Feature) -> Feature:
    """Features of the old device as the new one would have given them.

    Args:
        prior: of ``population_map`` or ``own_map``.
        z_old: features of the old device at shared moments, at least one.
        z_new: of the new device at the same moments.
        z: of the old device, what is to be mapped.
    """
    h, g, x = (torch.from_numpy(np.asarray(a - m, np.float64))[None] for a, m in (
        (z_old, z_old.mean(0)), (z_new, z_new.mean(0)), (z, z_old.mean(0))
    ))  # fmt: skip
    belief = condition(prior, h, g, torch.ones(1, len(z_old), dtype=torch.float64))
    mapped: np.ndarray = (x @ belief.mean)[0].numpy() + z_new.mean(0)
    return mapped
