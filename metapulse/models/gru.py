"""A gated recurrent unit for series: reads a window in time order, predicts from its last hidden state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Inputs, PerClient
from metapulse.errors import ConfigError
from metapulse.models.base import Model
from metapulse.models.kernels.base import Chain
from metapulse.models.kernels.dense import Linear
from metapulse.models.kernels.losses import loss_kernel
from metapulse.models.kernels.recurrent import Gated
from metapulse.models.layers import gru, uniform_init
from metapulse.settings import WIDTH, setting
from metapulse.trees import Flat, Stacked, flat_stack

PATH_BYTES = 48 * 2**20  # of a stack's way through time: more of it costs page faults and misses the outer cache


@dataclass(frozen=True)
class GRU(Model):
    """One GRU layer and a linear head; windows of shape (channels, time), or (time,) for one channel."""

    hidden: int = setting(32, "width of the hidden state", ge=1, le=WIDTH)

    def __post_init__(self) -> None:
        if len(self.task.features) not in (1, 2):
            raise ConfigError("model.name", "gru", f"needs samples of [channels ×] time, not {self.task.features}")

    @cached_property
    def chain(self) -> Chain:
        """The recurrent layer and the head."""
        view = (lambda x: x) if len(self.task.features) == 2 else (lambda x: x.unsqueeze(2))
        return Chain((Gated("gru"), Linear("head.weight", "head.bias")), loss_kernel(self.task), view)

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """Loss (clients,) and ∇L per client, a block of clients after the other so that the cache holds its path."""
        clients, samples = batch.mask.shape
        floats = samples * self.task.features[-1] * (5 * self.hidden + math.prod(self.task.features[:-1]) + 1)
        blocks = math.ceil(clients * floats * batch.x.element_size() / PATH_BYTES)
        if blocks <= 1 or batch.x.is_cuda:
            return super().value_and_grad(params, batch, into)
        parts = []
        for rows in torch.arange(clients).tensor_split(min(blocks, clients)):
            own = slice(int(rows[0]), int(rows[-1]) + 1)
            part = Batch(batch.x[own], batch.y[own], batch.mask[own])
            parts.append(super().value_and_grad({name: p[own] for name, p in params.items()}, part))
        gradient = {name: torch.cat([grad[name] for _, grad in parts]) for name in params}
        return torch.cat([loss for loss, _ in parts]), flat_stack(gradient)

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """U(±1/√hidden), as ``torch.nn.GRU`` and ``torch.nn.Linear``."""
        h, gates = self.hidden, 3 * self.hidden
        channels = self.task.features[0] if len(self.task.features) == 2 else 1
        return {
            "gru.weight_ih": uniform_init(rng, h, gates, channels),
            "gru.weight_hh": uniform_init(rng, h, gates, h),
            "gru.bias_ih": uniform_init(rng, h, gates),
            "gru.bias_hh": uniform_init(rng, h, gates),
            "head.weight": uniform_init(rng, h, self.task.outputs, h),
            "head.bias": uniform_init(rng, h, self.task.outputs),
        }

    def embed(self, params: Stacked, x: Inputs) -> Float[Tensor, "clients samples width"]:
        """The last hidden state."""
        series = x.transpose(2, 3) if x.dim() == 4 else x.unsqueeze(3)  # (clients, samples, time, channels)
        weights = (params[f"gru.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        return gru(series, *weights)
