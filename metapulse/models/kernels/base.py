"""What a kernel is, and how a chain of them gives a loss, its gradient and its curvature.

A kernel knows four things about its layer y = f(w, x), with v and ẋ the directions in which w and x move:

    forward            y
    backward           x̄ = (∂f/∂x)ᵀ ȳ and w̄ = (∂f/∂w)ᵀ ȳ
    tangent            ẏ = (∂f/∂x) ẋ + (∂f/∂w) v
    backward_tangent   how x̄ and w̄ move: their derivatives along (v, ẋ, ȳ's own movement)

The first two make a gradient. All four make ∇²L v, the derivative of the gradient along v (Pearlmutter 1994, "Fast
exact multiplication by the Hessian"): no graph is kept, and the values of the forward pass serve both.

A kernel never changes what it is given and never keeps anything: what its backward needs, its forward hands out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metapulse.episodes import Batch, PerClient
from metapulse.trees import Flat, Stacked, flat_stack

#: What a kernel's forward hands to its backward; opaque to all others.
Saved = Any
#: Where a kernel writes the derivative of each of its own parameters: views of one buffer.
Out = Mapping[str, Tensor]


@dataclass(frozen=True)
class Expansion:
    """A stack of losses around a point, to second order.

    Args:
        loss: L at the point, (clients,).
        grad: ∇L at the point, per client.
        hvp: v ↦ ∇²L v at the point, per client.
    """

    loss: PerClient
    grad: Stacked
    hvp: Callable[[Stacked], Stacked]


class Kernel(ABC):
    """One layer; its parameters are the entries of the tree that it names."""

    @abstractmethod
    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Y, and what the other three need of this point."""

    @abstractmethod
    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Write w̄ into ``out``; return x̄ for ȳ = ``g``, or None where ``inputs`` says that it is not needed."""

    @abstractmethod
    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ when w moves along v and x along ``dx`` (None: not at all), and what ``backward_tangent`` needs of it."""

    @abstractmethod
    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Write the movement of w̄ into ``out``; return that of x̄, when ȳ = ``g`` moves along ``dg``."""


class PiecewiseLinear(Kernel):
    """One whose slope does not move: what it does to ȳ it does to the movement of ȳ."""

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """As backward."""
        return self.backward(w, saved, dg, out, inputs)


class Loss(ABC):
    """The end of a chain: one number per client."""

    @abstractmethod
    def forward(self, y: Tensor, batch: Batch) -> tuple[PerClient, Saved]:
        """Loss of each client's predictions (clients, samples, outputs)."""

    @abstractmethod
    def backward(self, saved: Saved, batch: Batch) -> Tensor:
        """Its gradient in the predictions."""

    @abstractmethod
    def backward_tangent(self, saved: Saved, batch: Batch, dy: Tensor) -> Tensor:
        """How that gradient moves when the predictions move along ``dy``."""


@dataclass(frozen=True)
class Chain:
    """Layers one after the other, and a loss.

    Args:
        kernels: from input to prediction; together they own every parameter.
        view: a batch's inputs as the first kernel reads them.
    """

    kernels: tuple[Kernel, ...]
    loss: Loss
    view: Callable[[Tensor], Tensor] = lambda x: x

    @torch.no_grad()
    def expand(self, params: Stacked, batch: Batch, into: Flat | None = None) -> Expansion:
        """Loss, gradient and curvature at ``params``; the curvature costs nothing until it is asked for.

        Args:
            into: a tree of the same layout that the gradient overwrites (None: a new one).
        """
        w = flat_stack(params)
        h, saved = self.view(batch.x), []
        for kernel in self.kernels:
            h, kept = kernel.forward(w, h)
            saved.append(kept)
        loss, top = self.loss.forward(h, batch)
        grad = w.blank() if into is None else into
        g: Tensor | None = self.loss.backward(top, batch)
        incoming = []
        for i in reversed(range(len(self.kernels))):
            assert g is not None
            incoming.append(g)
            g = self.kernels[i].backward(w, saved[i], g, grad.views, i > 0)

        @torch.no_grad()
        def hvp(vector: Stacked) -> Stacked:
            v = flat_stack(vector)
            dx: Tensor | None = None
            moved = []
            for kernel, kept in zip(self.kernels, saved, strict=True):
                dx, moves = kernel.tangent(w, v, kept, dx)
                moved.append(moves)
            assert dx is not None
            product = w.blank()
            dg: Tensor | None = self.loss.backward_tangent(top, batch, dx)
            for i, g in zip(reversed(range(len(self.kernels))), incoming, strict=True):
                assert dg is not None
                dg = self.kernels[i].backward_tangent(w, v, saved[i], moved[i], g, dg, product.views, i > 0)
            return product

        return Expansion(loss, grad, hvp)
