"""APFL (Deng, Kamani, Mahdavi 2020): each device predicts with a mixture of the global model and one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch

from metapulse.episodes import Batch, Episode, PerClient
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, add, dot, per_client, prefixed, stack, sub, subtree

OWN, ALPHA = "own/", "alpha"


@dataclass(frozen=True)
class APFL(InnerLoop):
    """w by SGD, v by SGD on L(α v + (1 − α) w); reports θ − w, keeps v, predicts with α v + (1 − α) θ.

    v begins at the θ of the device's first round. Who never trained has v = θ; at test time only v moves.
    """

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {"adaptive"}
    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "deng2020apfl",
        "Deng, Kamani and Mahdavi",
        2020,
        "Adaptive Personalized Federated Learning",
        "2003.13461",
        "Algorithm 1, equations 4 and 10",
    )
    uses_query_set: ClassVar[bool] = False

    alpha: float = setting(0.5, "share α of the own model (adaptive: its start)", ge=0, le=1)
    adaptive: bool = setting(False, "each device learns its α by gradient steps")

    def initial_state(self, model: Model, meta: Params) -> Params:
        """v = θ, and α."""
        return {**prefixed(meta, OWN), ALPHA: torch.tensor(self.alpha)}

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Steps on v with w = θ held: the mixture moves by −η α² ∇L."""
        theta = self.start(meta, len(keys.clients))
        v, alpha = self._own(model, meta, state, len(keys.clients))
        phi = mixture(v, theta, alpha) if start is None else start
        yield phi
        for batch in self.batches(support, keys, "adapt"):
            phi = sub(phi, per_client(model.grad(phi, batch), self.inner_lr * alpha * alpha))
            yield phi

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """K steps of both models on the same minibatches; the weight is the number of samples."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        v, alpha = self._own(model, meta, state, len(keys.clients))
        w: Stacked = theta
        total = torch.zeros_like(samples.counts)
        for batch in islice(self.batches(samples, keys), self.inner_steps):
            loss, shared = model.value_and_grad(w, batch)
            mixed = model.grad(mixture(v, w, alpha), batch)
            slope = dot(sub(v, w), mixed)
            w, v = add(w, shared, -self.inner_lr), sub(v, per_client(mixed, self.inner_lr * alpha))
            if self.adaptive:
                alpha = (alpha - self.inner_lr * slope).clamp(0.0, 1.0)
            total = total + loss
        kept = {**prefixed(v, OWN), ALPHA: alpha}
        metrics = {"loss": total / max(self.inner_steps, 1), ALPHA: alpha}
        return Report(sub(theta, w), samples.counts, kept, metrics)

    def _own(self, model: Model, meta: Params, state: Stacked, clients: int) -> tuple[Stacked, PerClient]:
        """v and α of every device."""
        kept = state or stack(self.initial_state(model, meta), clients)
        return subtree(kept, OWN), kept[ALPHA].to(next(iter(meta.values())).dtype)


def mixture(v: Stacked, w: Stacked, alpha: PerClient) -> Stacked:
    """α v + (1 − α) w."""
    return add(w, per_client(sub(v, w), alpha))


METHOD = Method(
    "apfl",
    APFL,
    Server("fedavg", {"weighting": "uniform"}),
    sends="θ − w_K after K steps of w",
    adapts="steps on v of L_S(αv + (1 − α)θ); answers with αv + (1 − α)θ",
    keeps="v ← v − η α ∇L(αv + (1 − α)w), and α, which it can learn",
)
