"""A head that learns for ever: the Gaussian belief of gaussian_head.py as sums, in the prior's own coordinates.

With C₀ = LLᵀ and K = K₀ + LV the prior of V is N(0, s²I), whatever its covariance was, and what has been seen is
Λ = I + Σ w zzᵀ and G = Σ w z (y − K₀ᵀx)ᵀ with z = Lᵀx (the information form of recursive least squares). A step only
adds, and forgetting is a weighted mean of two sums, so Λ stays symmetric, its eigenvalues never fall below 1, and
rounding does not build up where something is forgotten: it is forgotten with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.gaussian_head import GaussianHead

NOTHING = 1e-12  # a direction in which the prior varies less than this, relative to the widest, is known


@dataclass(frozen=True)
class Coordinates:
    """Of a prior N(K₀, s²LLᵀ) over the heads of a stack of clients.

    Args:
        prior: that it is of.
        root: L, (clients, width, rank).
        back: L⁺, its pseudo-inverse, (clients, rank, width).
    """

    prior: GaussianHead
    root: Float[Tensor, "clients width rank"]
    back: Float[Tensor, "clients rank width"]


@dataclass(frozen=True)
class OnlineHead:
    """What a stack of clients has seen.

    Args:
        precision: Λ.
        moment: G.
    """

    precision: Float[Tensor, "clients rank rank"]
    moment: Float[Tensor, "clients rank outputs"]


def coordinates(prior: GaussianHead) -> Coordinates:
    """Of a prior; its covariance may be singular. All clients get as many as the one that needs most."""
    values, vectors = torch.linalg.eigh(prior.covariance)
    wide = values > NOTHING * values[:, -1:].clamp(min=torch.finfo(values.dtype).tiny)
    keep = wide.any(0)
    scale = torch.where(wide, values, values.new_zeros(())).sqrt()[:, None, keep]
    root = vectors[:, :, keep] * scale
    inverse = torch.where(scale > 0, 1.0 / scale, scale)
    return Coordinates(prior, root, (vectors[:, :, keep] * inverse).transpose(1, 2))


def unseen(at: Coordinates) -> OnlineHead:
    """Before the first sample: the prior itself."""
    clients, _, rank = at.root.shape
    eye = torch.eye(rank).to(at.root).expand(clients, rank, rank)
    return OnlineHead(eye, at.root.new_zeros(clients, rank, at.prior.mean.shape[2]))


def of_belief(at: Coordinates, belief: GaussianHead) -> OnlineHead:
    """What was seen on the way from the prior to a belief."""
    precision = torch.linalg.inv(at.back @ belief.covariance @ at.back.transpose(1, 2))
    precision = 0.5 * (precision + precision.transpose(1, 2))
    return OnlineHead(precision, precision @ (at.back @ (belief.mean - at.prior.mean)))


def as_belief(at: Coordinates, head: OnlineHead) -> GaussianHead:
    """The belief: K₀ + LΛ⁻¹G and LΛ⁻¹Lᵀ."""
    factor = torch.linalg.cholesky(head.precision)
    half = torch.linalg.solve_triangular(factor, at.root.transpose(1, 2), upper=False)
    mean = at.prior.mean + at.root @ torch.cholesky_solve(head.moment, factor)
    return GaussianHead(mean, half.transpose(1, 2) @ half, at.prior.noise)


def absorb(
    at: Coordinates,
    head: OnlineHead,
    x: Float[Tensor, "clients width"],
    y: Float[Tensor, "clients outputs"],
    weight: float = 1.0,
) -> OnlineHead:
    """One more sample of each client: Λ' = Λ + w zzᵀ, G' = G + w z (y − K₀ᵀx)ᵀ; ``observe`` in these coordinates.

    Args:
        at: of the prior.
        head: before.
        x: features.
        y: target.
        weight: w ≥ 0, what the sample counts for.
    """
    row = x.unsqueeze(1)
    z = weight**0.5 * (row @ at.root)  # (clients, 1, rank); the root, so that zᵀz is symmetric to the bit
    surprise = weight**0.5 * (y.unsqueeze(1) - row @ at.prior.mean)
    return OnlineHead(head.precision + z.transpose(1, 2) * z, head.moment + z.transpose(1, 2) * surprise)


def loosen(head: OnlineHead, kept: float) -> OnlineHead:
    """Λ' = λΛ + (1 − λ)I and G' = λG: stabilised forgetting (Kulhavý and Zarrop 1993), ``forget`` in these coordinates.

    Args:
        head: before.
        kept: λ, in [0, 1].
    """
    eye = torch.eye(head.precision.shape[1]).to(head.precision)
    return OnlineHead(kept * head.precision + (1.0 - kept) * eye, kept * head.moment)


def ask(
    at: Coordinates, head: OnlineHead, x: Float[Tensor, "clients width"]
) -> tuple[Float[Tensor, "clients outputs"], Float[Tensor, "clients outputs"]]:
    """Mean and variance of the target of one sample of each client, its noise included; ``predictive`` in these."""
    row = x.unsqueeze(1)
    z = (row @ at.root).transpose(1, 2)  # (clients, rank, 1)
    solved = torch.cholesky_solve(z, torch.linalg.cholesky(head.precision))
    mean = (row @ at.prior.mean).squeeze(1) + (solved * head.moment).sum(1)
    return mean, (1.0 + (z * solved).sum(1)) * at.prior.noise
