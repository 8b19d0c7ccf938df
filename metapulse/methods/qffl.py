"""q-FFL (Li, Sanjabi, Beirami, Smith 2020): clients with a larger loss count more, by its power q."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.method import EXACTLY, Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, norms, per_client

FLOOR = 1e-10  # losses below it count as it: their power may be asked for


@dataclass(frozen=True)
class QFFL(LocalSGD):
    """q-FedAvg: with d_i = θ − φ_K, F_i = L_i(θ) and ℓ = 1/α, θ⁺ = θ − Σ F_i^q ℓ d_i / Σ h_i.

    h_i = q F_i^(q−1) ‖ℓ d_i‖² + ℓ F_i^q. That is a mean of F_i^q d_i / w_i with weights w_i = h_i/ℓ, so these are what
    a client reports: the weight is no number of samples here. Use it with ``fedavg``, ``weighting = "samples"``.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalSGD.rounds_only | {"q"}
    paper: ClassVar[Paper] = Paper(
        "li2020qffl",
        "Li, Sanjabi, Beirami and Smith",
        2020,
        "Fair Resource Allocation in Federated Learning",
        "1905.10497",
        "Algorithm 2",
    )

    q: float = setting(1.0, "fairness q (0: FedAvg, every client counting the same)", ge=0)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work, weighted by the loss at the θ that arrived."""
        with torch.no_grad():
            loss = model.loss(self.start(meta, len(keys.clients)), episode.pooled).clamp(min=FLOOR)
        report = super().update(model, meta, state, episode, keys)
        power = loss**self.q
        weight = power + self.q * loss ** (self.q - 1.0) * norms(report.update) ** 2 / self.inner_lr
        return replace(report, update=per_client(report.update, power / weight), weight=weight)


METHOD = Method(
    "qffl",
    QFFL,
    Server("fedavg", fixed=EXACTLY, step="θ ← θ − Σ F_i^q d_i / Σ w_i"),
    sends="F^q d/w with d = θ − φ_K, F = L(θ), and for its weight w = F^q + q F^(q−1) ‖d‖²/α",
)
