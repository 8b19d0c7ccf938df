"""FedReptile: Reptile's outer update θ ← θ + ε · mean(φ_i − θ), every client counting the same (Nichol et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from metapulse.methods.base import Paper
from metapulse.methods.reptile import Reptile
from metapulse.settings import setting
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class ReptileSettings(OuterSettings):
    """Uniform weights, ε falling linearly to zero."""

    paper: ClassVar[Paper] = Reptile.paper

    weighting: Literal["samples", "uniform"] = setting(
        "uniform", "weight of a client's update", choices=("samples", "uniform")
    )
    lr: float = setting(1.0, "ε of the first round", gt=0)
    schedule: Literal["constant", "linear", "cosine"] = setting(
        "linear", "how ε moves over the rounds", choices=("constant", "linear", "cosine")
    )
