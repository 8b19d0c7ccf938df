"""A model is an oracle over stacked parameters: predict, loss, grad, Hessian-vector product, and whole inner loops.

A model never owns parameters and never changes them: they come in, one slice per client, and derivatives go out. Where
a model is a chain of kernels (``metapulse.models.kernels``), they give the derivatives, compiled to the machine where
that can be (``metapulse.models.native``); otherwise autograd does, which is also what all others are tested against
(``metapulse.models.autograd``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.errors import ConfigError
from metapulse.losses import task_loss
from metapulse.models import autograd, loops
from metapulse.models.adjoint import OuterGradient, outer_gradient, outer_gradient_sum
from metapulse.models.kernels.base import Chain, Expansion
from metapulse.models.layers import linear
from metapulse.models.native.conv import convolutional
from metapulse.models.native.dense import dense
from metapulse.models.native.stacks import Compiled
from metapulse.settings import setting
from metapulse.trees import Flat, Params, Stacked


@dataclass(frozen=True)
class Model(ABC):
    """Architecture as settings; subclasses add theirs.

    Args:
        task: shape of inputs and outputs, and which loss.
        precision: of the numbers that compiled code multiplies; what it adds up, and what it keeps, is float32 always.
    """

    #: Whether its calls draw random numbers in training (dropout), at the addresses of ``metapulse.models.draws``.
    draws: ClassVar[bool] = False

    _: KW_ONLY
    task: Task
    precision: Literal["float32", "bfloat16"] = setting(
        "float32",
        "of what compiled code (mlp, sine, cnn1d, a module of linear layers) multiplies; bfloat16: 8 bits, not 24,"
        " faster where the processor has AVX512_BF16; gradients of one client err by about 1 % (docs/dev/speed.md)",
    )

    @abstractmethod
    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Fresh θ, without client axis, float32."""

    def predict(self, params: Stacked, x: Inputs) -> Outputs:
        """Logits or targets of each client's samples under its own parameters: ``embed`` under the linear head."""
        weight, bias = self.head_pair()
        return linear(self.embed(params, x), params[weight], params[bias])

    @property
    def head(self) -> frozenset[str]:
        """Names of the last layer's parameters, those ANIL adapts."""
        return frozenset({"head.weight", "head.bias"})

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """What the linear head reads: ``predict`` is ``embed`` times the head's weight plus its bias.

        Raises:
            ConfigError: the model has no such split (a module of your own).
        """
        raise ConfigError("model.name", type(self).__name__, "has no embedding under a linear head")

    def widened(self, channels: int) -> Model:
        """The same architecture for inputs with ``channels`` more on the first axis of their features.

        Raises:
            ConfigError: its inputs are fixed (a module of your own), or constant ones would break it (encoder1d).
        """
        first, *rest = self.task.features
        return replace(self, task=replace(self.task, features=(first + channels, *rest)))

    def head_pair(self) -> tuple[str, str]:
        """Names of the linear head's weight and bias.

        Raises:
            ConfigError: the head is not one weight and one bias (a module of your own).
        """
        if len(self.head) != 2:
            raise ConfigError(
                "model.name", type(self).__name__, f"has a head of {sorted(self.head)}, not weight and bias"
            )
        weight, bias = sorted(self.head, reverse=True)
        return weight, bias

    def loss(self, params: Stacked, batch: Batch) -> PerClient:
        """Mean loss of each client over its real samples."""
        return task_loss(self.task, self.predict(params, batch.x), batch.y, batch.mask)

    @property
    def chain(self) -> Chain | None:
        """The model as kernels with derivatives of their own; None: autograd."""
        return None

    @cached_property
    def compiled(self) -> Compiled | None:
        """The chain in C, where it is of a kind that is written in C and this machine can compile.

        Raises:
            ConfigError: it is not, and ``precision`` asks for what only compiled code does.
        """
        found: Compiled | None = None
        if self.chain is not None:
            time, precision = self.task.features[-1], self.precision
            found = dense(self.chain, precision) or convolutional(self.chain, time, precision)
        if found is None and self.precision != "float32":
            raise ConfigError(
                "model.precision",
                self.precision,
                "needs mlp, sine, cnn1d or a module of linear layers, a C compiler, and AVX512_BF16: use float32",
            )
        return found

    def expand(self, params: Stacked, batch: Batch) -> Expansion:
        """Loss, gradient and Hessian-vector products of each client's loss around its own parameters.

        Args:
            params: where; (clients, *shape) per name.
        """
        return self.chain.expand(params, batch) if self.chain else autograd.expand_loss(self.loss, params, batch)

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """Loss (clients,) and ∇L per client, in the shape of ``params``.

        Args:
            params: where; (clients, *shape) per name.
            into: a tree of the same layout that the gradient may overwrite, so that a loop needs only one.
        """
        if code := self._code(params):
            return code.gradient(params, batch, into)
        if self.chain:
            expansion = self.chain.expand(params, batch, into)
            return expansion.loss, expansion.grad
        return autograd.value_and_grad(self.loss, params, batch)

    def grad(self, params: Stacked, batch: Batch) -> Stacked:
        """∇L per client, in the shape of ``params``."""
        return self.value_and_grad(params, batch)[1]

    def hvp(self, params: Stacked, batch: Batch, vector: Stacked) -> Stacked:
        """∇²L v per client: Hessian of each client's loss at its own parameters, times its own vector.

        Args:
            params: where; (clients, *shape) per name.
            vector: v, in the shape of ``params``.
        """
        return self.expand(params, batch).hvp(vector)

    def run_sgd(self, params: Stacked, batches: Iterator[Batch], lr: float, steps: int) -> tuple[Flat, PerClient]:
        """φ_K after K steps φ ← φ − α ∇L(φ), and the sum of the batch losses on the way; see ``loops.run_sgd``."""
        return loops.run_sgd(self, self._code(params), params, batches, lr, steps)

    def answers_of_sgd(
        self,
        params: Stacked,
        batches: Iterator[Batch],
        lr: float,
        steps: Sequence[int],
        x: Inputs,
        one_batch: bool = False,
    ) -> Sequence[Outputs] | None:
        """What ``run_sgd`` answers to x after each of the steps; None: it has to be asked step by step."""
        return loops.answers_of_sgd(self._code(params), params, batches, lr, steps, x, one_batch)

    def sgd_displacement(
        self, params: Stacked, batches: Iterator[Batch], lr: float, steps: int
    ) -> tuple[Flat, PerClient]:
        """φ₀ − φ_K of ``run_sgd``, and the sum of the batch losses on the way."""
        return loops.sgd_displacement(self, self._code(params), params, batches, lr, steps)

    def guarded_sgd(
        self, params: Stacked, rates: Params, batch: Batch, steps: int, free: int
    ) -> tuple[Stacked, PerClient]:
        """φ_K of steps with a rate per parameter, those after ``free`` only if the loss does not rise, and it."""
        return loops.guarded_sgd(self, self._code(params), params, rates, batch, steps, free)

    def adapted_sgd(
        self, params: Stacked, batches: Sequence[Iterator[Batch]], rates: tuple[float, float], delta: float, steps: int
    ) -> tuple[Stacked, PerClient]:
        """θ − w_K of SGD on the loss after one adaptation step, and the sum of those losses; ``loops.adapted_sgd``."""
        return loops.adapted_sgd(self, self._code(params), params, batches, rates, delta, steps)

    def outer_gradient(
        self, params: Stacked, rates: Params, support: Sequence[Batch], query: Batch, learned: bool = False
    ) -> OuterGradient:
        """dL_query/dθ after an inner step on each support batch, and dL_query/dα; see ``adjoint.outer_gradient``."""
        return outer_gradient(self, self._code(params), params, rates, support, query, learned)

    def outer_gradient_sum(
        self, params: Stacked, rates: Params, support: Sequence[Batch], query: Batch, shares: PerClient
    ) -> tuple[PerClient, Params] | None:
        """Losses, and the sum of ``outer_gradient`` over the clients, each times its share; None: not to be had so."""
        return outer_gradient_sum(self._code(params), params, rates, support, query, shares)

    def _code(self, params: Stacked) -> Compiled | None:
        """The compiled form, where it can work on numbers of this type and place."""
        return self.compiled if self.compiled and self.compiled.takes(params) else None
