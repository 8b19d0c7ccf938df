"""MAML++ (Antoniou, Edwards, Storkey 2019): changes to MAML that make its training stable.

Learned rates per layer and step, a loss after every inner step that is annealed into the loss after the last, and
first order before second. Its cosine schedule is the strategy's (``strategy.schedule``); its batch normalisation has
no place in models that have none. θ carries the rates in the same record, under the prefix ``rate/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.meta_sgd import unless_worse
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.models.kernels.base import Expansion
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import (
    Params,
    Stacked,
    add,
    flat_stack,
    mul,
    prefixed,
    stack,
    sub,
    subtree,
    without_subtree,
    zeros_like,
)

RATE = "rate/"


@dataclass(frozen=True)
class MAMLPlusPlus(InnerLoop):
    """φ_{k+1} = φ_k − α_{l,k} ∇L_support(φ_k); reports the gradients of Σ_k v_k L_query(φ_k) in θ and in α.

    Layer l is a tensor of θ. v_k = (1 − t/T)⁺ / K for k < K and the rest of one for k = K, in round t + 1: all steps
    alike at first, the last alone after T rounds. In the first rounds the Hessian is left out of the gradient in θ.
    """

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {
        "first_order_rounds",
        "inner_lr",
        "multi_step_rounds",
    }
    many_runs: ClassVar[bool] = False
    paper: ClassVar[Paper] = Paper(
        "antoniou2019mamlpp",
        "Antoniou, Edwards and Storkey",
        2019,
        "How to train your MAML",
        "1810.09502",
        "Section 4",
    )
    beside: ClassVar[str] = RATE

    inner_lr: float = setting(0.01, "initial inner rate α of every layer and step", gt=0)
    inner_steps: int = setting(5, "gradient steps of one client in one round, each with rates of its own", ge=1)
    multi_step_rounds: int = setting(100, "rounds T until the loss is that of the last step alone", ge=0)
    first_order_rounds: int = setting(0, "rounds without second derivatives at the beginning", ge=0)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and under ``rate/`` a rate per tensor and step, all α."""
        params = model.init(rng)
        return params | prefixed({name: torch.full((self.inner_steps,), self.inner_lr) for name in params}, RATE)

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Steps with the learned rates; beyond them only such as do not raise the support loss."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        batches, loss = self.batches(support, keys, "adapt"), None
        yield phi
        for k, batch in enumerate(batches):
            rates = self._rates(meta, k, len(keys.clients))
            step = sub(phi, mul(model.grad(phi, batch), rates))
            if k < self._learned(meta):
                phi = step
            else:
                phi, loss = unless_worse(model, phi, step, support, loss)
            yield phi

    def weights(self, round: int, steps: int) -> list[float]:
        """v_0 … v_K of a round; v_0 is zero unless there is no step.

        Args:
            round: t + 1, from 1.
            steps: K ≥ 0.
        """
        left = max(0.0, 1.0 - (round - 1) / self.multi_step_rounds) if self.multi_step_rounds else 0.0
        early = [0.0] + [left / steps] * (steps - 1) if steps else []
        return [*early, 1.0 - sum(early)]

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Gradients in θ and in the rates by the adjoint; the weight is the number of query samples."""
        clients, steps = len(keys.clients), self.inner_steps
        rates = [self._rates(meta, k, clients) for k in range(steps)]
        weights = self.weights(keys.round, steps)
        phi = self.start(meta, clients)
        points, visited = [phi], []
        for batch, alpha in zip(islice(self.batches(episode.support, keys), steps), rates, strict=True):
            visited.append(model.expand(phi, batch))
            phi = sub(phi, mul(visited[-1].grad, alpha))
            points.append(phi)
        loss, adjoint = torch.zeros_like(episode.query.counts), zeros_like(flat_stack(phi))
        slopes = {name: p.new_zeros(clients, *p.shape) for name, p in subtree(meta, RATE).items()}
        for k in reversed(range(steps + 1)):
            if k < steps:
                _credit(slopes, min(k, self._learned(meta) - 1), visited[k], adjoint)
                if keys.round > self.first_order_rounds:
                    adjoint = sub(adjoint, visited[k].hvp(mul(adjoint, rates[k])))
            if weights[k]:
                value, gradient = model.value_and_grad(points[k], episode.query)
                loss, adjoint = loss + weights[k] * value, add(adjoint, gradient, weights[k])
        return Report({**adjoint, **prefixed(slopes, RATE)}, episode.query.counts, state, {"loss": loss})

    def _learned(self, meta: Params) -> int:
        """Steps that have rates."""
        return len(next(iter(subtree(meta, RATE).values())))

    def _rates(self, meta: Params, step: int, clients: int) -> Stacked:
        """The rates of a step as a stack in the shape of φ; those of the last step where it has none."""
        at = min(step, self._learned(meta) - 1)
        return flat_stack(
            stack({n: meta[RATE + n][at].expand(p.shape) for n, p in without_subtree(meta, RATE).items()}, clients)
        )


def _credit(slopes: dict[str, Tensor], step: int, expansion: Expansion, adjoint: Stacked) -> None:
    """Add −⟨g_k, λ_{k+1}⟩ of every tensor, the slope in its rate at a step."""
    for name, slope in slopes.items():
        slope[:, step] -= (expansion.grad[name] * adjoint[name]).flatten(1).sum(1)


METHOD = Method(
    "maml_pp",
    MAMLPlusPlus,
    Server("fedmaml", {"schedule": "cosine"}),
    sends=(
        "gradients of Σ_k v_k L_Q(φ_k) in θ and in a rate α_{l,k} per tensor and step; v_k falls from 1/K to "
        "0 for k < K over ``multi_step_rounds``"
    ),
    adapts="φ_{k+1} = φ_k − α_{l,k} ∇L_S(φ_k)",
    notes="No batch normalisation. Further steps take the last rates, and only such as do not raise L_S (ours).",
)
