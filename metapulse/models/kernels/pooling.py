"""From activations over time, (clients, samples, time, channels), to one row a sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, PiecewiseLinear, Saved
from metapulse.trees import Stacked


@dataclass(frozen=True)
class MeanPool(PiecewiseLinear):
    """Y = mean of x over time."""

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps how long it was."""
        return x.mean(2), x.shape[2]

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """ȳ over the length, the same at all times: no memory of its own."""
        return torch.div(g, saved).unsqueeze(2).expand(-1, -1, saved, -1)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = mean of ẋ."""
        assert dx is not None
        return dx.mean(2), None


@dataclass(frozen=True)
class MeanMaxPool(PiecewiseLinear):
    """Y = mean of x over time, then its maximum; equal maxima share the gradient, as in autograd."""

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps each time's share in the maximum: an index would be ten times as slow to find."""
        top = x.amax(2, keepdim=True)
        share = torch.eq(x, top, out=torch.empty_like(x))
        share.div_(share.sum(2, keepdim=True))
        return torch.cat([x.mean(2), top.squeeze(2)], 2), share

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Half of ȳ over the length, the other half to the maximum."""
        mean, top = g.unsqueeze(2).chunk(2, 3)
        return torch.addcmul(mean / saved.shape[2], saved, top)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = mean of ẋ, and ẋ at the maximum."""
        assert dx is not None
        return torch.cat([dx.mean(2), (dx * saved).sum(2)], 2), None


@dataclass(frozen=True)
class StatisticsPool(Kernel):
    """Y = (mean and standard deviation of every channel over time, cut off at ±``limit``) ⊙ exp(a).

    Reads the batch itself, so nothing flows back.

    Args:
        log_gain: name of a, (2 · channels,).
        lead: rows of zeros in front of the values.
        length: how many values there are.
        limit: where statistics are cut off.
    """

    log_gain: str
    lead: int
    length: int
    limit: float = 5.0

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps the statistics, and them times their gains."""
        x = x[:, :, self.lead : self.lead + self.length]
        mean = x.mean(2, keepdim=True)
        sd = (x - mean).square_().sum(2).div_(self.length - 1).sqrt_()
        plain = torch.cat([mean.squeeze(2), sd], 2).clamp_(-self.limit, self.limit)
        y = plain * w[self.log_gain].exp().unsqueeze(1)
        return y, y

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Ā = Σ ȳ ⊙ y."""
        assert not inputs
        torch.sum(g * saved, 1, out=out[self.log_gain])
        return None

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = y ⊙ v."""
        dy = saved * v[self.log_gain].unsqueeze(1)
        return dy, dy

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Ā moves by Σ ẏ̄ ⊙ y + ȳ ⊙ ẏ."""
        assert not inputs
        torch.sum(torch.addcmul(dg * saved, g, moved), 1, out=out[self.log_gain])
        return None
