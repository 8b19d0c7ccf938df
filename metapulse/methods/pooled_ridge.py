"""Ridge regression on everyone's samples (Hoerl and Kennard 1970), and a person's ridge pulled towards it.

Nobody's samples travel: a person sends XᵀX, Xᵀy, yᵀy per sample, once, and θ adds them up. The least that a learner
with a prior has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metapulse.episodes import Episode
from metapulse.gaussian_head import GaussianHead
from metapulse.losses import task_loss
from metapulse.methods.base import Paper, Report
from metapulse.methods.gaussian import PRIOR, ClosedForm, isotropic, no_update
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, subtree, without_subtree

LEAST = 1e-6  # mean square error that is told, in the target's unit squared, at least


@dataclass(frozen=True)
class PooledRidge(ClosedForm):
    """w̄ = (G + ρI)⁻¹ b, G and b the means of xxᵀ and xy; a person: argmin ‖y − Xw‖² + λ‖w − w̄‖².

    θ adds up what clients report, −(G_i, b_i, mean of y², 1), and w̄ is of the ratios: exact, weighted by samples, when
    all have reported equally often, and before that of those who have. Any constant rate gives the same.
    """

    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "hoerl1970ridge",
        "Hoerl and Kennard",
        1970,
        "Ridge Regression: Biased Estimation for Nonorthogonal Problems",
        "",
        "equation 2.1",
    )

    ridge: float = setting(1e-4, "ρ of the population's ridge, per sample", gt=0)
    pull: float = setting(10.0, "λ of a person's ridge towards the population's, in samples", gt=0)

    def own(self, width: int, outputs: int) -> dict[str, Tensor]:
        """Nothing has been counted yet."""
        shapes = {"gram": (width, width), "moment": (width, outputs), "square": (outputs,), "count": ()}
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    def prior(self, meta: Params) -> GaussianHead:
        """Around w̄, with C = I/λ, and the pooled mean square error as noise; around 0 before anything is counted."""
        sums = {name: p.double() for name, p in subtree(meta, PRIOR).items()}
        count = sums["count"].clamp(min=1e-12)
        gram, moment, square = sums["gram"] / count, sums["moment"] / count, sums["square"] / count
        mean = torch.linalg.solve(gram + self.ridge * torch.eye(len(gram)).to(gram), moment)
        error = square - (mean * (2.0 * moment - gram @ mean)).sum(0)
        return isotropic(mean, error.clamp(min=LEAST), self.pull)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """What there is to add; the loss is that of the population's head on the samples; the weight, how many."""
        samples, clients = episode.pooled, len(keys.clients)
        phi = self.start(meta, clients)
        z, y, _ = self.read(model, phi, samples)
        share = samples.weights.double().unsqueeze(2)
        counted = {
            "gram": z.transpose(1, 2) @ (z * share),
            "moment": z.transpose(1, 2) @ (y * share),
            "square": (y.square() * share).sum(1),
            "count": (samples.counts > 0).double(),
        }
        update = no_update(without_subtree(meta, PRIOR), clients)
        update |= {name: -p.to(meta[name]) for name, p in prefixed(counted, PRIOR).items()}
        loss = task_loss(model.task, self.predict(model, phi, samples.x), samples.y, samples.mask)
        return Report(update, samples.counts, state, {"loss": loss})


METHOD = Method(
    "pooled_ridge",
    PooledRidge,
    Server("fedavg", fixed=("outer", "l2", "aggregator"), step="θ adds up XᵀX, Xᵀy, yᵀy and 1, all per sample"),
    sends="−(XᵀX, Xᵀy, yᵀy, n)/n",
    adapts="argmin ‖y − Xw‖² + λ‖w − w̄‖², w̄ = (G + ρI)⁻¹ b",
    notes="Classes are fitted as ±1. The pull towards w̄ is ours, as ridge regression around a mean is the field's.",
)
