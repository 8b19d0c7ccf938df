"""What differential privacy does to one person's update: clip the whole of it, add noise to all of it.

Sums and noise are whole multiples of a step g, a power of two. Let u be an update, V the whole numbers nearest to
u min(1, C'/‖u‖) / g, Z the whole numbers nearest to normal ones of deviation s/g. Then

- ‖g V‖ ≤ C' + g √d / 2 ≤ C for the C' of ``shrunk``, errors of float64 included: one person moves Σ V by C/g, exactly;
- Σ V, Z and their sum are whole numbers below 2⁵³, which float64 adds without error, in any order;
- Σ V + Z is Σ V + N(0, (s/g)² I), rounded to whole numbers: rounding commutes with adding a whole number. So what is
  released is the continuous Gaussian mechanism, post-processed, and costs what that costs;
- which numbers can come out, and how finely, does not depend on data, so low bits tell nothing (Mironov 2012, "On
  Significance of the Least Significant Bits for Differential Privacy"; Haney et al. 2022, arXiv:2207.13793).

What is assumed: a normal number in float64 falls into a cell of width g as often as a real one does. Cells hold 2²⁴ or
more of the numbers that the generator can give, up to some deviations.

Pure functions over stacks. Under distributed noise and local privacy a device applies them to its own update before it
leaves (``protect``); under central privacy the server clips with the same function and adds the noise to the sum.

Source: McMahan, Ramage, Talwar and Zhang 2018, "Learning Differentially Private Recurrent Language Models",
arXiv:1710.06963, Algorithm 1.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from flwr.app import ConfigRecord
from jaxtyping import Float64
from torch import Tensor

from metapulse.client.wire import GUARD, read_text
from metapulse.methods.base import Report
from metapulse.rng import generator
from metapulse.settings import build, setting
from metapulse.trees import Params, Stacked, flatten, unflatten

CELLS = 24  # C is about 2²⁴ steps
DIGITS = 24  # of float32, in which updates travel
CACHED = 2**17  # numbers of 8 bytes: a megabyte


@dataclass(frozen=True)
class Guard:
    """How a device clips and noises its update before it leaves; travels as JSON in the instruction."""

    clip: float = setting(1.0, "C, the longest update that leaves, Euclidean norm", gt=0)
    noise: float = setting(0.0, "standard deviation of what is added to every number", ge=0)
    seed: int = setting(-1, "address of the noise, for tests (-1: the operating system's randomness)", ge=-1)

    @property
    def fresh(self) -> bool:
        """Whether there is noise that cannot be drawn again."""
        return self.noise > 0 and self.seed < 0


def read_guard(config: ConfigRecord) -> Guard | None:
    """The guard that an instruction asks for; None: updates leave as they are."""
    return build(Guard, json.loads(read_text(config, GUARD)), GUARD) if GUARD in config else None


def lengths(update: Stacked) -> Float64[Tensor, " clients"]:
    """Euclidean norm of every client's whole update, in float64.

    No finite float32 overflows there. In float32 the norm of 4 · 10⁷ equal numbers comes out 0.29 % too small.

    Args:
        update: (clients, *shape) per name of θ.
    """
    wide = [torch.linalg.vector_norm(u.reshape(len(u), -1), dim=1, dtype=torch.float64) for u in update.values()]
    total: Tensor = torch.linalg.vector_norm(torch.stack(wide), dim=0)
    return total


def shrinkage(norms: Float64[Tensor, " clients"], clip: float) -> Float64[Tensor, " clients"]:
    """min(1, C/‖u_i‖): what each update is multiplied by, so that none is longer than C; 1 for a zero update.

    Args:
        norms: ‖u_i‖ ≥ 0.
        clip: C > 0.

    Source:
        Abadi et al. 2016, "Deep Learning with Differential Privacy", arXiv:1607.00133, Algorithm 1.
    """
    return clip / norms.clamp_min(clip)


def step_of(clip: float, noise: float = 0.0, digits: int = 53) -> float:
    """g, a power of two: C/g is from 2²³ to 2²⁴, and less where (C + 12 s)/g would not be a number of so many digits.

    Args:
        clip: C > 0.
        noise: s ≥ 0, of what is added to it.
        digits: binary digits of what carries the sum.
    """
    return 2.0 ** max(math.frexp(clip)[1] - CELLS, math.frexp(clip + 12.0 * noise)[1] - digits)


def shrunk(clip: float, parameters: int, step: float) -> float:
    """C' = (C − g √d / 2) (1 − (d + 16) 2⁻⁵²): updates of this length are no longer than C once rounded to steps.

    Half a step is the most that a coordinate moves by; a sum of d squares in float64 errs by less than (d + 8) 2⁻⁵² of
    it, and scaling by a few 2⁻⁵³.

    Args:
        clip: C > 0.
        parameters: d, numbers of an update.
        step: g > 0.
    """
    return max(clip - 0.5 * step * math.sqrt(parameters), 0.0) * (1.0 - (parameters + 16) * 2.0**-52)


def whole(
    wide: Float64[Tensor, "clients numbers"], norms: Float64[Tensor, " clients"], clip: float, step: float
) -> Float64[Tensor, "clients numbers"]:
    """V: every row made no longer than C, in whole steps; in place.

    Args:
        wide: updates, see ``flatten``.
        norms: their lengths.
        clip: C > 0.
        step: g > 0.
    """
    reach = shrunk(clip, wide.shape[1], step)
    shares = shrinkage(norms, reach) / step if reach else torch.zeros_like(norms)
    return wide.mul_(shares[:, None]).round_()


def clipped_sum(update: Stacked, clip: float) -> tuple[dict[str, Tensor], Float64[Tensor, " clients"]]:
    """g Σ_i V_i, without error and whatever the order, and how long the updates were.

    Some clients at a time, so that what is done to their numbers is done in the cache.

    Args:
        update: (clients, *shape) per name of θ.
        clip: C > 0.
    """
    shapes = {name: u.shape[1:] for name, u in update.items()}
    clients, numbers = len(next(iter(update.values()))), sum(shape.numel() for shape in shapes.values())
    step, some = step_of(clip), max(1, CACHED // numbers)
    total, norms = torch.zeros(numbers, dtype=torch.float64), torch.empty(clients, dtype=torch.float64)
    for first in range(0, clients, some):
        wide = flatten({name: u[first : first + some] for name, u in update.items()}, torch.float64)
        norms[first : first + some] = torch.linalg.vector_norm(wide, dim=1)
        total += whole(wide, norms[first : first + some], clip, step).sum(0)
    return unflatten(total * step, shapes), norms


def secret() -> int:
    """256 bits of the operating system's randomness, to address noise that cannot be drawn again."""
    return secrets.randbits(256)


def normal(like: Params, deviation: float, rng: np.random.Generator, step: float) -> dict[str, Tensor]:
    """g Z: N(0, s² I) in the shape of θ, rounded to multiples of g, float64, drawn in the tree's order.

    Args:
        like: θ.
        deviation: s ≥ 0.
        step: g > 0.
    """
    draws = {name: torch.from_numpy(rng.standard_normal(p.numel())) for name, p in like.items()}
    return {name: (draws[name].view(p.shape) * (deviation / step)).round_() * step for name, p in like.items()}


def silenced(report: Report) -> Report:
    """Updates that are no numbers as zeros, with a weight of one: under noise, whether one is must not show.

    Args:
        report: of a stack; an update (clients, *shape) counts as none where any of its numbers, or its weight, is not
            finite, or the weight is not above zero.
    """
    bad = ~torch.stack([torch.isfinite(u.reshape(len(u), -1)).all(1) for u in report.update.values()]).all(0)
    bad |= ~(torch.isfinite(report.weight) & (report.weight > 0))
    update = {name: u.masked_fill(bad.view(-1, *(1,) * (u.dim() - 1)), 0.0) for name, u in report.update.items()}
    return replace(report, update=update, weight=report.weight.masked_fill(bad, 1.0))


def protect(report: Report, guard: Guard, theta: Params, round: int, clients: Sequence[int]) -> Report:
    """g (V_i + Z_i) for each client of a stack; weights become 1, and no metric leaves.

    g is such that float32 carries it without error. An update that is no number counts as zero: whether one is
    must not show.

    Args:
        guard: C, s and the address of the noise.
        theta: θ, whose order the noise is drawn in.
        round: federated round, part of the address.
        clients: partition ids.
    """
    step, wide = (
        step_of(guard.clip, guard.noise, DIGITS),
        flatten({name: report.update[name] for name in theta}, torch.float64),
    )
    norms = torch.linalg.vector_norm(wide, dim=1)
    lost = ~torch.isfinite(norms)
    wide[lost], norms[lost] = 0.0, 0.0
    clipped = unflatten(whole(wide, norms, guard.clip, step) * step, {name: p.shape for name, p in theta.items()})
    seeds = [secret() if guard.seed < 0 else guard.seed for _ in clients]
    draws = [generator(seed, "privacy/device", round, c) for seed, c in zip(seeds, clients, strict=True)]
    noise = [normal(theta, guard.noise, rng, step) for rng in draws]
    update = {
        name: (clipped[name] + torch.stack([one[name] for one in noise])).to(p.dtype) for name, p in theta.items()
    }
    return Report(update, torch.ones_like(report.weight), report.state, {})
