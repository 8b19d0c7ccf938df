"""Layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, Saved
from metapulse.trees import Stacked

EPS = 1e-5  # as torch.nn.functional.layer_norm


@dataclass(frozen=True)
class LayerNorm(Kernel):
    """Y = x̂ ⊙ γ + β with x̂ = (x − mean) · r and r = 1/√(var + 1e-5), on (clients, n, width).

    With P a = a − mean(a) − x̂ mean(x̂ a), the derivative of x̂ is r P, which is its own transpose.

    Args:
        weight: name of γ, (width,).
        bias: name of β, (width,).
    """

    weight: str
    bias: str

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Keeps x̂ and r."""
        centred = x - _mean(x)
        r = torch.rsqrt(_mean(centred.square()) + EPS)
        normal = centred.mul_(r)
        return torch.addcmul(w[self.bias].unsqueeze(1), normal, w[self.weight].unsqueeze(1)), (normal, r)

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Γ̄ = Σ ȳ x̂, β̄ = Σ ȳ, x̄ = r P(ȳ γ)."""
        normal, r = saved
        torch.sum(g * normal, 1, out=out[self.weight])
        torch.sum(g, 1, out=out[self.bias])
        return _across(normal, g * w[self.weight].unsqueeze(1)).mul_(r) if inputs else None

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ẏ = r P(ẋ) γ + x̂ v_γ + v_β."""
        assert dx is not None
        normal, r = saved
        turned = _across(normal, dx).mul_(r)
        dy = torch.addcmul(v[self.bias].unsqueeze(1), normal, v[self.weight].unsqueeze(1))
        return dy.addcmul_(turned, w[self.weight].unsqueeze(1)), (turned, r * _mean(normal * dx))

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """Γ̄ moves by Σ ẏ̄ x̂ + ȳ ẋ̂; x̄ = r P(u) by r (P(u̇) − ẋ̂ mean(x̂ u) − x̂ mean(ẋ̂ u)) + (ṙ/r) x̄, ṙ/r = −r mean(x̂ ẋ)."""
        (normal, r), (turned, shrink) = saved, moved
        torch.sum(torch.addcmul(dg * normal, g, turned), 1, out=out[self.weight])
        torch.sum(dg, 1, out=out[self.bias])
        if not inputs:
            return None
        gamma = w[self.weight].unsqueeze(1)
        u = g * gamma
        du = torch.addcmul(dg * gamma, g, v[self.weight].unsqueeze(1))
        change: Tensor = _across(normal, du) - turned * _mean(normal * u) - normal * _mean(turned * u)
        change -= _across(normal, u) * shrink
        return change.mul_(r)


def _mean(a: Tensor) -> Tensor:
    return a.mean(2, keepdim=True)


def _across(normal: Tensor, a: Tensor) -> Tensor:
    """P a: what of ``a`` changes neither mean nor length."""
    return a - _mean(a) - normal * _mean(normal * a)
