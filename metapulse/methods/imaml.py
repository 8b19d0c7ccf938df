"""iMAML (Rajeswaran, Finn, Kakade, Levine 2019): the outer gradient of where the inner loop ends, not of its way there.

The inner problem is min_φ L_support(φ) + λ/2 ‖φ − θ‖², and the derivative of its solution φ* in θ is
(I + ∇²L_support(φ*)/λ)⁻¹, whatever found it: nothing of the path is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, add, dot, flat_stack, per_client, sub


@dataclass(frozen=True)
class IMAML(InnerLoop):
    """φ ← φ − α (∇L_support(φ) + λ(φ − θ)); reports (I + ∇²L_support(φ_K)/λ)⁻¹ ∇L_query(φ_K), by conjugate gradient."""

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {"cg_steps"}
    paper: ClassVar[Paper] = Paper(
        "rajeswaran2019imaml",
        "Rajeswaran, Finn, Kakade and Levine",
        2019,
        "Meta-Learning with Implicit Gradients",
        "1909.04630",
        "Lemma 1, Algorithms 1 and 2",
    )

    inner_steps: int = setting(10, "gradient steps of one client in one round: enough to come near φ*", ge=0)
    attraction: float = setting(1.0, "strength λ that draws φ to θ", gt=0)
    cg_steps: int = setting(5, "steps of conjugate gradient", ge=0)

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Gradient steps on the support loss and its attraction to θ."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        return self._descend(model, self.start(meta, len(keys.clients)), phi, self.batches(support, keys, "adapt"))

    def _descend(self, model: Model, theta: Stacked, phi: Stacked, batches: Iterator[Batch]) -> Iterator[Stacked]:
        yield phi
        centre = flat_stack(theta)
        for batch in batches:
            drawn = add(model.grad(phi, batch), sub(flat_stack(phi), centre), self.attraction)
            phi = add(flat_stack(phi), drawn, -self.inner_lr)
            yield phi

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """The implicit gradient at φ_K, with the Hessian of all support samples; the weight is the query samples."""
        theta = self.start(meta, len(keys.clients))
        way = self._descend(model, theta, theta, self.batches(episode.support, keys))
        phi = next(islice(way, self.inner_steps, None))
        loss, gradient = model.value_and_grad(phi, episode.query)
        hvp = model.expand(phi, episode.support).hvp
        update = conjugate_gradient(lambda v: add(v, hvp(v), 1.0 / self.attraction), gradient, self.cg_steps)
        return Report(update, episode.query.counts, state, {"loss": loss})


def conjugate_gradient(product: Callable[[Stacked], Stacked], b: Stacked, steps: int) -> Stacked:
    """x ≈ A⁻¹ b per client, from x = b, which A = I solves; after n steps exact for n unknowns.

    A client whose residual has vanished, or whose direction has no positive curvature, keeps the x it has: the
    Hessian of a net need not be positive definite, and beyond such a direction the iteration would diverge.

    Args:
        product: v ↦ A v per client, A symmetric.
        b: (clients, *shape) per name.
        steps: how often the product is asked for after the first residual, ≥ 0.

    Source: Hestenes and Stiefel 1952; the stopping rule of Steihaug 1983.
    """
    x = b
    residual = sub(b, product(x))
    direction, rr = residual, dot(residual, residual)
    going = torch.ones_like(rr)
    for _ in range(steps):
        image = product(direction)
        curvature = dot(direction, image)
        going = going * (curvature > 0) * (rr > 0)
        length = going * rr / torch.where(going > 0, curvature, 1.0)
        x = add(x, per_client(direction, length))
        residual = sub(residual, per_client(image, length))
        after = dot(residual, residual)
        direction = add(residual, per_client(direction, after / torch.where(rr > 0, rr, 1.0)))
        rr = after
    return x


METHOD = Method(
    "imaml",
    IMAML,
    Server("fedmaml"),
    sends="(I + ∇²L_S(φ_K)/λ)⁻¹ ∇L_Q(φ_K) by conjugate gradient",
    adapts="φ ← φ − α (∇L_S(φ) + λ(φ − θ))",
    notes="A direction without positive curvature ends the solver for its client (ours).",
)
