"""R2D2 (Bertinetto, Henriques, Torr, Vedaldi 2019): the inner loop is ridge regression, solved in closed form.

A client fits a linear head on the embeddings of its support set, in one step; the encoder, the ridge and the scale of
the answers are meta-learned by the gradient of the query loss through the solution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from metapulse.episodes import Batch, Episode, PerClient
from metapulse.losses import task_loss
from metapulse.methods.base import Learner, Paper, Report
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.models.layers import linear
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, stack, subtree, without_subtree

RIDGE = "ridge/"
ONE = 3.0  # the constant input whose weight is the bias: larger than one, so that the ridge hardly shrinks it


@dataclass(frozen=True)
class R2D2(Learner):
    """W = Aᵀ(A Aᵀ + λI)⁻¹ Y on support embeddings A; reports ∇_θ of the query loss of s · a W.

    Targets are ±1 per class (the values themselves in regression). Two things are ours: samples are weighted by
    n_c^(−κ), n_c being their class's shots and κ learned, so that frequent classes do not drown rare ones; and the
    query loss weighs classes alike and leaves out those without support. A client without support keeps the head it
    came with. With ``towards = "head"`` the ridge is of W − W₀, the head of θ, which the query loss trains as well.
    """

    rounds_only: ClassVar[frozenset[str]] = Learner.rounds_only | {"balance", "ridge", "scale"}
    paper: ClassVar[Paper] = Paper(
        "bertinetto2019r2d2",
        "Bertinetto, Henriques, Torr and Vedaldi",
        2019,
        "Meta-learning with differentiable closed-form solvers",
        "1805.08136",
        "equations 4 to 6",
    )
    beside: ClassVar[str] = RIDGE

    ridge: float = setting(1.0, "initial λ", gt=0)
    scale: float = setting(5.0, "initial scale s of the logits (regression has none)", gt=0)
    balance: float = setting(0.5, "initial exponent κ of the class weights", ge=0)
    towards: Literal["zero", "head"] = setting("zero", "what the ridge draws W to: 0, or θ's own head, learned with it")
    ridge_factor: float = setting(1.0, "factor on the learned λ, for use at test time", gt=0)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and under ``ridge/`` log λ, log s and κ."""
        own = {"log_lambda": math.log(self.ridge), "log_scale": math.log(self.scale), "balance": self.balance}
        return model.init(rng) | prefixed({name: torch.tensor(v) for name, v in own.items()}, RIDGE)

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """All but the head, which stays as initialised, unless the ridge draws to it."""
        return frozenset(meta) - (model.head if self.towards == "zero" else frozenset())

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """θ's own head, for which episodes with support have no gradient; after that, always the solved one."""
        phi = self.start(meta, len(keys.clients)) if start is None else dict(start)
        yield phi
        with torch.no_grad():
            solved = self.solve(model, phi, stack(subtree(meta, RIDGE), len(keys.clients)), support)
        yield from repeat(solved)

    def solve(self, model: Model, phi: Stacked, ridge: Stacked, support: Batch) -> dict[str, Tensor]:
        """``phi`` with its head replaced by the ridge solution on ``support``.

        Args:
            model: one with an embedding under a linear head.
            phi: (clients, *shape) per name.
            ridge: log_lambda, log_scale and balance, (clients,) each.
            support: the samples to fit; a client without any keeps its head.

        Raises:
            ConfigError: the model has no embedding under a linear head.
        """
        inputs = _with_one(model.embed(phi, support.x))  # (c, n, d + 1)
        weight_name, bias_name = model.head_pair()
        targets, root = self._targets(model, support, ridge["balance"])
        root = root.unsqueeze(2)
        a = inputs * root
        penalty = (self.ridge_factor * ridge["log_lambda"].exp()).view(-1, 1, 1)
        gram = a @ a.transpose(1, 2) + penalty * torch.eye(a.shape[1]).to(a)
        # The scaling of the inputs is folded into the head, so that the model's own ``predict`` applies it.
        factor = 1.0 / math.sqrt(inputs.shape[2] - 1)
        classes = model.task.kind == "classification"
        size = ridge["log_scale"].exp().view(-1, 1, 1) if classes else torch.ones_like(penalty)
        if self.towards == "head":
            weight = phi[weight_name].transpose(1, 2)
            centre = torch.cat([weight, phi[bias_name].unsqueeze(1) / ONE], 1) / (factor * size)
            w = centre + a.transpose(1, 2) @ torch.linalg.solve_ex(gram, targets * root - a @ centre)[0]
        else:
            w = a.transpose(1, 2) @ torch.linalg.solve_ex(gram, targets * root)[0]  # (c, d + 1, outputs)
        w = w * size if classes else w
        some = (support.counts > 0).unsqueeze(1)  # (c, 1)
        weight = torch.where(some.unsqueeze(2), w[:, :-1].transpose(1, 2) * factor, phi[weight_name])
        bias = torch.where(some, w[:, -1] * ONE * factor, phi[bias_name])
        return dict(phi) | {weight_name: weight, bias_name: bias}

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Gradient of the query loss in the encoder and in the ridge's numbers; the weight is the query samples."""
        clients = len(keys.clients)
        leaves = {name: p.detach().clone().requires_grad_() for name, p in stack(meta, clients).items()}
        with torch.enable_grad():
            phi = self.solve(model, without_subtree(leaves, RIDGE), subtree(leaves, RIDGE), episode.support)
            loss = self._query_loss(model, phi, episode)
            grads = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
        return Report(dict(zip(leaves, grads, strict=True)), episode.query.counts, state, {"loss": loss.detach()})

    def _targets(
        self, model: Model, support: Batch, balance: PerClient
    ) -> tuple[Float[Tensor, "clients n outputs"], Float[Tensor, "clients n"]]:
        """What to fit, and the root of how much each sample counts (0 for padding, whose root has no gradient)."""
        if model.task.kind == "regression":
            return support.y, support.mask
        hot = functional.one_hot(support.y, model.task.outputs).to(support.x)
        shots = ((hot * support.mask.unsqueeze(2)).sum(1, keepdim=True) * hot).sum(2).clamp(min=1.0)
        return 2.0 * hot - 1.0, support.mask * shots ** (-0.5 * balance.unsqueeze(1))

    def _query_loss(self, model: Model, phi: Stacked, episode: Episode) -> PerClient:
        weight_name, bias_name = model.head_pair()
        query = episode.query
        answers = linear(model.embed(phi, query.x), phi[weight_name], phi[bias_name])
        if model.task.kind == "regression":
            return task_loss(model.task, answers, query.y, query.mask)
        hot = functional.one_hot(episode.support.y, model.task.outputs) * episode.support.mask.unsqueeze(2)
        known = hot.sum(1) > 0  # (clients, classes)
        # A query label without support has no right answer: its sample does not count.
        mask = query.mask * known.gather(1, query.y).to(query.mask)
        # A finite floor, since −∞ would make the loss of a masked sample infinite, and 0 · ∞ is not a number.
        nll = functional.cross_entropy(
            answers.masked_fill(~known.unsqueeze(1), -1e4).flatten(0, 1), query.y.flatten(), reduction="none"
        ).view(query.y.shape)
        counts = (functional.one_hot(query.y, model.task.outputs) * mask.unsqueeze(2)).sum(1)
        each = mask / counts.gather(1, query.y).clamp(min=1.0)
        present = (counts > 0).sum(1).clamp(min=1)
        return (nll * each).sum(1) / present


def _with_one(z: Float[Tensor, "clients n width"]) -> Float[Tensor, "clients n inputs"]:
    """Embeddings over √width, and a constant beside them."""
    one = z.new_full((*z.shape[:2], 1), ONE)
    return torch.cat([z, one], 2) / math.sqrt(z.shape[2])


METHOD = Method(
    "r2d2",
    R2D2,
    Server("fedmaml"),
    sends="∇ of L_Q of s·[z, 3]/√d W in the encoder, λ, s and κ",
    adapts="W = Aᵀ(AAᵀ + λI)⁻¹Y, solved in the first step, Y = ±1 per class",
    notes="Class weights n_c^(−κ), the constant 3, and a query loss that weighs classes alike are ours.",
    head=True,
)
