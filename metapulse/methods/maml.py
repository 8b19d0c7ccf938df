"""MAML (Finn, Abbeel, Levine 2017): a start from which a few gradient steps on the support set do well on the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report, SumSpec, update_shares
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, full_like


@dataclass(frozen=True)
class MAML(InnerLoop):
    """Reports ∇_θ L_query(φ_K(θ)), true second order."""

    paper: ClassVar[Paper] = Paper(
        "finn2017maml",
        "Finn, Abbeel and Levine",
        2017,
        "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
        "1703.03400",
        "Algorithm 1, equation 1",
    )

    def rates(self, model: Model, meta: Params) -> Params:
        """Inner rate of every parameter: α everywhere."""
        return full_like(meta, self.inner_lr)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """The exact outer gradient of each client's query loss; the weight is its number of query samples."""
        theta = self.start(meta, len(keys.clients))
        support = self.first(episode.support, keys, self.inner_steps)
        outer = model.outer_gradient(theta, self.rates(model, meta), support, episode.query)
        return Report(outer.theta, episode.query.counts, state, {"loss": outer.loss})

    def update_sum(
        self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys, sum_spec: SumSpec
    ) -> tuple[Report, Params] | None:
        """The sum of these gradients, for those who have ``update`` from here."""
        code = model.compiled
        if type(self).update is not MAML.update or code is None or not code.takes(meta):
            return None  # before minibatches are drawn, which ``update`` does again
        theta, counts = self.start(meta, len(keys.clients)), episode.query.counts
        support = self.first(episode.support, keys, self.inner_steps)
        wanted = update_shares(counts, sum_spec.weighting)
        summed = model.outer_gradient_sum(theta, self.rates(model, meta), support, episode.query, wanted)
        return summed and (Report({}, counts, state, {"loss": summed[0]}), summed[1])


METHOD = Method(
    "maml",
    MAML,
    Server("fedmaml"),
    sends="λ_0 = ∇_θ L_Q(φ_K(θ)) by its adjoint: λ_K = ∇L_Q(φ_K), λ_k = λ_{k+1} − α ∇²L_S(φ_k) λ_{k+1}",
)
