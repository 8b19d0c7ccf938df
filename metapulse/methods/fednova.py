"""FedNova (Wang, Liu, Liang, Joshi, Poor 2020): updates are normalised by the number of local steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from metapulse.episodes import Episode, PerClient
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalTraining
from metapulse.methods.inner import run_uneven_inner_loops
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, per_client, sub

MOST_STEPS = 1e6  # that a client may claim


@dataclass(frozen=True)
class FedNova(LocalTraining):
    """Local SGD over ``epochs`` of a client's own samples, τ steps; reports (θ − φ_τ)/τ and, among its numbers, τ.

    τ = ⌈epochs · max(n/B, 1)⌉ in minibatches of B (⌈epochs⌉ on whole batches), at most ``inner_steps``. Its strategy is
    ``fednova``, which multiplies the mean update by the mean τ; without local momentum, so that ‖a‖₁ = τ.
    """

    rounds_only: ClassVar[frozenset[str]] = LocalTraining.rounds_only | {"epochs"}
    paper: ClassVar[Paper] = Paper(
        "wang2020fednova",
        "Wang, Liu, Liang, Joshi and Poor",
        2020,
        "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
        "2007.07481",
        "equations 6 and 7",
    )

    per_step: ClassVar[bool] = True

    inner_steps: int = setting(100, "gradient steps of one client in one round at most", ge=0)
    epochs: float = setting(1.0, "passes over a client's samples in one round", gt=0)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """τ steps of each client; the weight is the number of samples."""
        samples = episode.pooled
        share = samples.counts / self.batch_size if self.batch_size else torch.ones_like(samples.counts)
        tau = (self.epochs * share.clamp(min=1.0)).ceil().clamp(max=self.inner_steps)
        theta = self.start(meta, len(keys.clients))
        phi, loss = run_uneven_inner_loops(model, theta, self.batches(samples, keys), self.inner_lr, tau)
        update = per_client(sub(theta, phi), 1.0 / tau.clamp(min=1.0))
        return Report(update, samples.counts, state, {"loss": loss, "steps": tau})


def effective_steps(steps: PerClient, weight: PerClient) -> float:
    """τ_eff = Σ_i p_i τ_i: by how much the mean update per step is stretched (equation 7 with ‖a_i‖₁ = τ_i).

    Args:
        steps: τ_i, as clients report them; what is no number counts as one step, and at most ``MOST_STEPS`` count.
        weight: w_i > 0, of which p_i = w_i / Σ w_i.
    """
    taken, wide = steps.nan_to_num(nan=1.0).clamp(0.0, MOST_STEPS).double(), weight.double()
    return float((taken * wide).sum() / wide.sum())


METHOD = Method(
    "fednova",
    FedNova,
    Server("fednova", fixed=("name",), step="θ ← θ − τ_eff Σ p_i u_i, τ_eff = Σ p_i τ_i"),
    sends="(θ − φ_τ)/τ after τ = ⌈epochs · max(n/B, 1)⌉ steps, and τ beside it",
)
