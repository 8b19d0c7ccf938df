"""Random effects (Laird and Ware 1982): the prior over people's heads by EM, whose M-step is a mean over people.

A round is an iteration of EM: every device computes what to expect of its person's head, and θ is the mean of that.
With all people in every round it is EM itself; with some, and a rate below 1, its online form (Cappé and Moulines 2009,
arXiv:0712.4273).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metapulse.empirical_bayes import ScaledMoments, for_each, scaled_m_step, scaled_moments
from metapulse.episodes import Episode
from metapulse.gaussian_head import GaussianHead
from metapulse.losses import task_loss
from metapulse.methods.base import Paper, Report
from metapulse.methods.gaussian import PRIOR, ClosedForm, no_update
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, subtree, without_subtree


@dataclass(frozen=True)
class RandomEffects(ClosedForm):
    """w_i ~ N(m, s_i²C), y = Xw_i + e, e ~ N(0, s_i²), 1/s_i² ~ Gamma(ν/2, νs₀²/2); reports θ less the E-step.

    C is drawn towards I/ρ as by ``strength`` people whose heads spread so: with few people the prior is that of a ridge
    regression, with many it is theirs. m is the mean of heads, each counting 1/s_i², as EM has it; or, since those who
    have other heads have other inputs as well, the head that answers best for all: least mean over people of their MSE.
    """

    rounds_only: ClassVar[frozenset[str]] = ClosedForm.rounds_only | {"centre"}
    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "laird1982random",
        "Laird and Ware",
        1982,
        "Random-Effects Models for Longitudinal Data",
        "",
        "section 4",
    )

    centre: Literal["answers", "heads"] = setting("answers", "m: the head that answers best for all, or the mean head")
    centre_ridge: float = setting(1e-4, "ridge per sample of that head", gt=0, used_if=("centre", "answers"))
    ridge: float = setting(10.0, "ρ, in samples: C begins at I/ρ, and is drawn towards it", gt=0)
    strength: float = setting(5.0, "how many people that counts for", ge=0)
    people: float = setting(100.0, "how many people are in meta-training", gt=0)

    def own(self, width: int, outputs: int) -> dict[str, Tensor]:
        """m = 0, C = I/ρ, s₀² = 1."""
        begun = {
            "weighed": torch.zeros(width, outputs),
            "spread": torch.eye(width) / self.ridge,
            "precision": torch.ones(outputs),
        }
        if self.centre == "heads":
            return begun
        return begun | {"gram": torch.zeros(width, width), "moment": torch.zeros(width, outputs)}

    def prior(self, meta: Params) -> GaussianHead:
        """The M-step on what θ holds, means over people."""
        held = {name: p.double() for name, p in subtree(meta, PRIOR).items()}
        gram, moment = held.pop("gram", None), held.pop("moment", None)
        expected = ScaledMoments(**held)
        identity = torch.eye(len(expected.spread)).to(expected.spread)
        found = scaled_m_step(expected, identity / self.ridge, self.strength / self.people)
        if gram is None or moment is None:
            return found
        return replace(found, mean=torch.linalg.solve(gram + self.centre_ridge * identity, moment).unsqueeze(0))

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """θ less what is expected of each person; the loss is that of the population's head on the samples."""
        samples, clients = episode.pooled, len(keys.clients)
        phi = self.start(meta, clients)
        z, y, mask = self.read(model, phi, samples)
        prior = for_each(self.prior(meta), clients)
        told = vars(scaled_moments(prior, z, y, self.worth * mask, self.freedom))
        if self.centre == "answers":
            shared = z * samples.weights.double().unsqueeze(2)
            told = told | {"gram": shared.transpose(1, 2) @ z, "moment": shared.transpose(1, 2) @ y}
        update = no_update(without_subtree(meta, PRIOR), clients)
        update |= {name: meta[name] - p.to(meta[name]) for name, p in prefixed(told, PRIOR).items()}
        loss = task_loss(model.task, self.predict(model, phi, samples.x), samples.y, samples.mask)
        return Report(update, samples.counts, state, {"loss": loss})


METHOD = Method(
    "random_effects",
    RandomEffects,
    Server(
        "fedavg",
        {"weighting": "uniform"},
        fixed=("weighting", "outer", "l2", "aggregator"),
        step="θ ← (1 − β)θ + β mean of what is expected: EM with β = 1 and everyone in every round",
    ),
    sends="θ − (E[w/s²], E[(w − m)(w − m)ᵀ/s²], E[1/s²], XᵀX/n, Xᵀy/n), m, C and s₀² being the M-step of θ",
    adapts="w | y ~ N(m + C'Xᵀ(y − Xm), s²C'), C' = (C⁻¹ + XᵀX)⁻¹, s² = (νs₀² + ‖r‖² − rᵀXC'Xᵀr)/(ν + n)",
    computed={"people": lambda cohort, clients: float(clients)},
    notes=(
        "Every coefficient is random. A noise of each person's own, the inverse-Wishart prior on C, samples that count "
        'for a part, and m as the head that answers best for all are ours; `centre = "heads"` is the paper\'s. '
        "With more inputs than samples the former rests on `centre_ridge`, which then has to be larger."
    ),
)
