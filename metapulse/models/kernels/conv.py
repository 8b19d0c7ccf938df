"""Convolutions over time, channels-last; how they lie in memory is told in ``metapulse.models.kernels.windows``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, Saved
from metapulse.models.kernels.windows import Matrices, WindowLayout, WindowMatrices
from metapulse.trees import Stacked


@dataclass(frozen=True)
class ConvCache:
    """What ``ConvReLU`` keeps of a forward pass.

    Args:
        x: the input.
        runs: of its windows.
        windows: in x, run by run.
        rows: W as (clients, width · inputs, outputs).
        y: the output.
        ahead: by how much the first of two neighbours is larger, where they are compared.
    """

    x: Tensor
    runs: WindowMatrices
    windows: Matrices
    rows: Tensor
    y: Tensor
    ahead: Tensor | None


@dataclass(frozen=True)
class ConvReLU(Kernel):
    """Y = max(x ⋆ W + b, 0), the larger of every two neighbours where ``halve`` says so; stride 1, no padding.

    Of two equal neighbours the second one has the gradient. Where neighbours are equal whatever the weights (windows
    with the same content) that is the same gradient as any other share; so it is where both end in ReLU's zeros.

    Args:
        weight: name of W, (outputs, inputs, width).
        bias: name of b, (outputs,).
        halve: max-pooling by two; an odd last row is dropped. The pitch of x must then be even.
        place: of y.
    """

    weight: str
    bias: str
    halve: bool
    place: WindowLayout

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, ConvCache]:
        """The products, the larger neighbour, the bias, ReLU."""
        rows, ahead = _channels_last(w[self.weight]), None
        runs = WindowMatrices(x.shape[1], x.shape[2], w[self.weight].shape[3], 2 if self.halve else 1)
        windows, z = runs.windows(x), runs.room(x, rows.shape[2])
        for window, product in zip(windows, runs.products(z), strict=True):
            torch.bmm(window, rows, out=product)
        top = z[0]
        if self.halve:
            top = torch.maximum(top, z[1])
            ahead = z[0].sub_(z[1])
        y = self.place.room(x, rows.shape[2])
        torch.add(self._real(top), w[self.bias][:, None, None], out=self.place.values(y))
        return y.relu_(), ConvCache(x, runs, windows, rows, y, ahead)

    def backward(self, w: Stacked, saved: ConvCache, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Through ReLU and the choice of neighbours, then the products' transposes."""
        return self._pull(saved, [(g, saved.windows, saved.rows)], out, inputs)

    def tangent(self, w: Stacked, v: Stacked, saved: ConvCache, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = x ⋆ V + v_b + ẋ ⋆ W where ReLU and the choice of neighbours let it through."""
        runs, y, turned = saved.runs, saved.y, _channels_last(v[self.weight])
        moved = None if dx is None else runs.windows(dx)
        z = runs.room(y, y.shape[3])
        products, top = runs.products(z), z[0]
        for window, product in zip(saved.windows, products, strict=True):
            torch.bmm(window, turned, out=product)
        for window, product in zip(moved or (), products, strict=False):
            product.baddbmm_(window, saved.rows)
        if saved.ahead is not None:
            _threshold(top.sub_(z[1]), saved.ahead, top)
            top.add_(z[1])
        dy = self.place.room(y, y.shape[3])
        real = self._real(top).add_(v[self.bias][:, None, None])
        _threshold(real, self.place.values(y), self.place.values(dy))
        return dy, (moved, turned)

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: ConvCache, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Both factors of every product move; ReLU and the choice of neighbours stay."""
        return self._pull(saved, [(g, *moved), (dg, saved.windows, saved.rows)], out, inputs)

    def _pull(
        self, cache: ConvCache, terms: Sequence[tuple[Tensor, Matrices | None, Tensor]], out: Out, inputs: bool
    ) -> Tensor | None:
        """W̄ = Σ xᵀ ȳ, and x̄ = Σ ȳ Wᵀ in each window, over all ``terms`` ȳ, x, W; b̄ = Σ ȳ of the last one."""
        weight = torch.zeros_like(cache.rows)  # apart from the result, since adding to large numbers is inexact
        total = torch.zeros_like(cache.x) if inputs else None
        totals = () if total is None else cache.runs.windows(total)
        z = cache.runs.room(cache.y, cache.y.shape[3])
        z[:, :, :, self.place.length :].zero_()  # nothing comes back from the garbage
        products, top = cache.runs.products(z), z[-1]
        for g, windows, rows in terms:
            _threshold(self.place.values(g), self.place.values(cache.y), self._real(top))
            torch.sum(top, (1, 2), out=out[self.bias])
            if cache.ahead is not None:
                _threshold(top, cache.ahead, z[0])
                top.sub_(z[0])
            for window, product in zip(windows or (), products, strict=False):
                weight.baddbmm_(window.transpose(1, 2), product)
            for window, product in zip(totals, products, strict=False):
                window.baddbmm_(product, rows.transpose(1, 2))
        to = out[self.weight]
        to.copy_(weight.view(len(to), *to.shape[:0:-1]).transpose(1, 3))
        return total

    def _real(self, lane: Tensor) -> Tensor:
        """What of a lane is no garbage."""
        return lane[:, :, : self.place.length]


def blocks(time: int, widths: Sequence[int], same: bool) -> tuple[list[ConvReLU], Callable[[Tensor], Tensor]]:
    """Convolutions with ReLU named conv0, conv1, …, max-pooling by two between them, and their view of a batch.

    Args:
        time: samples in a window.
        widths: of the convolutions.
        same: zeros on both sides keep the length (odd widths); otherwise it shrinks by width − 1.
    """
    last = len(widths) - 1
    kernels: list[ConvReLU] = []
    first = place = WindowLayout.of(time, widths[0] // 2 if same else 0, last > 0)
    for i, width in enumerate(widths):
        length = place.length if same else place.length - width + 1
        length = length // 2 if i < last else length
        lead = widths[i + 1] // 2 if same and i < last else 0
        place = WindowLayout.of(length, lead, i + 1 < last)
        kernels.append(ConvReLU(f"conv{i}.weight", f"conv{i}.bias", i < last, place))
    return kernels, first.put


def _channels_last(weight: Float[Tensor, "clients outputs inputs width"]) -> Float[Tensor, "clients window outputs"]:
    return weight.transpose(1, 3).reshape(len(weight), -1, weight.shape[1])


def _threshold(g: Tensor, y: Tensor, out: Tensor) -> None:
    """``g`` where y > 0, into ``out``."""
    torch.ops.aten.threshold_backward.grad_input(g, y, 0, grad_input=out)
