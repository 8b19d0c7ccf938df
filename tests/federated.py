"""Federated rounds for tests of learners: ours, and what references in plain torch need, one client after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.episodes import Episode
from metapulse.methods.base import Learner
from metapulse.models.base import Model
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import pick
from tests.cases import batch, classification, episode, keys, theta

F64 = torch.float64
NET = MLP(hidden=(4,), activation="tanh", task=classification(3))
CLIENTS = 3
EPISODE = Episode(episode(NET.task, (5, 2, 3), (2, 4, 1), dtype=F64).pooled, batch(NET.task, (0,) * CLIENTS, longest=0))
START = theta(NET, dtype=F64)

Tree = dict[str, Tensor]
#: Samples of one client.
Data = tuple[Tensor, Tensor]


def data(ep: Episode = EPISODE) -> list[Data]:
    """Every client's real samples."""
    part = ep.support
    return [(part.x[i, real], part.y[i, real]) for i in range(len(part.mask)) for real in [part.mask[i] > 0]]


def loss(p: Mapping[str, Tensor], own: Data) -> Tensor:
    """Mean cross-entropy of the small network, as one writes it in torch."""
    x, y = own
    hidden = torch.tanh(x @ p["layer0.weight"].T + p["layer0.bias"])
    return torch.nn.functional.cross_entropy(hidden @ p["layer1.weight"].T + p["layer1.bias"], y)


def gradient(p: Mapping[str, Tensor], own: Data) -> Tree:
    """∇ of it by autograd."""
    leaves = {name: q.clone().requires_grad_() for name, q in p.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves, own), list(leaves.values())), strict=True))


def combine(function: Callable[..., Tensor], *trees: Mapping[str, Tensor]) -> Tree:
    """A function of the tensors of the same name."""
    return {name: function(*(tree[name] for tree in trees)) for name in trees[0]}


def average(trees: list[Tree], weights: list[float] | None = None) -> Tree:
    """Their weighted mean."""
    shares = weights or [1.0] * len(trees)
    return combine(lambda *ps: sum(s * p for s, p in zip(shares, ps, strict=True)) / sum(shares), *trees)


@dataclass(frozen=True)
class After:
    """Where rounds of ours ended: θ, what each device keeps, and the updates and weights of the last round."""

    theta: Tree
    kept: list[Tree]
    updates: list[Tree]
    weights: list[float]


def rounds(
    learner: Learner,
    count: int = 2,
    model: Model = NET,
    ep: Episode = EPISODE,
    start: Mapping[str, Tensor] | None = None,
    weighting: str = "samples",
    lr: float = 1.0,
) -> After:
    """θ ← θ − lr · mean of the updates, all clients in every round."""
    clients = len(ep.support.mask)
    at = {name: p.double() for name, p in {**learner.init(model, generator(0, "init")), **(start or START)}.items()}
    state: Mapping[str, Tensor] = {}
    for round in range(1, count + 1):
        report = learner.update(model, at, state, ep, keys(range(clients), round))
        state = report.state
        weight = report.weight if weighting == "samples" else torch.ones_like(report.weight)
        share = weight / weight.sum()
        at = {name: p - lr * torch.einsum("c,c...->...", share, report.update[name]) for name, p in at.items()}
    kept = [pick(state, i) for i in range(clients)]
    return After(at, kept, [pick(report.update, i) for i in range(clients)], report.weight.tolist())
