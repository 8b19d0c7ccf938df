"""FOMAML (Finn et al. 2017, §5.2; Nichol et al. 2018): MAML with the second derivatives left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.inner import run_inner_loop
from metapulse.methods.loop import ChosenOptimizer, InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class FOMAML(ChosenOptimizer, InnerLoop):
    """Reports ∇L_query at φ_K, as if φ_K did not depend on θ."""

    paper: ClassVar[Paper] = Paper(
        "finn2017maml",
        "Finn, Abbeel and Levine",
        2017,
        "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
        "1703.03400",
        "Section 5.2",
    )

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Adapt on support, report the query gradient there; the weight is the number of query samples."""
        theta = self.start(meta, len(keys.clients))
        batches = self.batches(episode.support, keys)
        phi, _ = run_inner_loop(model, theta, batches, self.inner_lr, self.optimizer, self.inner_steps)
        loss, update = model.value_and_grad(phi, episode.query)
        return Report(update, episode.query.counts, state, {"loss": loss})


METHOD = Method(
    "fomaml",
    FOMAML,
    Server("fedmaml"),
    sends="∇L_Q(φ_K), as if φ_K did not depend on θ",
)
