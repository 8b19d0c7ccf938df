"""Quantise an update to integers that add up without overflow, and recover the sum.

A client's entries are [n_i, c_i, n_i a_i, n_i z_i, q_i]: its weight in steps of W/L, whether R was too small for its
update, the shares of its numbers that were clipped (a_i) and rounded to zero (z_i), and n_i u_i/R rounded at random, R
being the range of a number of an update, W the largest weight and L the number of levels. Their sum says
Σ w_i u_i = (R W/L) Σ q_i, Σ w_i = (W/L) Σ n_i, how many were clipped, and the mean of a and z by weight.

Source: Bonawitz, Salehi, Konečný, McMahan and Gruteser 2019, "Federated Learning with Autotuned
Communication-Efficient Secure Aggregation", arXiv:1912.00131, Section II (a sum of integers of bounded range).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from metapulse.client.privacy import Guard, shrinkage
from metapulse.discrete import Below, discrete_gaussian
from metapulse.errors import ClientError, ConfigError, ReplyError
from metapulse.methods.base import Report
from metapulse.outer import Weighting
from metapulse.rng import generator, uniforms
from metapulse.settings import setting
from metapulse.trees import Params, Stacked

STAGES = SET_UP, SHARE_KEYS, MASKED_VECTORS, UNMASK = "set-up", "share keys", "masked vectors", "unmask"
ENTRIES = "entries"
HEAD = 4  # entries before those of the update
CLIPPED, ZEROED = "clipped-numbers", "zeroed-numbers"  # of a round: shares of all numbers of the updates
COARSEST = 4.0  # noise of one device, in steps, below which a sum of discrete Gaussians is not yet one
TAIL = 10.0  # standard deviations of noise that a sum has room for


@dataclass(frozen=True)
class SumTerms:
    """Parameters of a masked sum, shared by all parties of a round; travels as JSON."""

    seed: int = setting(0, "addresses rounding and drawn drop-outs", ge=0)
    round: int = setting(1, "federated round", ge=1)
    weighting: Weighting = setting("uniform", "of updates")
    range: float = setting(8.0, "R, numbers of an update are clipped to [−R, R]", gt=0)
    max_weight: float = setting(1.0, "W, weights are clipped to it; 1 where they are uniform", gt=0)
    bits: Literal[16, 32] = setting(32, "numbers are sent modulo 2^bits")
    levels: int = setting(1, "L, largest whole number of a client", ge=1)
    threshold: int = setting(2, "t, shares that open a secret", ge=2)
    dropout: tuple[float, ...] = setting((0.0, 0.0, 0.0, 0.0), "chance of a client's loss at each stage", ge=0, le=1)
    attempt: int = setting(1, "how often this round has begun: each is a session of its own", ge=1)
    noisy: bool = setting(False, "whether devices add fresh noise of their own")

    @property
    def step(self) -> float:
        """R/L, what one whole number stands for in an update of full weight."""
        return self.range / self.levels


def levels(clients: int, bits: int, noise: float = 0.0) -> int:
    """L = ⌊(2^(bits−1) − 1) / (n + 10 √n s/R)⌋: the most that n clients can count to without overflow of their sum.

    Args:
        clients: n, those who are asked.
        bits: of the modulus.
        noise: s/R, standard deviation of what each client adds, over the range of a number.

    Raises:
        ConfigError: there is no room for so many.
    """
    found: int = (2 ** (bits - 1) - 1) // math.ceil(clients + TAIL * math.sqrt(clients) * noise)
    if not found:
        raise ConfigError("secure_aggregation.bits", bits, f"has no room for the sum of {clients} clients")
    return found


def session_purpose(purpose: str, attempt: int) -> str:
    """The address of what each session of a round draws for itself."""
    return purpose if attempt == 1 else f"{purpose}/{attempt}"


def dropout_stages(terms: SumTerms, clients: Sequence[int]) -> Int64[np.ndarray, " clients"]:
    """The stage at which each client is lost, by address; 4: at none."""
    drawn = uniforms(terms.seed, "secure/dropout", terms.round, clients, len(STAGES)) < np.array(terms.dropout)
    return np.where(drawn.any(1), drawn.argmax(1), len(STAGES))


def refusal(terms: SumTerms, client: int, reason: str = "lost") -> ClientError:
    """Why a client gives no answer, in the same words whether it masks or is simulated without masks."""
    return ClientError(terms.round, client, "secure aggregation", reason)


def quantise(
    report: Report, terms: SumTerms, clients: Sequence[int], guard: Guard | None = None
) -> Int64[np.ndarray, "clients entries"]:
    """The whole numbers that each client of a stack adds to the sum; |entry| ≤ L, but for noise.

    q = ⌊n clip(u/R, ±1) + v⌋ with v uniform in [0, 1) by address, so that E q = n clip(u/R, ±1). With a guard u
    is first clipped to C − √d R/L, so that rounding makes no update longer than C, and whole noise of the guard's size
    is added at the end, where nothing clips or rounds it any more.

    Args:
        report: updates and weights of the stack, finite.
        clients: partition ids.
        guard: clipping and noise of distributed differential privacy.

    Raises:
        ConfigError: as ``room``.
        ReplyError: the terms promise noise that the guard does not have.

    Source:
        Kairouz, Liu and Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
        Aggregation", arXiv:2102.06387, Algorithm 1 (with its rounding bounded in the worst case).
    """
    if terms.noisy and not (guard and guard.fresh):
        raise ReplyError("the terms say that devices add fresh noise, the instruction does not")
    weight = torch.ones_like(report.weight) if terms.weighting == "uniform" else report.weight
    steps = (weight.double().clamp(max=terms.max_weight) * (terms.levels / terms.max_weight)).round().clamp(min=1)
    u = torch.cat([p.reshape(len(p), -1).double() for p in report.update.values()], 1)
    if guard:
        u = u * shrinkage(torch.linalg.vector_norm(u, dim=1), room(guard, terms, u.shape[1]))[:, None]
    v = uniforms(terms.seed, session_purpose("secure/rounding", terms.attempt), terms.round, clients, u.shape[1])
    q = torch.floor((u / terms.range).clamp(-1, 1) * steps[:, None] + torch.from_numpy(v))
    told = guard is None  # under a guard that is private
    clipped, zeroed = (u.abs() > terms.range) & told, (q == 0) & (u != 0) & told
    head = [
        steps,
        clipped.any(1).double(),
        (clipped.double().mean(1) * steps).round(),
        (zeroed.double().mean(1) * steps).round(),
    ]
    entries: Int64[np.ndarray, "clients entries"] = torch.cat([torch.stack(head, 1), q], 1).numpy().astype(np.int64)
    if guard:
        entries[:, HEAD:] += np.stack([_noise(guard, terms, client, u.shape[1]) for client in clients])
    return entries


def room(guard: Guard, terms: SumTerms, parameters: int) -> float:
    """C − √d R/L: the norm that an update may have for rounding to make it no longer than C.

    Args:
        guard: C, and the noise of one device.
        terms: R and L.
        parameters: d.

    Raises:
        ConfigError: nothing is left of C, or the noise is too small for a sum of discrete Gaussians to be one.
    """
    left = guard.clip - math.sqrt(parameters) * terms.step
    if left <= 0 or guard.noise < COARSEST * terms.step:
        what = f"steps of {terms.step:.2g} are too coarse for a clip of {guard.clip:.2g} with noise {guard.noise:.2g}"
        raise ConfigError("secure_aggregation.bits", terms.bits, what)
    return left


def _noise(guard: Guard, terms: SumTerms, client: int, count: int) -> Int64[np.ndarray, " count"]:
    """A device's part of the noise, in steps, its size rounded up."""
    below: Below = secrets.randbelow
    if guard.seed >= 0:
        below = Random(int(generator(guard.seed, "privacy/device", terms.round, client).integers(2**63))).randrange
    return discrete_gaussian(Fraction(math.ceil(guard.noise / terms.step)) ** 2, count, below)


def wrap(entries: Int64[np.ndarray, "..."], bits: int) -> Shaped[np.ndarray, "..."]:
    """Modulo 2^bits, as unsigned numbers of that size."""
    return entries.astype(np.uint16 if bits == 16 else np.uint32)


def unwrap(residues: Shaped[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
    """The whole number nearest to zero of each residue."""
    return residues.view(residues.dtype.str.replace("u", "i")).astype(np.int64)


def weighted_total(entries: Int64[np.ndarray, " entries"], terms: SumTerms, theta: Params) -> tuple[Stacked, float]:
    """(R W/L) Σ q_i in the shape of θ, float64, and (W/L) Σ n_i.

    |error of the mean| < m R / Σ n_i for m clients, with standard deviation ≤ √m R / (2 Σ n_i).

    Args:
        entries: Σ of the clients' entries.
    """
    unit = terms.max_weight / terms.levels
    q: Float64[Tensor, " parameters"] = torch.from_numpy(entries[HEAD:].astype(np.float64)) * (terms.range * unit)
    parts = q.split_with_sizes([p.numel() for p in theta.values()])
    total = {name: part.view(p.shape) for (name, p), part in zip(theta.items(), parts, strict=True)}
    return total, unit * int(entries[0])
