"""Relation networks (Sung et al. 2018): how alike two embeddings are is learned as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.losses import masked_mean
from metapulse.methods.amortised import FLOOR, answerable, own_network
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.prototypical import ClassMeans
from metapulse.models.base import Model
from metapulse.settings import WIDTH, setting
from metapulse.trees import Stacked, prefixed, subtree

RELATION = "relation/"


@dataclass(frozen=True)
class Relation(ClassMeans):
    """r_k = σ(g([c_k, f(x)])), g a small net in θ; reports ∇_θ of the query's Σ_k (r_k − 1[y = k])².

    c_k is the mean of a class's embeddings, where the paper takes the sum: shots differ from client to client. The
    sum over k is over the classes with support. As logits g itself answers, which orders classes as r does.
    """

    rounds_only: ClassVar[frozenset[str]] = ClassMeans.rounds_only | {"hidden"}
    paper: ClassVar[Paper] = Paper(
        "sung2018relation",
        "Sung et al.",
        2018,
        "Learning to Compare: Relation Network for Few-Shot Learning",
        "1711.06025",
        "equations 1 and 2",
    )

    hidden: int = setting(8, "width of the relation module's hidden layer", ge=1, le=WIDTH)

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The relation module."""
        return prefixed(own_network(2 * width, (self.hidden,), 1).init(rng), RELATION)

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """g of every class mean beside every sample; far below all others for a class without support."""
        z, means = model.embed(phi, x), memory["means"]
        clients, n, width = z.shape
        classes = means.shape[1]
        pairs = torch.cat(
            [means.unsqueeze(1).expand(-1, n, -1, -1), z.unsqueeze(2).expand(-1, -1, classes, -1)], 3
        )  # (clients, samples, classes, 2 · width)
        scores = own_network(2 * width, (self.hidden,), 1).predict(subtree(phi, RELATION), pairs.flatten(1, 2))
        return scores.view(clients, n, classes).masked_fill(memory["known"].unsqueeze(1) == 0, FLOOR)

    def loss(self, model: Model, phi: Stacked, memory: Stacked, support: Batch, query: Batch) -> PerClient:
        """Squared error of the relation scores, Σ over classes, mean over samples."""
        counted = answerable(support, query, model.task.outputs)
        truth = functional.one_hot(query.y, model.task.outputs).to(query.mask)
        scores = torch.sigmoid(self.answer(model, phi, memory, query.x))  # σ(FLOOR) = 0: others do not count
        return masked_mean((scores - truth).square().sum(2), counted.mask)


METHOD = Method(
    "relation",
    Relation,
    Server("fedmaml"),
    sends="∇_θ of Σ_k (r_k − 1[y = k])² through the reading of the support",
    adapts="r_k = σ(g([c_k, f(x)])), c_k = mean of f(x_i) over y_i = k, g a network in θ",
    notes="The paper sums where we average: shots differ.",
    head=True,
)
