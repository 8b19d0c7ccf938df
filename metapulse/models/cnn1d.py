"""A small 1-D CNN for motion windows: conv–relu–pool blocks, a global mean over time, a linear head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Inputs
from metapulse.errors import ConfigError
from metapulse.models.base import Model
from metapulse.models.kernels.base import Chain
from metapulse.models.kernels.conv import blocks
from metapulse.models.kernels.dense import Linear
from metapulse.models.kernels.losses import loss_kernel
from metapulse.models.kernels.pooling import MeanPool
from metapulse.models.layers import conv1d, max_pool, uniform_init
from metapulse.settings import LAYERS, WIDTH, setting
from metapulse.trees import Stacked


@dataclass(frozen=True)
class CNN1d(Model):
    """Blocks of valid convolution, ReLU and max-pooling by two (not after the last); then mean over time, linear.

    No batch-norm: its running statistics would mix people.
    """

    channels: tuple[int, ...] = setting((32, 64), "output channels of each convolution", ge=1, le=WIDTH, longest=LAYERS)
    kernel: int = setting(5, "width of every convolution, in samples", ge=1, le=WIDTH)

    def __post_init__(self) -> None:
        if len(self.task.features) != 2:
            raise ConfigError(
                "model.name", "cnn1d", f"needs samples of channels × time, not {self.task.features}: choose mlp"
            )
        time = self.task.features[1]
        for i in range(len(self.channels)):
            time = (time // 2 if i else time) - self.kernel + 1
        if time < 1 or not self.channels:
            raise ConfigError("model.kernel", self.kernel, f"too wide for windows of {self.task.features[1]} samples")

    @cached_property
    def chain(self) -> Chain:
        """Convolutions channels-last, mean over time, head."""
        kernels, view = blocks(self.task.features[1], (self.kernel,) * len(self.channels), same=False)
        return Chain((*kernels, MeanPool(), Linear("head.weight", "head.bias")), loss_kernel(self.task), view)

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """U(±1/√fan_in) everywhere."""
        params: dict[str, Tensor] = {}
        inputs = self.task.features[0]
        for i, outputs in enumerate(self.channels):
            fan_in = inputs * self.kernel
            params[f"conv{i}.weight"] = uniform_init(rng, fan_in, outputs, inputs, self.kernel)
            params[f"conv{i}.bias"] = uniform_init(rng, fan_in, outputs)
            inputs = outputs
        params["head.weight"] = uniform_init(rng, inputs, self.task.outputs, inputs)
        params["head.bias"] = uniform_init(rng, inputs, self.task.outputs)
        return params

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """Mean over time of the last convolution."""
        for i in range(len(self.channels)):
            x = max_pool(x, 2) if i else x
            x = torch.relu(conv1d(x, params[f"conv{i}.weight"], params[f"conv{i}.bias"]))
        return x.mean(3)
