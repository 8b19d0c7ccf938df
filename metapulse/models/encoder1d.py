"""An encoder for motion windows: convolutions, then a normalised embedding beside plain statistics of the window.

Statistics (mean and sd of every channel) carry over to devices the convolutions have never seen; the embedding is
what they cannot say. Learned gains weigh one against the other.
"""

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
from metapulse.models.kernels.compose import Parallel, Series
from metapulse.models.kernels.conv import blocks
from metapulse.models.kernels.dense import Linear
from metapulse.models.kernels.losses import loss_kernel
from metapulse.models.kernels.norm import LayerNorm
from metapulse.models.kernels.pooling import MeanMaxPool, StatisticsPool
from metapulse.models.layers import conv1d, layer_norm, linear, max_pool, uniform_init
from metapulse.settings import LAYERS, WIDTH, setting
from metapulse.trees import Stacked


@dataclass(frozen=True)
class Encoder1d(Model):
    """Convolutions of same size with ReLU, max-pooling by two between; mean and maximum over time; embedding; head."""

    channels: tuple[int, ...] = setting(
        (32, 64, 64), "output channels of each convolution", ge=1, le=WIDTH, longest=LAYERS
    )
    kernels: tuple[int, ...] = setting((5, 5, 3), "width of each convolution, odd", ge=1, le=WIDTH, longest=LAYERS)
    embedding: int = setting(64, "width of the normalised embedding", ge=1, le=WIDTH)

    def __post_init__(self) -> None:
        if len(self.task.features) != 2:
            raise ConfigError("model.name", "encoder1d", f"needs samples of channels × time, not {self.task.features}")
        if len(self.kernels) != len(self.channels) or not self.channels or any(k % 2 == 0 for k in self.kernels):
            raise ConfigError("model.kernels", self.kernels, "one odd width for each of model.channels")
        time = self.task.features[1]
        if time >> (len(self.channels) - 1) < 1 or time < 2:  # one sample has no standard deviation
            raise ConfigError("model.channels", self.channels, f"too deep for windows of {time} samples (at least 2)")

    @property
    def width(self) -> int:
        """Width of what the head reads."""
        return self.embedding + 2 * self.task.features[0]

    @cached_property
    def chain(self) -> Chain:
        """Convolutions channels-last and the embedding, beside the statistics; head."""
        time = self.task.features[1]
        kernels, view = blocks(time, self.kernels, same=True)
        embedding = (MeanMaxPool(), Linear("embed.weight", "embed.bias"), LayerNorm("norm.weight", "norm.bias"))
        statistics = StatisticsPool("statistics.log_gain", self.kernels[0] // 2, time)
        both = Parallel(Series((*kernels, *embedding)), statistics)
        return Chain((both, Linear("head.weight", "head.bias")), loss_kernel(self.task), view)

    def widened(self, channels: int) -> Encoder1d:
        """Constant channels have a standard deviation of zero, where it has no slope.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("model.name", "encoder1d", "cannot read further constant channels: their sd has no slope")

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """U(±1/√fan_in) for weights; statistics start at a gain of exp(−½)."""
        params: dict[str, Tensor] = {}
        inputs = self.task.features[0]
        for i, (outputs, kernel) in enumerate(zip(self.channels, self.kernels, strict=True)):
            params[f"conv{i}.weight"] = uniform_init(rng, inputs * kernel, outputs, inputs, kernel)
            params[f"conv{i}.bias"] = uniform_init(rng, inputs * kernel, outputs)
            inputs = outputs
        params["embed.weight"] = uniform_init(rng, 2 * inputs, self.embedding, 2 * inputs)
        params["embed.bias"] = uniform_init(rng, 2 * inputs, self.embedding)
        params["norm.weight"], params["norm.bias"] = torch.ones(self.embedding), torch.zeros(self.embedding)
        params["statistics.log_gain"] = torch.full((2 * self.task.features[0],), -0.5)
        params["head.weight"] = uniform_init(rng, self.width, self.task.outputs, self.width)
        params["head.bias"] = uniform_init(rng, self.width, self.task.outputs)
        return params

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """Normalised embedding, then the statistics (cut off at ±5) times their gains."""
        h = x
        for i, kernel in enumerate(self.kernels):
            h = max_pool(h, 2) if i else h
            h = torch.relu(conv1d(h, params[f"conv{i}.weight"], params[f"conv{i}.bias"], padding=kernel // 2))
        h = torch.cat([h.mean(3), h.amax(3)], 2)
        h = linear(h, params["embed.weight"], params["embed.bias"])
        h = layer_norm(h, params["norm.weight"], params["norm.bias"])
        sd = x.std(3) if x.numel() else x.mean(3)  # of no windows at all there is none, and torch warns
        statistics = torch.cat([x.mean(3), sd], 2).clamp(-5.0, 5.0)
        return torch.cat([h, statistics * params["statistics.log_gain"].exp().unsqueeze(1)], 2)
