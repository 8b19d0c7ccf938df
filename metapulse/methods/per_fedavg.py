"""Per-FedAvg (Fallah, Mokhtari, Ozdaglar 2020): FedAvg on the loss after one adaptation step.

Each local step descends F(w) = f(w − α ∇f(w)), whose gradient is (I − α ∇²f(w)) ∇f(w − α ∇f(w)). FO drops the
Hessian; HF replaces its product by a difference of gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import Descent
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class PerFedAvg(Descent):
    """τ local steps w ← w − β ∇F(w), each on fresh minibatches; reports θ − w_τ."""

    rounds_only: ClassVar[frozenset[str]] = Descent.rounds_only | {"delta", "local_lr", "local_steps", "variant"}
    paper: ClassVar[Paper] = Paper(
        "fallah2020perfedavg",
        "Fallah, Mokhtari and Ozdaglar",
        2020,
        "Personalized Federated Learning: A Meta-Learning Approach",
        "2002.07948",
        "Algorithm 1, equations 7, 11 and 12",
    )
    uses_query_set: ClassVar[bool] = False

    local_steps: int = setting(5, "local steps τ of one client in one round", ge=0)
    local_lr: float = setting(0.001, "local learning rate β", gt=0)
    variant: Literal["first_order", "hessian_free"] = setting(
        "first_order",
        "how the Hessian term is treated: dropped (FO) or by finite differences (HF)",
    )
    delta: float = setting(
        0.001, "relative width δ of the finite difference (HF)", gt=0, used_if=("variant", "hessian_free")
    )

    @property
    def steps(self) -> int:
        """One minibatch of each stream per local step."""
        return self.local_steps

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """τ steps on fresh minibatches D, D′ (and D″ for HF); the weight is the number of samples."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        streams = [self.batches(samples, keys, purpose) for purpose in ("inner", "outer", "curve")]  # D, D′, D″
        delta = self.delta if self.variant == "hessian_free" else 0.0
        rates = self.inner_lr, self.local_lr
        moved, total = model.adapted_sgd(theta, streams, rates, delta, self.local_steps)
        return Report(moved, samples.counts, state, {"loss": total / max(self.local_steps, 1)})


METHOD = Method(
    "per_fedavg",
    PerFedAvg,
    Server("fedavg", {"weighting": "uniform"}),
    sends="θ − w_τ after τ steps w ← w − β ∇f(w − α ∇f(w)) (I − α ∇²f(w)), the Hessian dropped or by differences",
    notes="The width of the differences is relative to ‖v‖ (ours).",
)
