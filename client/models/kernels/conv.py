"""Convolutions over time as matrix products, without copying a single window.

Activations are channels-last, (clients, samples, pitch, channels): the samples of a client lie one after the other,
``pitch`` rows each, and the ``width`` rows that a window reads are one run of width · channels numbers. Windows that
start ``width`` rows apart do not overlap, so those at rows r, r + width, r + 2 width, … are the rows of a matrix that
is there already, and a convolution is ``width`` products, one for each r, with the same weights. Windows that reach
into the next sample come out as garbage nobody reads; their gradient is zero, which is just what the gradient of the
input needs. That one runs the same products backwards, adding into the windows; the weights' adds up over r.

Padding is rows of zeros that whoever makes an activation leaves for the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from client.models.kernels.base import Kernel, Out, Saved
from client.trees import Stacked


@dataclass(frozen=True)
class Place:
    """Where the values of a sample stand among zeros: ``lead`` zeros, ``length`` values, zeros up to ``pitch``."""

    length: int
    lead: int = 0
    pitch: int = 0

    @classmethod
    def of(cls, length: int, lead: int, even: bool) -> Place:
        """As many zeros behind as in front, one more where ``even`` asks for it."""
        pitch = length + 2 * lead
        return cls(length, lead, pitch + (pitch % 2 if even else 0))

    def room(self, like: Tensor, channels: int) -> Tensor:
        """An activation (clients, samples, pitch, channels) whose values are still to be written."""
        shape = (*like.shape[:2], self.pitch, channels)
        return like.new_empty(shape) if self.pitch == self.length else like.new_zeros(shape)

    def values(self, x: Tensor) -> Tensor:
        """The values in it."""
        return x[:, :, self.lead : self.lead + self.length]

    def put(self, x: Float[Tensor, "clients samples channels time"]) -> Float[Tensor, "clients samples pitch channels"]:
        """A batch's windows, channels last."""
        room = self.room(x, x.shape[2])
        self.values(room).copy_(x.transpose(2, 3))
        return room


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
    place: Place

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps x, the weights channels-last, y, and by how much the first of two neighbours is larger."""
        rows = _channels_last(w[self.weight])
        lanes = self._convolve(x, [(x, rows)])
        top = torch.maximum(*lanes) if self.halve else lanes[0]
        ahead = lanes[0].sub_(lanes[1]) if self.halve else None
        y = self.place.room(x, rows.shape[2])
        torch.add(self._real(top), w[self.bias][:, None, None], out=self.place.values(y))
        return y.relu_(), (x, rows, y, ahead)

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Through ReLU and the choice of neighbours, then the three products' transposes."""
        x, rows, _, _ = saved
        lanes = self._gate(saved, g, out[self.bias])
        self._weight_gradient([(lanes, x)], rows, out)
        return self._input_gradient(x, [(lanes, rows)]) if inputs else None

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = x ⋆ V + v_b + ẋ ⋆ W where ReLU and the choice of neighbours let it through."""
        x, rows, y, ahead = saved
        turned = _channels_last(v[self.weight])
        lanes = self._convolve(x, [(x, turned)] + ([] if dx is None else [(dx, rows)]))
        top = lanes[-1]
        if self.halve:
            top = torch.ops.aten.threshold_backward(lanes[0].sub_(top), ahead, 0).add_(top)
        dy = self.place.room(x, rows.shape[2])
        moved = self._real(top) + v[self.bias][:, None, None]
        _threshold(moved, self.place.values(y), self.place.values(dy))
        return dy, (turned, dx)

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Both factors of every product move; ReLU and the choice of neighbours stay."""
        x, rows, _, _ = saved
        turned, dx = moved
        still = self._gate(saved, g, None)
        lanes = self._gate(saved, dg, out[self.bias])
        self._weight_gradient([(lanes, x)] + ([] if dx is None else [(still, dx)]), rows, out)
        return self._input_gradient(x, [(lanes, rows), (still, turned)]) if inputs else None

    @property
    def _stride(self) -> int:
        return 2 if self.halve else 1

    def _real(self, lane: Tensor) -> Tensor:
        """What of a lane is no garbage."""
        return lane[:, :, : self.place.length]

    def _convolve(self, x: Tensor, factors: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Σ x ⋆ W over ``factors``, every second row in a lane of its own where neighbours are compared."""
        clients, n, pitch, _ = x.shape
        lanes = []
        for lane in range(self._stride):
            z = x.new_empty(clients, n, pitch // self._stride, factors[0][1].shape[2])
            for i, (factor, rows) in enumerate(factors):
                for window, result in self._runs(factor, z, lane, rows):
                    torch.baddbmm(result, window, rows, beta=float(i > 0), out=result)
            lanes.append(z)
        return lanes

    def _gate(self, saved: Saved, g: Tensor, bias: Tensor | None) -> list[Tensor]:
        """The gradient of each lane, zero in the garbage; its sum goes into ``bias``."""
        x, rows, y, ahead = saved
        clients, n, pitch, _ = x.shape
        top = x.new_empty(clients, n, pitch // self._stride, rows.shape[2])
        top[:, :, self.place.length :].zero_()
        _threshold(self.place.values(g), self.place.values(y), self._real(top))
        if bias is not None:
            torch.sum(top, (1, 2), out=bias)
        if not self.halve:
            return [top]
        first = torch.ops.aten.threshold_backward(top, ahead, 0)
        return [first, top.sub_(first)]

    def _weight_gradient(self, factors: Sequence[tuple[Sequence[Tensor], Tensor]], rows: Tensor, out: Out) -> None:
        """W̄ = Σ xᵀ ȳ over the windows; summed up apart, since adding to large numbers is inexact."""
        total = torch.zeros_like(rows)
        for lanes, x in factors:
            for lane, z in enumerate(lanes):
                for window, g in self._runs(x, z, lane, rows):
                    total.baddbmm_(window.transpose(1, 2), g)
        to = out[self.weight]
        to.copy_(total.view(-1, *to.shape[:0:-1]).transpose(1, 3))

    def _input_gradient(self, x: Tensor, factors: Sequence[tuple[Sequence[Tensor], Tensor]]) -> Tensor:
        """X̄: each window of x has Σ ȳ Wᵀ."""
        total = torch.zeros_like(x)
        for lanes, rows in factors:
            for lane, z in enumerate(lanes):
                for window, g in self._runs(total, z, lane, rows):
                    window.baddbmm_(g, rows.transpose(1, 2))
        return total

    def _runs(self, x: Tensor, z: Tensor, lane: int, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Windows that do not overlap, (clients, windows, width · channels), and the rows of ``z`` that are theirs."""
        clients, n, pitch, channels = x.shape
        outputs, window = z.shape[3], rows.shape[1]
        count = -(-window // (channels * self._stride))  # starts before windows repeat themselves
        period = count * self._stride * channels
        size = n * pitch * channels
        pairs = []
        for i in range(count):
            start = (lane + i * self._stride) * channels
            fit = max((size - start - window) // period + 1, 0)
            pairs.append(
                (
                    x.as_strided((clients, fit, window), (size, period, 1), x.storage_offset() + start),
                    z.as_strided((clients, fit, outputs), (z.stride(0), count * outputs, 1), i * outputs),
                )
            )
        return pairs


def blocks(time: int, widths: Sequence[int], same: bool) -> tuple[list[ConvReLU], Callable[[Tensor], Tensor]]:
    """Convolutions with ReLU named conv0, conv1, …, max-pooling by two between them, and their view of a batch.

    Args:
        time: samples in a window.
        widths: of the convolutions.
        same: zeros on both sides keep the length (odd widths); otherwise it shrinks by width − 1.
    """
    last = len(widths) - 1
    kernels: list[ConvReLU] = []
    first = place = Place.of(time, widths[0] // 2 if same else 0, last > 0)
    for i, width in enumerate(widths):
        length = place.length if same else place.length - width + 1
        length = length // 2 if i < last else length
        lead = widths[i + 1] // 2 if same and i < last else 0
        place = Place.of(length, lead, i + 1 < last)
        kernels.append(ConvReLU(f"conv{i}.weight", f"conv{i}.bias", i < last, place))
    return kernels, first.put


def _channels_last(weight: Float[Tensor, "clients outputs inputs width"]) -> Float[Tensor, "clients window outputs"]:
    return weight.transpose(1, 3).reshape(len(weight), -1, weight.shape[1])


def _threshold(g: Tensor, y: Tensor, out: Tensor) -> None:
    """``g`` where y > 0, into ``out``."""
    torch.ops.aten.threshold_backward.grad_input(g, y, 0, grad_input=out)
