"""Wrappers of a model: a client's loss with a proximal or linear term, or with some parameters frozen.

Most personalised methods are gradient descent on such a loss, so with these they share one inner loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.models.base import Model
from metapulse.trees import Flat, Stacked, add, sub, zeros_like


@dataclass(frozen=True, eq=False)
class _Around(Model):
    """Passes on what it does not change."""

    inner: Model

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The inner model's."""
        return self.inner.init(rng)

    def predict(self, params: Stacked, x: Inputs) -> Outputs:
        """The inner model's."""
        return self.inner.predict(params, x)

    @property
    def head(self) -> frozenset[str]:
        """The inner model's."""
        return self.inner.head


@dataclass(frozen=True, eq=False)
class ProximalLoss(_Around):
    """L(φ) + (μ/2)‖φ − anchor‖² + ⟨tilt, φ⟩; the loss it tells is L alone.

    Args:
        inner: the oracle of L.
        anchor: (clients, *shape) per name.
        mu: μ ≥ 0.
        tilt: (clients, *shape) per name; None for none.
    """

    anchor: Stacked
    mu: float
    tilt: Stacked | None = None

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """L and ∇L(φ) + μ(φ − anchor) + tilt."""
        loss, grads = self.inner.value_and_grad(params, batch, into)
        if self.mu:
            grads = add(grads, sub(params, self.anchor), self.mu)
        return loss, grads if self.tilt is None else add(grads, self.tilt)


@dataclass(frozen=True, eq=False)
class FrozenParameters(_Around):
    """L as a function of some parameters: the gradient in all others is zero.

    Args:
        inner: the oracle of L.
        moving: names that have a gradient.
    """

    moving: frozenset[str]

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """L, and ∇L with zeros for what does not move."""
        loss, grads = self.inner.value_and_grad(params, batch, into)
        fixed = zeros_like({name: g for name, g in grads.items() if name not in self.moving})
        return loss, {name: fixed.get(name, g) for name, g in grads.items()}
