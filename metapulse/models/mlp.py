"""Multilayer perceptrons: a general one, and the sine regressor of the meta-learning papers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Inputs
from metapulse.models.base import Model
from metapulse.models.kernels.base import Chain, Kernel
from metapulse.models.kernels.dense import Linear, ReLU, Tanh
from metapulse.models.kernels.losses import loss_kernel
from metapulse.models.layers import linear, truncated_normal_init, uniform_init
from metapulse.settings import LAYERS, WIDTH, setting
from metapulse.trees import Stacked

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class MLP(Model):
    """Fully connected layers; inputs of any shape are flattened. No hidden layer makes it (multinomial) linear."""

    hidden: tuple[int, ...] = setting(
        (64, 32), "widths of the hidden layers (empty: a linear model)", ge=1, le=WIDTH, longest=LAYERS
    )
    activation: Literal["relu", "tanh"] = setting("relu", "nonlinearity")
    start: Literal["uniform", "truncated_normal", "zeros"] = setting(
        "uniform",
        "initial weights: U(±1/√fan_in) as torch.nn, truncated N(0, .01²) with zero biases as MAML, or zeros",
    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of every layer from input to output."""
        return (math.prod(self.task.features), *self.hidden, self.task.outputs)

    @property
    def head(self) -> frozenset[str]:
        """The last layer."""
        last = len(self.widths) - 2
        return frozenset({f"layer{last}.weight", f"layer{last}.bias"})

    @cached_property
    def chain(self) -> Chain:
        """Linear layers, the nonlinearity between them."""
        kernels: list[Kernel] = []
        for i in range(len(self.widths) - 1):
            kernels += [ReLU() if self.activation == "relu" else Tanh()] if i else []
            kernels.append(Linear(f"layer{i}.weight", f"layer{i}.bias"))
        return Chain(tuple(kernels), loss_kernel(self.task), lambda x: x.flatten(2))

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Weights as ``start`` says."""
        params: dict[str, Tensor] = {}
        for i, (inputs, outputs) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            if self.start == "uniform":
                weight, bias = uniform_init(rng, inputs, outputs, inputs), uniform_init(rng, inputs, outputs)
            elif self.start == "truncated_normal":
                weight, bias = truncated_normal_init(rng, 0.01, outputs, inputs), torch.zeros(outputs)
            else:
                weight, bias = torch.zeros(outputs, inputs), torch.zeros(outputs)
            params[f"layer{i}.weight"], params[f"layer{i}.bias"] = weight, bias
        return params

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """The last hidden layer (the flat input where there is none)."""
        x = x.flatten(2)
        for i in range(len(self.hidden)):
            x = ACTIVATIONS[self.activation](linear(x, params[f"layer{i}.weight"], params[f"layer{i}.bias"]))
        return x


@dataclass(frozen=True)
class SineMLP(MLP):
    """1-40-40-1 with ReLU, started as in MAML's sine experiment (Finn et al. 2017, arXiv:1703.03400, §5.1)."""

    hidden: tuple[int, ...] = setting((40, 40), "widths of the hidden layers", ge=1, le=WIDTH, longest=LAYERS)
    start: Literal["uniform", "truncated_normal", "zeros"] = setting("truncated_normal", "initial weights, see the mlp")
