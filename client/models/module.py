"""Any ``torch.nn.Module`` of your own as a model: ``functional_call`` under ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from client.episodes import Batch
from client.errors import ConfigError
from client.models.base import Model
from client.models.kernels.losses import loss_of
from client.registry import resolve, restricted
from client.settings import setting
from client.trees import Flat, Stacked, flat_stack, pick

LARGEST = 2**26  # parameters that a device makes a module of at somebody else's word


@dataclass(frozen=True)
class TorchModule(Model):
    """A module that maps (samples, *features) to (samples, outputs).

    It runs in evaluation mode, so dropout is off. Layers that mix the samples of a batch or keep statistics of them
    (batch-norm) are refused: padding would count, and statistics are no parameters that an update could carry.
    """

    factory: str = setting("torch.nn:Identity", "dotted reference of the module's class or a function that makes it")
    options: Mapping[str, Any] = setting({}, "keyword arguments for the factory")
    head_names: tuple[str, ...] = setting((), "parameters of the last layer (empty: the last module that has any)")

    def _factory(self) -> Callable[..., Any]:
        """What makes the module, looked at before it is called.

        Raises:
            ConfigError: it is neither a class of modules nor a function written in Python; or a device does not allow
                it, or what it makes has more parameters than a device may be asked for.
        """
        found = resolve(self.factory, "model.factory")
        sound = issubclass(found, nn.Module) if isinstance(found, type) else isinstance(found, FunctionType)
        if not sound:
            raise ConfigError("model.factory", self.factory, "must be a torch.nn.Module, or a function that makes one")
        made: Callable[..., Any] = found
        if restricted():
            with torch.device("meta"):  # shapes without memory
                tried = made(**self.options)
            count = sum(p.numel() for p in tried.parameters()) if isinstance(tried, nn.Module) else 0
            if count > LARGEST:
                raise ConfigError("model.options", dict(self.options), f"{count} parameters; at most {LARGEST}")
        return made

    def _make(self) -> nn.Module:
        """A fresh module, or the reason why it cannot serve.

        Raises:
            ConfigError: the factory cannot be called so, or makes what is not a module, has no parameters, or mixes
                the samples of a batch.
        """
        try:
            made = self._factory()(**self.options)
        except (TypeError, ValueError) as error:
            raise ConfigError("model.options", dict(self.options), f"{self.factory} refuses them ({error})") from None
        if not isinstance(made, nn.Module):
            raise ConfigError("model.factory", self.factory, "must make a torch.nn.Module")
        if not any(True for _ in made.parameters()):
            raise ConfigError("model.factory", self.factory, "has no parameters to learn")
        for name, part in made.named_modules():
            statistics = getattr(part, "running_mean", None) is not None
            if statistics or isinstance(part, nn.modules.batchnorm._BatchNorm):
                raise ConfigError("model.factory", self.factory, f"mixes samples ({name}: {part}); use group norm")
        return made.eval()

    @cached_property
    def module(self) -> nn.Module:
        """The module that is called with other parameters in place of its own."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self._make()

    @property
    def head(self) -> frozenset[str]:
        """``head_names``, or the parameters of the last module that owns some."""
        names = [name for name, _ in self.module.named_parameters()]
        if not self.head_names:
            last = names[-1].rpartition(".")[0]
            return frozenset(name for name in names if name.rpartition(".")[0] == last)
        unknown = sorted(set(self.head_names) - set(names))
        if unknown:
            raise ConfigError("model.head_names", unknown, f"not in the module (it has {', '.join(names)})")
        return frozenset(self.head_names)

    def widened(self, channels: int) -> TorchModule:
        """A module's inputs are its own.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("model.name", "module", "has fixed inputs and cannot read further ones")

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The module's own initialisation, under a seed drawn from ``rng``."""
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            made = self._make()
        return {name: p.detach().clone() for name, p in made.named_parameters()}

    def predict(
        self, params: Stacked, x: Float[Tensor, "clients samples *features"]
    ) -> Float[Tensor, "clients samples outputs"]:
        """The module under each client's parameters."""
        module = self.module  # made here: inside vmap its initialisation could not draw

        def call(own: dict[str, Tensor], inputs: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(module, own, (inputs,))
            return out

        try:
            outputs: Tensor = torch.func.vmap(call)(dict(params), x)
        except RuntimeError as error:  # torch cannot batch its own recurrent layers: one client after another
            if "batching rule not implemented" not in str(error).lower():
                raise
            outputs = torch.stack([call(pick(params, i), own) for i, own in enumerate(x)])
        return outputs

    def value_and_grad(
        self, params: Stacked, batch: Batch, into: Flat | None = None
    ) -> tuple[Float[Tensor, " clients"], Stacked]:
        """Loss (clients,) and ∇L per client: autograd through the module, the loss's own derivative at its end.

        One graph through the stack costs less than ``torch.func.grad`` inside ``vmap``: fewer layers of dispatch.
        """
        w = flat_stack(params)
        leaves = {name: p.detach().requires_grad_() for name, p in w.items()}
        with torch.enable_grad():
            outputs = self.predict(leaves, batch.x)
        with torch.no_grad():
            end = loss_of(self.task)
            loss, saved = end.forward(outputs.detach(), batch)
            slopes = end.backward(saved, batch)
            grads = torch.autograd.grad(
                outputs, list(leaves.values()), slopes, allow_unused=True, materialize_grads=True
            )
            gradient = w.blank() if into is None else into
            for own, grad in zip(gradient.values(), grads, strict=True):
                own.copy_(grad)
        return loss, gradient
