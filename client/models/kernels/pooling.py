"""From activations over time, (clients, samples, time, channels), to one row a sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.models.kernels.base import Kernel, Out, Saved
from client.trees import Stacked


@dataclass(frozen=True)
class Mean(Kernel):
    """Y = mean of x over time."""

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps how long it was."""
        return x.mean(2), x.shape[2]

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """ȳ over the length, the same at all times: no memory of its own."""
        return (g / saved).unsqueeze(2).expand(-1, -1, saved, -1)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = mean of ẋ."""
        assert dx is not None
        return dx.mean(2), None

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Linear: as backward."""
        return self.backward(w, saved, dg, out, inputs)
