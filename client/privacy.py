"""What differential privacy does to one person's update: clip the whole of it, add noise to all of it.

Pure functions over stacks. Under distributed noise and local privacy a device applies them to its own update before it
leaves (``protect``); under central privacy the server clips with the same function and adds the noise to the sum.

Source: McMahan, Ramage, Talwar and Zhang 2018, "Learning Differentially Private Recurrent Language Models",
arXiv:1710.06963, Algorithm 1.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import ConfigRecord
from jaxtyping import Float64
from torch import Tensor

from client.learners.base import Report
from client.rng import generator
from client.settings import build, setting
from client.trees import Params, Stacked, per_client
from client.wire import GUARD, read_text


@dataclass(frozen=True)
class Guard:
    """What a device does to its update before it leaves; travels as JSON in the instruction."""

    clip: float = setting(1.0, "C, the longest update that leaves, Euclidean norm", gt=0)
    noise: float = setting(0.0, "standard deviation of what is added to every number", ge=0)
    seed: int = setting(-1, "address of the noise, for tests (-1: the operating system's randomness)", ge=-1)

    @property
    def fresh(self) -> bool:
        """Whether there is noise that nobody can draw again."""
        return self.noise > 0 and self.seed < 0


def read_guard(config: ConfigRecord) -> Guard | None:
    """The guard that an instruction asks for; None: updates leave as they are."""
    return build(Guard, json.loads(read_text(config, GUARD)), GUARD) if GUARD in config else None


def lengths(update: Stacked) -> Float64[Tensor, " clients"]:
    """Euclidean norm of every client's whole update, tensor by tensor in the update's own precision.

    Where that overflows, everything is done in float64, in which no finite float32 does.

    Args:
        update: (clients, *shape) per name of θ.
    """
    rows = [u.reshape(len(u), -1) for u in update.values()]
    total: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(r, dim=1) for r in rows]).double(), dim=0
    )
    if not bool(torch.isfinite(total).all()):
        wide = [torch.linalg.vector_norm(r, dim=1, dtype=torch.float64) for r in rows]
        total = torch.linalg.vector_norm(torch.stack(wide), dim=0)
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


def secret() -> int:
    """256 bits of the operating system's randomness, to address noise that nobody can draw again."""
    return secrets.randbits(256)


def normal(like: Params, deviation: float, rng: np.random.Generator) -> dict[str, Tensor]:
    """N(0, s² I) in the shape of θ, float64, drawn in the tree's order.

    Args:
        like: θ.
        deviation: s ≥ 0.
        rng: of the noise.
    """
    draws = {name: torch.from_numpy(rng.standard_normal(p.numel())) for name, p in like.items()}
    return {name: deviation * draws[name].view(p.shape) for name, p in like.items()}


def protect(report: Report, guard: Guard, theta: Params, round: int, clients: Sequence[int]) -> Report:
    """u_i min(1, C/‖u_i‖) + N(0, s² I) for each client of a stack; weights become 1, and no metric leaves.

    Args:
        report: of the stack.
        guard: C, s and the address of the noise.
        theta: θ, whose order the noise is drawn in.
        round: federated round, part of the address.
        clients: partition ids.
    """
    clipped = per_client(report.update, shrinkage(lengths(report.update), guard.clip))
    seeds = [secret() if guard.seed < 0 else guard.seed for _ in clients]
    draws = [generator(seed, "privacy/device", round, c) for seed, c in zip(seeds, clients, strict=True)]
    noise = [normal(theta, guard.noise, rng) for rng in draws]
    update = {
        name: (clipped[name] + torch.stack([one[name] for one in noise])).to(p.dtype) for name, p in theta.items()
    }
    return Report(update, torch.ones_like(report.weight), report.state, {})
