"""Any ``torch.nn.Module`` of your own as a model: ``functional_call`` under ``vmap``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from client.errors import ConfigError
from client.models.base import Model
from client.registry import resolve
from client.settings import setting
from client.trees import Stacked


@dataclass(frozen=True)
class TorchModule(Model):
    """A module that maps (samples, *features) to (samples, outputs).

    It runs in evaluation mode, so dropout is off. Layers that keep running statistics over samples (batch-norm) are
    refused: the statistics would mix people, and are not parameters that an update could carry.
    """

    factory: str = setting("torch.nn:Identity", "dotted reference of the module's class or a function that makes it")
    options: Mapping[str, Any] = setting({}, "keyword arguments for the factory")
    head_names: tuple[str, ...] = setting((), "parameters of the last layer (empty: the last module that has any)")

    @cached_property
    def module(self) -> nn.Module:
        """The module that is called with other parameters in place of its own."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = resolve(self.factory, "model.factory")(**self.options)
        if not isinstance(made, nn.Module):
            raise ConfigError("model.factory", self.factory, "must make a torch.nn.Module")
        for name, _ in made.named_buffers():
            if name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked"):
                raise ConfigError("model.factory", self.factory, f"keeps running statistics ({name}); use group norm")
        return made.eval()

    @property
    def head(self) -> frozenset[str]:
        """``head_names``, or the parameters of the last module that owns some."""
        if self.head_names:
            unknown = set(self.head_names) - {name for name, _ in self.module.named_parameters()}
            if unknown:
                raise ConfigError("model.head_names", sorted(unknown), "no such parameters in the module")
            return frozenset(self.head_names)
        last = [name.rpartition(".")[0] for name, _ in self.module.named_parameters()][-1]
        return frozenset(name for name, _ in self.module.named_parameters() if name.rpartition(".")[0] == last)

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The module's own initialisation, under a seed drawn from ``rng``."""
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            made = resolve(self.factory, "model.factory")(**self.options)
        return {name: p.detach().clone() for name, p in made.named_parameters()}

    def predict(
        self, params: Stacked, x: Float[Tensor, "clients samples *features"]
    ) -> Float[Tensor, "clients samples outputs"]:
        """The module under each client's parameters."""

        def call(own: dict[str, Tensor], inputs: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(self.module, own, (inputs,))
            return out

        outputs: Tensor = torch.func.vmap(call)(dict(params), x)
        return outputs
