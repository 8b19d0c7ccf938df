"""FedReptile: Reptile's outer update θ ← θ + ε · mean(φ_i − θ), every client counting the same (Nichol et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.reptile import Reptile
from metapulse.outer import Weighting
from metapulse.schedules import Schedule
from metapulse.settings import setting
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class ReptileSettings(OuterSettings):
    """Uniform weights, ε falling linearly to zero."""

    paper: ClassVar[Paper] = Reptile.paper

    weighting: Weighting = setting("uniform", "weight of a client's update")
    lr: float = setting(1.0, "ε of the first round", gt=0)
    schedule: Schedule = setting("linear", "how ε moves over the rounds")
