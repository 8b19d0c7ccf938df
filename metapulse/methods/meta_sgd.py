"""Meta-SGD (Li, Zhou, Chen, Li 2017): MAML that also learns an inner rate for every single parameter.

θ carries the rates in the same record, under the prefix ``rate/`` (Flower wants one array record per message).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode, PerClient
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import Minibatches
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, flat, mul, prefixed, sub, subtree, where

RATE = "rate/"


@dataclass(frozen=True)
class MetaSGD(Minibatches):
    """φ_{k+1} = φ_k − α ⊙ ∇L_support(φ_k); reports the gradients of the query loss in θ and in α."""

    #: (inner_steps is read by tests: a step beyond it must not hurt.)
    rounds_only: ClassVar[frozenset[str]] = frozenset({"rate_high", "rate_low"})
    paper: ClassVar[Paper] = Paper(
        "li2017metasgd",
        "Li, Zhou, Chen and Li",
        2017,
        "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
        "1707.09835",
        "Algorithm 1, equation 4",
    )
    beside: ClassVar[str] = RATE

    rate_low: float = setting(0.005, "least initial inner rate", gt=0)
    rate_high: float = setting(0.1, "largest initial inner rate", gt=0)
    inner_steps: int = setting(1, "gradient steps of one client in one round", ge=0)

    def __post_init__(self) -> None:
        if self.rate_low > self.rate_high:
            raise ConfigError("learner.rate_low", self.rate_low, f"must be ≤ rate_high = {self.rate_high}")

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and under ``rate/`` one rate for each, U[rate_low, rate_high]."""
        params = model.init(rng)
        rates = {
            name: torch.from_numpy(rng.uniform(self.rate_low, self.rate_high, tuple(p.shape)).astype(np.float32))
            for name, p in params.items()
        }
        return params | prefixed(rates, RATE)

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Steps with the learned rates; beyond the trained number of steps only those that do not hurt.

        The rates are fitted to ``inner_steps`` steps, and more of them can diverge: on sine tasks trained with one
        step, the fifth is already NaN. So a client takes a further step only while its support loss does not rise.
        """
        rates = flat(subtree(meta, RATE))
        phi = self.start(meta, len(keys.clients)) if start is None else start
        batches, loss = self.batches(support, keys, "adapt"), None
        yield phi
        for k, batch in enumerate(batches):
            step = sub(phi, mul(model.grad(phi, batch), rates))
            if k < self.inner_steps:
                phi = step
            else:
                phi, loss = unless_worse(model, phi, step, support, loss)
            yield phi

    def adapted_at(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        steps: Sequence[int],
        start: Stacked | None = None,
    ) -> Iterator[Stacked]:
        """From one of the steps to the next in one call of the model, where each looks at the whole support."""
        if self.batch_size:
            yield from super().adapted_at(model, meta, state, support, keys, steps, start)
            return
        phi = self.start(meta, len(keys.clients)) if start is None else start
        rates = flat(subtree(meta, RATE))
        for before, k in pairwise((0, *steps)):
            phi, _ = model.guarded_sgd(phi, rates, support, k - before, max(self.inner_steps - before, 0))
            yield phi

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Exact outer gradients in θ and α; the weight is the number of query samples."""
        theta = self.start(meta, len(keys.clients))
        support = list(islice(self.batches(episode.support, keys), self.inner_steps))
        outer = model.outer_gradient(theta, flat(subtree(meta, RATE)), support, episode.query, learned=True)
        return Report({**outer.theta, **prefixed(outer.rates, RATE)}, episode.query.counts, state, {"loss": outer.loss})


def unless_worse(
    model: Model, phi: Stacked, step: Stacked, support: Batch, loss: PerClient | None = None
) -> tuple[dict[str, Tensor], PerClient]:
    """The step of every client whose loss on its whole support set does not rise, and the loss after; the others stay.

    Args:
        phi: where a client stands; (clients, *shape) per name.
        step: where its step leads.
        support: all of its support samples.
        loss: at ``phi``; None: it is computed.
    """
    with torch.no_grad():
        before = model.loss(phi, support) if loss is None else loss
        after = model.loss(step, support)
    better = after <= before  # False for NaN
    return where(better, step, phi), torch.where(better, after, before)


METHOD = Method(
    "meta_sgd",
    MetaSGD,
    Server("fedmaml"),
    sends="∇L_Q(φ_K) in θ and in one learned rate α per parameter, −Σ_k ∇L_S(φ_k) ⊙ λ_{k+1}",
    adapts="φ_{k+1} = φ_k − α ⊙ ∇L_S(φ_k)",
    notes="Beyond K steps only those that do not raise L_S are taken (ours).",
)
