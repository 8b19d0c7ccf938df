"""IFCA (Ghosh, Chung, Yin, Ramchandran 2020): several global models; a device trains the one with the lowest loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.inner import run_inner_loop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, stack, sub, subtree, without_subtree

OTHER = "ifca/"


@dataclass(frozen=True)
class IFCA(LocalSGD):
    """Chooses argmin_j L(θ_j), trains that one; reports θ_j − φ_K for it and zero for the others.

    θ holds the first model under its own names, model j under ``ifca/j/``. The server's mean is over the whole round,
    as in the paper's gradient averaging: a model moves by its cluster's mean update times the cluster's share of it.
    """

    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "ghosh2020ifca",
        "Ghosh, Chung, Yin and Ramchandran",
        2020,
        "An Efficient Framework for Clustered Federated Learning",
        "2006.04088",
        "Algorithm 1, option I with local steps",
    )
    beside: ClassVar[str] = OTHER

    clusters: int = setting(2, "number of global models", ge=1, le=1000)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """As many draws of the model's parameters as there are clusters."""
        first, *others = [model.init(rng) for _ in range(self.clusters)]
        return first | {
            name: p for j, other in enumerate(others, 1) for name, p in prefixed(other, f"{OTHER}{j}/").items()
        }

    def begin(self, model: Model, meta: Params, state: Stacked, support: Batch) -> dict[str, Tensor]:
        """The model that suits the support set best."""
        return self.chosen(model, meta, support)[1]

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """K steps on the chosen model; the weight is the number of samples."""
        samples = episode.pooled
        choice, theta = self.chosen(model, meta, samples)
        batches = self.batches(samples, keys)
        phi, loss = run_inner_loop(model, theta, batches, self.inner_lr, self.optimizer, self.inner_steps)
        moved = sub(theta, phi)
        update: dict[str, Tensor] = {}
        for j in range(self.clusters):
            members = choice == j
            part = {name: p * members.view(-1, *(1,) * (p.dim() - 1)) for name, p in moved.items()}
            update |= part if j == 0 else prefixed(part, f"{OTHER}{j}/")
        return Report(update, samples.counts, state, {"loss": loss, "cluster": choice.to(loss)})

    def chosen(self, model: Model, meta: Params, samples: Batch) -> tuple[Int64[Tensor, " clients"], dict[str, Tensor]]:
        """Which model each client chooses by its loss on ``samples``, and that model for each."""
        clients = len(samples.mask)
        models = [without_subtree(meta, OTHER), *(subtree(meta, f"{OTHER}{j}/") for j in range(1, self.clusters))]
        with torch.no_grad():
            losses: Float[Tensor, "clusters clients"] = torch.stack(
                [model.loss(stack(own, clients), samples) for own in models]
            )
        choice = losses.argmin(0)
        return choice, {name: torch.stack([own[name] for own in models])[choice] for name in models[0]}


METHOD = Method(
    "ifca",
    IFCA,
    Server("fedavg", {"weighting": "uniform"}, fixed=("aggregator",)),
    sends="θ_j − φ_K for the model j = argmin_j L(θ_j), 0 for the others; θ holds model j under ``ifca/j/``",
    adapts="φ_{k+1} = φ_k − α ∇L_S(φ_k), from the model that suits the support best",
    notes=(
        "A model moves by its cluster's mean update times the cluster's share of the round, as in the paper's "
        "gradient averaging."
    ),
)
