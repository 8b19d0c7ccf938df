"""FedProx (Li et al. 2020): local training that is held near the global model by a proximal term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client.episodes import Episode
from client.learners.base import Paper, Report
from client.learners.fedavg import LocalSGD
from client.learners.oracles import Tilted
from client.models.base import Model
from client.rng import Keys
from client.settings import setting
from client.trees import Params, Stacked


@dataclass(frozen=True)
class FedProx(LocalSGD):
    """Local steps on L(φ) + (μ/2)‖φ − θ‖²; reports θ − φ_K. Adapts at test time as ``fedavg_ft`` does."""

    paper: ClassVar[Paper] = Paper(
        "li2020fedprox",
        "Li et al.",
        2020,
        "Federated Optimization in Heterogeneous Networks",
        "1812.06127",
        "Algorithm 2, equation 2",
    )

    mu: float = setting(1.0, "weight μ of the proximal term", ge=0)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work on the proximal objective; the loss it reports is that of the data alone."""
        theta = self.start(meta, len(keys.clients))
        return super().update(Tilted(model, theta, self.mu, task=model.task), meta, state, episode, keys)
