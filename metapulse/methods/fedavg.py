"""FedAvg (McMahan et al. 2017): local SGD; one global model for all clients, not adapted at test time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report, SumSpec, update_shares
from metapulse.methods.inner import displacement
from metapulse.methods.loop import ChosenOptimizer, InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.models.loops import AT_ONCE
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class LocalTraining(InnerLoop):
    """Local training on all of a client's samples; reports θ − φ_K (Algorithm 1, ClientUpdate)."""

    uses_query_set: ClassVar[bool] = False

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """K = ``inner_steps`` minibatch steps from θ; the update is θ − φ_K, the weight the number of samples."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        batches = self.batches(samples, keys)
        moved, loss = displacement(model, theta, batches, self.inner_lr, self.optimizer, self.inner_steps)
        return Report(moved, samples.counts, state, {"loss": loss})

    def update_sum(
        self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys, sum_spec: SumSpec
    ) -> tuple[Report, Params] | None:
        """The sum of (θ − φ_K)_i, for those who have ``update`` from here: another one's updates are not these."""
        if type(self).update is not LocalTraining.update:
            return None
        code, steps = model.compiled, self.inner_steps
        if code is None or not code.takes(meta) or self.optimizer != "sgd" or not 0 < steps <= AT_ONCE:
            return None
        samples = episode.pooled
        batches = self.first(samples, keys, steps)
        theta, wanted = self.start(meta, len(keys.clients)), update_shares(samples.counts, sum_spec.weighting)
        loss, total = code.descend_sum(theta, batches, self.inner_lr, wanted)
        return Report({}, samples.counts, state, {"loss": loss / steps}), total


@dataclass(frozen=True)
class LocalSGD(ChosenOptimizer, LocalTraining):
    """The same with a choice of optimiser."""


@dataclass(frozen=True)
class FedAvg(LocalSGD):
    """One model for all clients."""

    rounds_only: ClassVar[frozenset[str]] = LocalSGD.rounds_only | {"inner_lr", "batch_size", "order", "optimizer"}
    paper: ClassVar[Paper] = Paper(
        "mcmahan2017fedavg",
        "McMahan et al.",
        2017,
        "Communication-Efficient Learning of Deep Networks from Decentralized Data",
        "1602.05629",
        "Algorithm 1",
    )

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """φ_k = φ₀ for every k: the global model does not adapt."""
        return repeat(self.start(meta, len(keys.clients)) if start is None else start)


METHOD = Method(
    "fedavg",
    FedAvg,
    Server("fedavg"),
    sends="θ − φ_K after K steps of SGD or Adam on all samples",
    adapts="φ_k = θ: it does not adapt",
)
