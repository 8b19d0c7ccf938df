"""The small 2-D CNN of few-shot learning on images: blocks of convolution, normalisation and ReLU; a linear head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Inputs
from metapulse.errors import ConfigError
from metapulse.models.base import Model
from metapulse.models.layers import conv2d, image_norm, uniform_init
from metapulse.settings import LAYERS, WIDTH, setting
from metapulse.trees import Stacked

KERNEL, STRIDE, PADDING = 3, 2, 1


@dataclass(frozen=True)
class CNN2d(Model):
    """Blocks of 3 × 3 convolution of stride 2, layer norm over an image's own numbers, and ReLU; flattened; linear.

    Strides in place of pooling as in MAML's network of Omniglot. Its batch-norm is a layer norm here: statistics of a
    batch would let samples of the query see one another.

    Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, §5.2; the blocks are those of Vinyals et al. 2016,
    arXiv:1606.04080, §4.1.1.
    """

    channels: tuple[int, ...] = setting(
        (64, 64, 64, 64), "output channels of each block", ge=1, le=WIDTH, longest=LAYERS
    )

    def __post_init__(self) -> None:
        if len(self.task.features) != 3:
            raise ConfigError(
                "model.name", "cnn2d", f"needs samples of channels × height × width, not {self.task.features}"
            )
        if not self.channels:
            raise ConfigError("model.channels", self.channels, "at least one block")

    @property
    def width(self) -> int:
        """Numbers that the head reads."""
        height, width = self.task.features[1:]
        for _ in self.channels:
            height, width = (1 + (side + 2 * PADDING - KERNEL) // STRIDE for side in (height, width))
        return self.channels[-1] * height * width

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """U(±1/√fan_in) for weights and biases; norms start as the identity."""
        params: dict[str, Tensor] = {}
        inputs = self.task.features[0]
        for i, outputs in enumerate(self.channels):
            fan_in = inputs * KERNEL**2
            params[f"conv{i}.weight"] = uniform_init(rng, fan_in, outputs, inputs, KERNEL, KERNEL)
            params[f"conv{i}.bias"] = uniform_init(rng, fan_in, outputs)
            params[f"norm{i}.weight"], params[f"norm{i}.bias"] = torch.ones(outputs), torch.zeros(outputs)
            inputs = outputs
        params["head.weight"] = uniform_init(rng, self.width, self.task.outputs, self.width)
        params["head.bias"] = uniform_init(rng, self.width, self.task.outputs)
        return params

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """The last block's numbers."""
        for i in range(len(self.channels)):
            x = conv2d(x, params[f"conv{i}.weight"], params[f"conv{i}.bias"], stride=STRIDE, padding=PADDING)
            x = torch.relu(image_norm(x, params[f"norm{i}.weight"], params[f"norm{i}.bias"]))
        return x.flatten(2)
