"""Learners that read their support set once instead of descending on it: metric-, memory- and model-based ones.

What a client remembers of its support (prototypes, a hidden state, a mean of codes) becomes part of its personal
parameters φ, under ``memory/``, and never leaves the device. θ is the model without its head, and the learner's own
networks; it is meta-learned by the gradient of the query loss through the reading.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode, Inputs, Outputs, PerClient
from metapulse.errors import ConfigError
from metapulse.losses import task_loss
from metapulse.methods.base import Learner, Report
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.models.mlp import MLP
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, prefixed, stack, subtree

MEMORY = "memory/"
FLOOR = -1e9  # the logit of a class without support: finite, since 0 · ∞ of a masked sample is not a number


@dataclass(frozen=True)
class AmortisedLearner(Learner):
    """φ₀ = θ, φ₁ = φ₂ = … = θ and what ``encode_support`` remembers; reports ∇_θ L_query(φ₁(θ)).

    A client that has read nothing yet answers as one whose support is empty.
    """

    @abstractmethod
    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> Mapping[str, Tensor]:
        """What to remember of the support, (clients, *shape) per name; differentiable in ``phi``."""

    @abstractmethod
    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """Logits or predicted targets, from θ and the memory."""

    def own(self, task: Task, width: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The learner's own networks, for embeddings of a width: none."""
        return {}

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model without its head, then the learner's own networks.

        Raises:
            ConfigError: the learner cannot learn such a task, or the model has no embedding under a head, or nothing
                below its head while the learner has nothing of its own.
        """
        self.check_kind(model.task)
        params = model.init(rng)
        z = model.embed(stack(params, 1), torch.zeros(1, 1, *model.task.features))
        body = {name: p for name, p in params.items() if name not in model.head}
        theta = body | self.own(model.task, z.shape[2], rng)
        if not theta:
            raise ConfigError("model.name", type(model).__name__, "has no layer below its head: nothing to learn")
        return theta

    def check_kind(self, task: Task) -> None:
        """That the learner can learn such a task.

        Raises:
            ConfigError: it cannot.
        """
        if task.kind not in self.kinds:
            learner = type(self).__name__
            raise ConfigError("learner.name", learner, f"learns {' and '.join(self.kinds)} only, not {task.kind}")

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """φ₀, which has no memory (or that of ``start``); after that, always the memory of this support."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        yield phi
        with torch.no_grad():
            after = dict(phi) | prefixed(self.encode_support(model, phi, support), MEMORY)
        yield from repeat(after)

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """The answer from memory; from that of an empty support where nothing has been read."""
        memory = subtree(phi, MEMORY) or self.encode_support(model, phi, no_samples(model.task, x))
        return self.answer(model, phi, memory, x)

    def loss(self, model: Model, phi: Stacked, memory: Stacked, support: Batch, query: Batch) -> PerClient:
        """What θ is trained on: the task's loss of each client's answers on the query."""
        return task_loss(model.task, self.answer(model, phi, memory, query.x), query.y, query.mask)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """Gradient of the query loss through the reading; the weight is the number of query samples."""

        def after_reading(theta: Stacked, query: Batch) -> Tensor:
            memory = self.encode_support(model, theta, episode.support)
            return self.loss(model, theta, memory, episode.support, query)

        loss, update = autograd.value_and_grad(after_reading, stack(meta, len(keys.clients)), episode.query)
        return Report(update, episode.query.counts, state, {"loss": loss})


@dataclass(frozen=True)
class MetricLearner(AmortisedLearner):
    """Answers by comparison with labelled samples: only classes with support can be answered."""

    kinds: ClassVar[tuple[str, ...]] = ("classification",)

    def loss(self, model: Model, phi: Stacked, memory: Stacked, support: Batch, query: Batch) -> PerClient:
        """The task's loss over the query samples whose class has support."""
        return super().loss(model, phi, memory, support, answerable(support, query, model.task.outputs))


def no_samples(task: Task, x: Inputs) -> Batch:
    """An empty support."""
    clients = len(x)
    y = x.new_zeros(clients, 0, task.outputs) if task.kind == "regression" else x.new_zeros(clients, 0).long()
    return Batch(x[:, :0], y, x.new_zeros(clients, 0))


def own_network(inputs: int, hidden: tuple[int, ...], outputs: int) -> MLP:
    """A perceptron of a learner's own: its parameters are the learner's to keep.

    Args:
        inputs: width of what it reads, ≥ 1.
        hidden: widths of its hidden layers, ReLU between.
        outputs: width of what it says, ≥ 1.
    """
    return MLP(hidden=hidden, task=Task("regression", (inputs,), outputs))


def targets(task: Task, support: Batch) -> Outputs:
    """What a sample is labelled with, as the learner's networks read it: an indicator of the class, or the target."""
    hot = support.one_hot(task.outputs).transpose(1, 2) if task.kind == "classification" else support.y
    return hot * support.mask.unsqueeze(2)


def class_shares(support: Batch, classes: int) -> Float[Tensor, "clients classes samples"]:
    """Each sample's share in the mean of its class, 1/n_k; 0 for padding and other classes."""
    hot = support.one_hot(classes) * support.mask.unsqueeze(1)
    return hot / hot.sum(2, keepdim=True).clamp(min=1.0)


def answerable(support: Batch, query: Batch, classes: int) -> Batch:
    """The query without samples whose class has no support: they have no right answer and do not count."""
    known = (class_shares(support, classes).sum(2) > 0).to(query.mask)  # (clients, classes)
    return Batch(query.x, query.y, query.mask * known.gather(1, query.y))
