"""SCAFFOLD (Karimireddy et al. 2020): control variates take the drift of the local steps away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalTraining
from metapulse.methods.method import EXACTLY, Method, Server, participation
from metapulse.methods.oracles import ProximalLoss
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, scale, stack, sub, subtree, zeros_like

CONTROL = "control/"


@dataclass(frozen=True)
class Scaffold(LocalTraining):
    """Local steps y ← y − η(∇L(y) + c − c_i); reports x − y_K, and what the server's c is to gain.

    θ holds x, and c under ``control/``; the device keeps c_i. With K steps c_i⁺ = c_i − c + (x − y_K)/(Kη) (option II).
    The server's c ← c + |S|/N · mean(c_i⁺ − c_i) is an outer step of rate 1 along the mean of −``share`` (c_i⁺ − c_i):
    use it with ``fedavg``, ``weighting = "uniform"``.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalTraining.rounds_only | {"share"}
    paper: ClassVar[Paper] = Paper(
        "karimireddy2020scaffold",
        "Karimireddy et al.",
        2020,
        "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
        "1910.06378",
        "Algorithm 1, option II, equations 3 to 5",
    )
    beside: ClassVar[str] = CONTROL

    share: float = setting(1.0, "share |S|/N of all training clients that is in a round", gt=0, le=1)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """x, and c = 0."""
        x = model.init(rng)
        return x | prefixed(zeros_like(x), CONTROL)

    def initial_state(self, model: Model, meta: Params) -> Params:
        """c_i = 0."""
        return prefixed(zeros_like(subtree(meta, CONTROL)), CONTROL)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work on controlled gradients."""
        clients = len(keys.clients)
        kept = state or stack(self.initial_state(model, meta), clients)
        own = subtree(kept, CONTROL)
        tilt = sub(stack(subtree(meta, CONTROL), clients), own)  # c − c_i
        oracle = ProximalLoss(model, self.start(meta, clients), 0.0, tilt, task=model.task)
        report = super().update(oracle, meta, state, episode, keys)
        after: Params = own
        if self.inner_steps:
            after = sub(scale(report.update, 1.0 / (self.inner_steps * self.inner_lr)), tilt)
        gain = scale(sub(own, after), self.share)  # the server subtracts it
        return replace(report, update={**report.update, **prefixed(gain, CONTROL)}, state=prefixed(after, CONTROL))


METHOD = Method(
    "scaffold",
    Scaffold,
    Server("fedavg", {"weighting": "uniform"}, fixed=EXACTLY, step="x ← mean(y_K), c ← c + (|S|/N) mean(c_i⁺ − c_i)"),
    sends=(
        "x − y_K after steps y ← y − η(∇L(y) + c − c_i); −(|S|/N)(c_i⁺ − c_i) for c, which θ holds under ``control/``"
    ),
    keeps="c_i⁺ = c_i − c + (x − y_K)/(Kη)",
    computed={"share": participation},
)
