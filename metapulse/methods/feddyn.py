"""FedDyn (Acar et al. 2021): a dynamic regulariser makes the clients' stationary points those of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.method import EXACTLY, Method, Server, participation
from metapulse.methods.oracles import ProximalLoss
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, add, prefixed, scale, stack, subtree, zeros_like

DUAL = "dual/"


@dataclass(frozen=True)
class FedDyn(LocalSGD):
    """Local steps on L(φ) − ⟨g_i, φ⟩ + (a/2)‖φ − θ‖²; the device keeps g_i ← g_i − a(φ_K − θ).

    With P the round's clients and N all of them, the server's h ← h − a/N · Σ_P(φ_i − θ), and θ⁺ = mean_P φ_i − h/a, h
    being the new one. Both are linear in the φ_i: clients report (1 + |P|/N)(θ − φ_i) + h/a for θ, and
    a |P|/N (φ_i − θ) for h, which θ holds under ``dual/``; use it with ``fedavg``, ``weighting = "uniform"``.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalSGD.rounds_only | {"share", "weight"}
    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "acar2021feddyn",
        "Acar et al.",
        2021,
        "Federated Learning Based on Dynamic Regularization",
        "2111.04263",
        "Algorithm 1, equation 1",
    )
    beside: ClassVar[str] = DUAL

    weight: float = setting(0.1, "weight a of the dynamic regulariser (the paper's α)", gt=0)
    share: float = setting(1.0, "share |P|/N of all training clients that is in a round", gt=0, le=1)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and h = 0."""
        own = model.init(rng)
        return own | prefixed(zeros_like(own), DUAL)

    def initial_state(self, model: Model, meta: Params) -> Params:
        """g_i = 0."""
        return prefixed(zeros_like(subtree(meta, DUAL)), DUAL)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work on the regularised objective, and the two linear terms of the server's step."""
        clients = len(keys.clients)
        g = subtree(state or stack(self.initial_state(model, meta), clients), DUAL)
        h = stack(subtree(meta, DUAL), clients)
        oracle = ProximalLoss(model, self.start(meta, clients), self.weight, scale(g, -1.0), task=model.task)
        report = super().update(oracle, meta, state, episode, keys)
        back = report.update  # θ − φ_K
        update = add(scale(back, 1.0 + self.share), h, 1.0 / self.weight)
        dual = scale(back, -self.weight * self.share)
        after = add(g, back, self.weight)
        return replace(report, update={**update, **prefixed(dual, DUAL)}, state=prefixed(after, DUAL))


METHOD = Method(
    "feddyn",
    FedDyn,
    Server("fedavg", {"weighting": "uniform"}, fixed=EXACTLY, step="h ← h − (a/N) Σ_S(φ_i − θ), θ ← mean(φ_i) − h/a"),
    sends=(
        "(1 + |S|/N)(θ − φ_K) + h/a after K steps on L(φ) − ⟨g_i, φ⟩ + (a/2)‖φ − θ‖²; a (|S|/N)(φ_K − θ) for "
        "h, which θ holds under ``dual/``"
    ),
    keeps="g_i ← g_i − a(φ_K − θ)",
    computed={"share": participation},
)
