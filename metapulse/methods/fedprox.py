"""FedProx (Li et al. 2020): local training that is held near the global model by a proximal term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from metapulse.episodes import Episode, PerClient
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.inner import run_uneven_inner_loops
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import ProximalLoss
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, sub


@dataclass(frozen=True)
class FedProx(LocalSGD):
    """Local steps on L(φ) + (μ/2)‖φ − θ‖²; reports θ − φ_K. Adapts at test time as ``fedavg_ft`` does.

    With ``epochs`` K is e ⌈n/B⌉, at most ``inner_steps``: e = ``epochs``, or for a straggler uniformly 1 … ``epochs``.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalSGD.rounds_only | {"epochs", "mu", "stragglers"}
    paper: ClassVar[Paper] = Paper(
        "li2020fedprox",
        "Li et al.",
        2020,
        "Federated Optimization in Heterogeneous Networks",
        "1812.06127",
        "Algorithm 2, equation 2",
    )

    mu: float = setting(1.0, "weight μ of the proximal term", ge=0)
    epochs: int = setting(0, "passes over a client's samples in one round (0: inner_steps minibatches)", ge=0)
    stragglers: float = setting(0.0, "chance of a client to do only some of its epochs in a round", ge=0, le=1)

    def __post_init__(self) -> None:
        if self.epochs and self.optimizer != "sgd":
            raise ConfigError("learner.optimizer", self.optimizer, "must be sgd where clients differ in their steps")
        if self.stragglers and not self.epochs:
            raise ConfigError("learner.stragglers", self.stragglers, "must be 0 without epochs to leave out")

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work on the proximal objective; the loss it reports is that of the data alone."""
        theta = self.start(meta, len(keys.clients))
        oracle = ProximalLoss(model, theta, self.mu, task=model.task) if self.mu else model
        if not self.epochs:
            return super().update(oracle, meta, state, episode, keys)
        samples = episode.pooled
        batches, tau = self.batches(samples, keys), self.work(samples.counts, keys)
        phi, loss = run_uneven_inner_loops(oracle, theta, batches, self.inner_lr, tau)
        return Report(sub(theta, phi), samples.counts, state, {"loss": loss})

    def work(self, counts: PerClient, keys: Keys) -> PerClient:
        """Steps of every client in this round.

        Args:
            counts: samples of each.
            keys: addresses; who straggles is drawn by round and client.
        """
        late, part = keys.uniforms("straggling", 2).T
        passes = np.where(late < self.stragglers, 1 + np.floor(part * self.epochs), self.epochs)
        each = (counts / self.batch_size).ceil() if self.batch_size else torch.ones_like(counts)
        return (torch.from_numpy(passes).to(counts) * each).clamp(max=self.inner_steps)


METHOD = Method(
    "fedprox",
    FedProx,
    Server("fedavg"),
    sends="θ − φ_K after K steps on L(φ) + (μ/2)‖φ − θ‖²; with ``epochs``, K = e ⌈n/B⌉",
    notes="It adapts without the proximal term.",
)
