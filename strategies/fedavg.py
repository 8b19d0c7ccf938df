"""FedAvg (McMahan et al. 2017): θ ← Σ n_i φ_i / Σ n_i, that is an outer step of rate 1 along the weighted mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.fedavg import FedAvg
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class FedAvgSettings(OuterSettings):
    """Weighted by samples, outer SGD of rate 1. With another outer optimiser it is FedOpt (Reddi et al. 2021)."""

    paper: ClassVar[Paper] = FedAvg.paper
