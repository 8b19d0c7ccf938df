"""Direct assertions on the mechanism: what each person counts, and how much noise there is, read off θ to the digit.

Two rounds that share their noise, one with canaries and one with their opposites: half the difference of their steps is
what canaries counted, half the sum is the noise. The outer step is plain and its rate is not one, so that noise that
comes after it is seen to be too small.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.trees import Params, flatten

PROBES, RATE = 32, 5.0
TOLERANCE = 1e-3  # of C: θ is float32
DOUBT = 5.0  # standard errors of the noise's standard deviation


@dataclass(frozen=True)
class Probe:
    """What was measured, against what is claimed.

    Args:
        clip: C.
        shares: how much of each canary counted; at most C each.
        sigma: noise over C that the accountant counts on.
        noise: noise over C that was found.
        error: standard error of it.
    """

    clip: float
    shares: list[float]
    sigma: float
    noise: float
    error: float

    @property
    def unclipped(self) -> list[int]:
        """Canaries that counted more than C."""
        return [i for i, share in enumerate(self.shares) if share > self.clip * (1.0 + TOLERANCE)]

    @property
    def quiet(self) -> bool:
        """Whether there is less noise than claimed, beyond doubt."""
        return self.noise < self.sigma - DOUBT * self.error


def probe_round(subject: AuditedRun, plan: PrivacyPlan, seed: int) -> Probe:
    """One round with canaries and one with their opposites, noise and everything else the same.

    Args:
        seed: address of the canaries and of the noise.
    """
    signs = np.ones(PROBES, np.int64)
    plus, minus = _step(subject, signs, seed), _step(subject, -signs, seed)
    scale = PROBES / RATE
    signal, noise = scale * (plus - minus) / 2.0, scale * (plus + minus) / 2.0
    canaries = subject.canaries(signs, seed)
    directions = torch.stack([canaries.direction(i, len(noise)) for i in range(PROBES)])
    shares = torch.linalg.lstsq(directions.T, signal.unsqueeze(1)).solution[:, 0]
    sd = float(noise.square().mean().sqrt()) / plan.settings.clip
    local = plan.settings.mechanism == "local"
    sigma = plan.release.sigma * math.sqrt(PROBES) if local else plan.multiplier
    return Probe(plan.settings.clip, shares.tolist(), sigma, sd, sigma / math.sqrt(2 * len(noise)))


def _step(subject: AuditedRun, signs: Any, seed: int) -> Float64[Tensor, " parameters"]:
    """θ_0 − θ_1 of one round of all people, as one vector."""
    change = {
        "run": {"rounds": 1},
        "strategy": {"outer": "sgd", "lr": RATE, "schedule": "constant", "l2": 0.0},
        "privacy": {"noise_seed": seed},
    }
    with tempfile.TemporaryDirectory() as folder:
        moved, _ = subject.again(
            subject.canaries(signs, seed), subject.people(seed, 1), PROBES, Path(folder) / "run", change
        )
    return _flat(moved)


def _flat(params: Params) -> Float64[Tensor, " parameters"]:
    return flatten({name: p.double().unsqueeze(0) for name, p in params.items()})[0]
