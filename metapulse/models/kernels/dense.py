"""Linear layers and nonlinearities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, PiecewiseLinear, Saved
from metapulse.models.layers import linear
from metapulse.trees import Stacked


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """X Wᵀ + b; one large product where all clients still share one θ, as in every first step."""
    if len(weight) > 1 and weight.stride(0) == 0:
        return torch.nn.functional.linear(x, weight[0], bias[0])
    return linear(x, weight, bias)


@dataclass(frozen=True)
class Linear(Kernel):
    """Y = x Wᵀ + b on (clients, n, inputs).

    Args:
        weight: name of W, (outputs, inputs).
        bias: name of b, (outputs,).
    """

    weight: str
    bias: str

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """X Wᵀ + b."""
        return _affine(x, w[self.weight], w[self.bias]), x

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """W̄ = ȳᵀ x, b̄ = Σ ȳ, x̄ = ȳ W."""
        torch.bmm(g.transpose(1, 2), saved, out=out[self.weight])
        torch.sum(g, 1, out=out[self.bias])
        return torch.bmm(g, w[self.weight]) if inputs else None

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = x Vᵀ + v_b + ẋ Wᵀ."""
        dy = linear(saved, v[self.weight], v[self.bias])
        return dy if dx is None else dy.baddbmm_(dx, w[self.weight].transpose(1, 2)), dx

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """W̄ moves by ẏ̄ᵀ x + ȳᵀ ẋ, b̄ by Σ ẏ̄, x̄ by ẏ̄ W + ȳ V."""
        torch.bmm(dg.transpose(1, 2), saved, out=out[self.weight])
        if moved is not None:
            out[self.weight].baddbmm_(g.transpose(1, 2), moved)
        torch.sum(dg, 1, out=out[self.bias])
        return torch.bmm(dg, w[self.weight]).baddbmm_(g, v[self.weight]) if inputs else None


def _where_positive(g: Tensor | None, y: Tensor) -> Tensor:
    """G where y > 0, zero elsewhere."""
    out: Tensor = torch.ops.aten.threshold_backward(g, y, 0)
    return out


def _where_steep(g: Tensor | None, y: Tensor) -> Tensor:
    """(1 − y²) g."""
    out: Tensor = torch.ops.aten.tanh_backward(g, y)
    return out


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """Y = max(x, 0); its own output says where it is flat."""

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """In place: x is the output of the kernel before, which needs it no more."""
        y = x.relu_()
        return y, y

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """X̄ = ȳ where y > 0."""
        return _where_positive(g, saved)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = ẋ where y > 0."""
        return _where_positive(dx, saved), None


@dataclass(frozen=True)
class Tanh(Kernel):
    """Y = tanh x."""

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """In place, as for ReLU."""
        y = x.tanh_()
        return y, y

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """X̄ = (1 − y²) ȳ."""
        return _where_steep(g, saved)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = (1 − y²) ẋ."""
        dy = _where_steep(dx, saved)
        return dy, dy

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """X̄ moves by (1 − y²) ẏ̄ − 2 y ẏ ȳ."""
        bend: Tensor = 2.0 * saved * moved * g
        return _where_steep(dg, saved) - bend
