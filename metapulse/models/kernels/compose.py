"""Composed kernels: in series and in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, Saved
from metapulse.trees import Stacked


@dataclass(frozen=True)
class Series(Kernel):
    """Kernels one after the other."""

    kernels: tuple[Kernel, ...]

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps what each of them keeps."""
        saved = []
        for kernel in self.kernels:
            x, kept = kernel.forward(w, x)
            saved.append(kept)
        return x, (saved, [])

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """From the last to the first; keeps each one's ȳ, since movements start there."""
        kept, incoming = saved
        incoming.clear()
        top: Tensor | None = g
        for i in reversed(range(len(self.kernels))):
            assert top is not None
            incoming.append(top)
            top = self.kernels[i].backward(w, kept[i], top, out, inputs or i > 0)
        return top

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """From the first to the last."""
        moved = []
        for kernel, kept in zip(self.kernels, saved[0], strict=True):
            dx, moves = kernel.tangent(w, v, kept, dx)
            moved.append(moves)
        assert dx is not None
        return dx, moved

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """From the last to the first, each at the ȳ it had in ``backward``."""
        kept, incoming = saved
        top: Tensor | None = dg
        for i, still in zip(reversed(range(len(self.kernels))), incoming, strict=True):
            assert top is not None
            top = self.kernels[i].backward_tangent(w, v, kept[i], moved[i], still, top, out, inputs or i > 0)
        return top


@dataclass(frozen=True)
class Parallel(Kernel):
    """Two kernels on the same input, their outputs one after the other on the last axis."""

    left: Kernel
    right: Kernel

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps what both keep, and where the right one's output begins."""
        left, kept = self.left.forward(w, x)
        right, also = self.right.forward(w, x)
        return torch.cat([left, right], -1), (kept, also, left.shape[-1])

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """To each its part of ȳ; what both say of x adds up."""
        left, right = self._parts(saved, g)
        return _total(
            self.left.backward(w, saved[0], left, out, inputs), self.right.backward(w, saved[1], right, out, inputs)
        )

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """Both movements."""
        left, moves = self.left.tangent(w, v, saved[0], dx)
        right, also = self.right.tangent(w, v, saved[1], dx)
        return torch.cat([left, right], -1), (moves, also)

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """As backward."""
        pairs = zip(self._parts(saved, g), self._parts(saved, dg), strict=True)
        both = zip((self.left, self.right), saved, moved, pairs, strict=False)
        return _total(
            *(kernel.backward_tangent(w, v, kept, moves, *pair, out, inputs) for kernel, kept, moves, pair in both)
        )

    def _parts(self, saved: Saved, g: Tensor) -> tuple[Tensor, Tensor]:
        return g[..., : saved[2]], g[..., saved[2] :]


def _total(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b
