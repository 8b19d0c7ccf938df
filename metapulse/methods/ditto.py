"""Ditto (Li, Hu, Beirami, Smith 2021): a global model by FedAvg, and beside it a personal one that is drawn to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.inner import run_inner_loop
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import ProximalLoss
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class Ditto(LocalSGD):
    """The device keeps v, which descends L(v) + (λ/2)‖v − θ‖² from where it was; θ is trained as by FedAvg.

    v begins at the θ of the device's first round; who never trained begins at θ, and takes the same steps on support.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalSGD.rounds_only | {"personal_steps"}
    paper: ClassVar[Paper] = Paper(
        "li2021ditto",
        "Li, Hu, Beirami and Smith",
        2021,
        "Ditto: Fair and Robust Federated Learning Through Personalization",
        "2012.04221",
        "Algorithm 1",
    )

    lam: float = setting(1.0, "pull λ of the global model on the personal one", ge=0)
    personal_steps: int = setting(5, "gradient steps of the personal model in one round", ge=0)

    def initial_state(self, model: Model, meta: Params) -> Params:
        """v = θ."""
        return meta

    def begin(self, model: Model, meta: Params, state: Stacked, support: Batch) -> Stacked:
        """The device's own v, or θ."""
        return state or self.start(meta, len(support.mask))

    def objective(self, model: Model, meta: Params, clients: int) -> ProximalLoss:
        """L(v) + (λ/2)‖v − θ‖²."""
        return ProximalLoss(model, self.start(meta, clients), self.lam, task=model.task)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work, and the personal model's steps against the θ that arrived."""
        samples = episode.pooled
        oracle, begun = self.objective(model, meta, len(keys.clients)), self.begin(model, meta, state, samples)
        batches = self.batches(samples, keys, "personal")
        v, loss = run_inner_loop(oracle, begun, batches, self.inner_lr, self.optimizer, self.personal_steps)
        report = super().update(model, meta, state, episode, keys)
        return replace(report, state=v, metrics={**report.metrics, "personal_loss": loss})


METHOD = Method(
    "ditto",
    Ditto,
    Server("fedavg"),
    sends="θ − φ_K after K steps of SGD or Adam on all samples",
    adapts="v ← v − α(∇L_S(v) + λ(v − θ)), from the device's own v, or from θ",
    keeps="v, which has taken such steps on all samples",
)
