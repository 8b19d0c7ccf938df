"""Learners whose head is a Gaussian belief: the population's prior over heads, and a person's posterior in closed form.

θ is the model's parameters and, under ``prior/``, what the population has learned about heads; φ holds a belief in its
place, under ``belief/``: the prior at first, the posterior once the support has been seen.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from metapulse.data import Task
from metapulse.empirical_bayes import condition_scaled, for_each
from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.errors import ConfigError
from metapulse.gaussian_head import Features, GaussianHead, Targets
from metapulse.gaussian_head import predictive as predictive_of
from metapulse.methods.base import Learner
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, prefixed, stack, subtree

PRIOR, BELIEF = "prior/", "belief/"


@dataclass(frozen=True)
class GaussianLearner(Learner):
    """φ₀ = the prior, φ₁ = φ₂ = … = the posterior given the support; answers are the belief's means.

    The noise is learned with the head, and so the width of a person's intervals. Targets of a classification are ±1 per
    class, as in R2D2. The belief is computed in float64. From another start the support is added to what that one has
    seen already.
    """

    beside: ClassVar[str] = PRIOR

    worth: float = setting(1.0, "what a support sample counts for; neighbouring windows are alike", gt=0, le=1)
    freedom: float = setting(10.0, "ν, samples that the population's noise counts for in a person's own", gt=0)

    @abstractmethod
    def own(self, width: int, outputs: int) -> dict[str, Tensor]:
        """What θ holds under ``prior/`` at first, for features of a width."""

    @abstractmethod
    def prior(self, meta: Params) -> GaussianHead:
        """The population's belief over heads that θ says, a stack of one, float64."""

    @abstractmethod
    def features(self, model: Model, phi: Stacked, x: Inputs) -> Features:
        """What the head reads, and a constant 1 after it."""

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and the prior before anything is known.

        Raises:
            ConfigError: the learner cannot learn such a task, or the model has no embedding under a linear head.
        """
        task = model.task
        if task.kind not in self.kinds:
            known = " and ".join(self.kinds)
            raise ConfigError("learner.name", type(self).__name__, f"learns {known} only, not {task.kind}")
        params = model.init(rng)
        width = self.features(model, stack(params, 1), torch.zeros(1, 1, *task.features)).shape[2]
        return params | prefixed(self.own(width, task.outputs), PRIOR)

    def start(self, meta: Params, clients: int) -> Stacked:
        """The model's parameters, and the prior as everybody's belief."""
        prior = for_each(self.prior(meta), clients)
        dtype = next(iter(meta.values())).dtype
        return dict(super().start(meta, clients)) | {name: p.to(dtype) for name, p in _written(prior).items()}

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """The prior (or the belief of ``start``); after that, always the posterior."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        yield phi
        with torch.no_grad():
            z, y, mask = self.read(model, phi, support)
            after = _written(condition_scaled(self.belief(phi), z, y, self.worth * mask, self.freedom))
            phi = dict(phi) | {name: p.to(phi[name]) for name, p in after.items()}
        yield from repeat(phi)

    def read(self, model: Model, phi: Stacked, part: Batch) -> tuple[Features, Targets, Tensor]:
        """Features, targets and mask of samples, in float64."""
        z = self.features(model, phi, part.x)
        return z.double(), head_targets(model.task, part).double(), part.mask.double()

    def belief(self, phi: Stacked) -> GaussianHead:
        """The belief that φ holds, in float64."""
        return GaussianHead(**{name: p.double() for name, p in subtree(phi, BELIEF).items()})

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """The belief's means, in the target's unit, or of ±1 per class."""
        return self.features(model, phi, x) @ phi[BELIEF + "mean"]

    def predictive(self, model: Model, phi: Stacked, x: Inputs) -> tuple[Outputs, Outputs] | None:
        """Mean and variance of one reading under the belief; None in classification."""
        if model.task.kind != "regression":
            return None
        mean, variance = predictive_of(self.belief(phi), self.features(model, phi, x).double())
        return mean.to(x), variance.to(x)


@dataclass(frozen=True)
class ClosedForm(GaussianLearner):
    """One that counts instead of descending: features are fixed, and a round's update is what a person has to add."""

    uses_query_set: ClassVar[bool] = False

    scale: float = setting(5.0, "scale of the logits (regression has none)", gt=0)
    reads: Literal["inputs", "embedding"] = setting(
        "inputs", "what the head reads: the inputs, flattened, or the model below its head, as initialised"
    )

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """The prior, and the model below its head where it is read."""
        body = set() if self.reads == "inputs" else {n for n in meta if not n.startswith(PRIOR)} - model.head
        return frozenset(body | {name for name in meta if name.startswith(PRIOR)})

    def features(self, model: Model, phi: Stacked, x: Inputs) -> Features:
        """The inputs, flattened, or their embedding, and 1."""
        return with_one(x.flatten(2) if self.reads == "inputs" else model.embed(phi, x))

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """The belief's means, in the target's unit; times the scale as logits."""
        mean = super().predict(model, phi, x)
        return mean if model.task.kind == "regression" else self.scale * mean


def with_one(z: Features) -> Float[Tensor, "clients n inputs"]:
    """Features, and a constant 1 after them."""
    return torch.cat([z, z.new_ones(*z.shape[:2], 1)], 2)


def head_targets(task: Task, part: Batch) -> Targets:
    """What a linear head is fitted to: the targets themselves, or ±1 per class."""
    if task.kind == "regression":
        return part.y
    return 2.0 * functional.one_hot(part.y, task.outputs).to(part.x) - 1.0


def no_update(model_part: Params, clients: int) -> dict[str, Tensor]:
    """Zeros for what a round leaves alone."""
    return {name: p.new_zeros(clients, *p.shape) for name, p in model_part.items()}


def _written(belief: GaussianHead) -> dict[str, Tensor]:
    return prefixed({"mean": belief.mean, "covariance": belief.covariance, "noise": belief.noise}, BELIEF)


def isotropic(mean: Tensor, noise: Tensor, penalty: float) -> GaussianHead:
    """A belief around a mean with C = I/λ, a stack of one: its posterior is argmin ‖y − Xw‖² + λ‖w − w̄‖².

    Args:
        mean: w̄, (width, outputs).
        noise: s², (outputs,).
        penalty: λ > 0.
    """
    covariance = torch.eye(len(mean)).to(mean) / penalty
    return GaussianHead(mean.unsqueeze(0), covariance.unsqueeze(0), noise.unsqueeze(0))
