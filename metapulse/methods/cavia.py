"""CAVIA (Zintgraf et al. 2019): a few context parameters, read beside every input, are all that adapts.

θ is the parameters of the model with that many more inputs, and is the same for all clients; the context starts at
zero, is a client's own and stays on its device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode, Inputs, Outputs, PerClient
from metapulse.losses import task_loss
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import WIDTH, setting
from metapulse.trees import Params, Stacked, stack, without_subtree

CONTEXT = "context"


@dataclass(frozen=True)
class CAVIA(InnerLoop):
    """c₀ = 0, c_{k+1} = c_k − α ∇_c L_support(θ, c_k); reports ∇_θ L_query(θ, c_K(θ)), true second order.

    The context is as many further channels of the input, constant over the rest of its shape.
    """

    paper: ClassVar[Paper] = Paper(
        "zintgraf2019cavia",
        "Zintgraf et al.",
        2019,
        "Fast Context Adaptation via Meta-Learning",
        "1810.03642",
        "Section 3",
    )

    inner_lr: float = setting(0.1, "inner learning rate α of the context", gt=0)
    context: int = setting(5, "number of context parameters", ge=1, le=WIDTH)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The parameters of the model that reads the context as well."""
        return model.widened(self.context).init(rng)

    def start(self, meta: Params, clients: int) -> dict[str, Tensor]:
        """θ, and a context of zeros."""
        like = next(iter(meta.values()))
        return {**stack(meta, clients), CONTEXT: like.new_zeros(clients, self.context)}

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """Gradient steps on the context alone."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        yield phi
        for batch in self.batches(support, keys, "adapt"):
            with torch.enable_grad():
                context = self._step(model, phi, phi[CONTEXT].detach().requires_grad_(), batch, graph=False)
            phi = {**phi, CONTEXT: context.detach()}
            yield phi

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """The model of [x, c]."""
        context = phi[CONTEXT]
        constant = context.view(len(x), 1, -1, *(1,) * (x.dim() - 3)).expand(*x.shape[:2], -1, *x.shape[3:])
        return model.widened(self.context).predict(without_subtree(phi, CONTEXT), torch.cat([x, constant], 2))

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """The exact outer gradient in θ; the weight is the number of query samples."""
        clients = len(keys.clients)
        batches = self.batches(episode.support, keys)

        def adapted(theta: Stacked, query: Batch) -> Tensor:
            context = self.start(meta, clients)[CONTEXT].requires_grad_()
            for batch in islice(batches, self.inner_steps):
                context = self._step(model, theta, context, batch, graph=True)
            return self._loss(model, theta, context, query)

        loss, update = autograd.value_and_grad(adapted, stack(meta, clients), episode.query)
        return Report(update, episode.query.counts, state, {"loss": loss})

    def _step(self, model: Model, phi: Stacked, context: Tensor, batch: Batch, graph: bool) -> Tensor:
        """c − α ∇_c L, itself differentiable if ``graph``."""
        loss = self._loss(model, phi, context, batch).sum()
        (slope,) = torch.autograd.grad(loss, context, create_graph=graph)
        return context - self.inner_lr * slope

    def _loss(self, model: Model, phi: Stacked, context: Tensor, batch: Batch) -> PerClient:
        answers = self.predict(model, {**phi, CONTEXT: context}, batch.x)
        return task_loss(model.task, answers, batch.y, batch.mask)


METHOD = Method(
    "cavia",
    CAVIA,
    Server("fedmaml"),
    sends="∇_θ L_Q(θ, c_K(θ)) through the steps of the context c, which is read as further channels of the input",
    adapts="c_0 = 0, c_{k+1} = c_k − α ∇_c L_S(θ, c_k)",
    notes="Not for the models encoder1d and module.",
)
