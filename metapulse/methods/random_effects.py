"""Random effects (Laird and Ware 1982): the prior over people's heads by EM, whose M-step is a mean over people.

A round is an iteration of EM: every device computes what to expect of its person's head, and θ is the mean of that.
With all people in every round it is EM itself; with some, and a rate below 1, its online form (Cappé and Moulines 2009,
arXiv:0712.4273).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metapulse.empirical_bayes import Moments, for_each, m_step, moments
from metapulse.episodes import Episode
from metapulse.gaussian_head import GaussianHead
from metapulse.losses import task_loss
from metapulse.methods.base import Paper, Report
from metapulse.methods.gaussian import PRIOR, ClosedForm, no_update
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, stack, subtree, without_subtree


@dataclass(frozen=True)
class RandomEffects(ClosedForm):
    """w_i ~ N(m, s²C), y = Xw_i + e; reports θ − (E[w], E[(w − m)(w − m)ᵀ], E‖y − Xw‖², n), each person counting alike.

    C is drawn towards I/ρ as by ``strength`` people whose heads spread so: with few people the prior is that of a ridge
    regression, with many it is theirs.
    """

    rounds_only: ClassVar[frozenset[str]] = ClosedForm.rounds_only | {"ridge", "strength", "people"}
    paper: ClassVar[Paper] = Paper(
        "laird1982random",
        "Laird and Ware",
        1982,
        "Random-Effects Models for Longitudinal Data",
        "",
        "section 4",
    )

    ridge: float = setting(10.0, "ρ, in samples: C begins at I/ρ, and is drawn towards it", gt=0)
    strength: float = setting(5.0, "how many people that counts for", ge=0)
    people: float = setting(100.0, "how many people are in meta-training", gt=0)

    def own(self, width: int, outputs: int) -> dict[str, Tensor]:
        """m = 0, C = I/ρ, s² = 1."""
        spread = (torch.eye(width) / self.ridge).expand(outputs, width, width).clone()
        one = torch.ones(())
        return {"mean": torch.zeros(width, outputs), "spread": spread, "residual": one.repeat(outputs), "count": one}

    def prior(self, meta: Params) -> GaussianHead:
        """The M-step on what θ holds, a mean over people."""
        expected = Moments(**{name: p.double() for name, p in subtree(meta, PRIOR).items()})
        target = torch.eye(len(expected.mean)).to(expected.mean) / self.ridge
        return m_step(expected, target, self.strength / self.people)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """θ less the E-step; the loss is that of the population's head on the samples."""
        samples, clients = episode.pooled, len(keys.clients)
        phi = self.start(meta, clients)
        z, y, mask = self.read(model, phi, samples)
        expected = moments(for_each(self.prior(meta), clients), z, y, mask)
        now = stack(meta, clients)
        update = no_update(without_subtree(meta, PRIOR), clients)
        for name, p in prefixed(vars(expected), PRIOR).items():
            update[name] = now[name] - p.to(now[name])
        loss = task_loss(model.task, self.predict(model, phi, samples.x), samples.y, samples.mask)
        return Report(update, samples.counts, state, {"loss": loss})


METHOD = Method(
    "random_effects",
    RandomEffects,
    Server(
        "fedavg",
        {"weighting": "uniform"},
        fixed=("weighting", "outer", "l2", "aggregator"),
        step="θ ← (1 − β)θ + β mean of the E-steps: EM with β = 1 and everyone in every round",
    ),
    sends="θ − (E[w], E[(w − m)(w − m)ᵀ], E‖y − Xw‖², n) under N(m, s²C), the M-step of θ",
    adapts="w | y ~ N(m + C'Xᵀ(y − Xm), s²C'), C' = (C⁻¹ + XᵀX)⁻¹",
    computed={"people": lambda cohort, clients: float(clients)},
    notes="Every coefficient is random, C is common to all outputs, and an inverse-Wishart prior on C is ours.",
)
