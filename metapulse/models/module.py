"""Any ``torch.nn.Module`` of your own as a model: ``functional_call`` under ``vmap``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from metapulse.episodes import Batch, Inputs, Outputs, PerClient
from metapulse.errors import ConfigError
from metapulse.global_generators import seeded
from metapulse.losses import task_loss
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.models.construction import aliases, check_constants, constructed
from metapulse.models.draws import seeds
from metapulse.models.kernels.base import Chain, Expansion
from metapulse.models.kernels.losses import loss_kernel
from metapulse.models.traced import linear_chain
from metapulse.registry import resolve, restricted
from metapulse.settings import setting
from metapulse.trees import Flat, Stacked, flat_stack, pick

PROBED = 16  # samples on which training and evaluation mode are told apart
UNBATCHED = ("batching rule not implemented", "data-dependent control flow", "vmap: it looks like")
LARGEST = 2**26  # parameters that a device makes a module of on a coordinator's instruction


@dataclass(frozen=True)
class TorchModule(Model):
    """A module that maps (samples, *features) to (samples, outputs).

    It is trained in training mode, where dropout draws at addresses of its own, and judged in evaluation mode. Frozen
    parameters (``requires_grad = False``) and buffers are constants: they are not in θ, nothing moves them, and a
    module that draws them at random is refused. So are layers that mix the samples of a batch or keep statistics of
    them (batch-norm): padding would count, and statistics are no parameters that an update could carry.
    """

    draws: ClassVar[bool] = True

    factory: str = setting("torch.nn:Identity", "dotted reference of the module's class or a function that makes it")
    options: Mapping[str, Any] = setting({}, "keyword arguments for the factory")
    head_names: tuple[str, ...] = setting(
        (), "parameters of the last layer (empty: those of the layer that is called last)"
    )

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

    def _make(self, seed: int) -> nn.Module:
        """A fresh module, made under a seed."""
        return constructed(self.factory, lambda: self._factory()(**self.options), seed, self.options)

    @cached_property
    def module(self) -> nn.Module:
        """The module that is called with other parameters in place of its own; its constants are shared by all clients.

        Raises:
            ConfigError: it cannot be made, cannot serve, or is another one in every process.
        """
        torch.backends.mha.set_fastpath_enabled(False)  # the fused path of attention has no derivative
        made = self._make(0)
        check_constants(self.factory, made, self._make(0), self._make(1))
        return made

    @cached_property
    def _training(self) -> nn.Module | None:
        """The same module in training mode, where that makes a difference; None where it does not."""
        train = copy.deepcopy(self.module).train()
        for width in (torch.randn, torch.zeros):  # embeddings read no negative numbers
            with seeded(0), torch.no_grad():
                x = width(PROBED, *self.task.features)
                try:
                    differ = not torch.equal(train(x.clone()), self.module(x.clone()))
                except Exception:
                    continue
            return train if differ else None
        return train if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p for m in train.modules()) else None

    @cached_property
    def chain(self) -> Chain | None:
        """Kernels, where the module is linear layers with ReLU or tanh between them and no more."""
        return None if self._training is not None or self._aliases else linear_chain(self.module, self.task)

    @cached_property
    def _aliases(self) -> Mapping[str, str]:
        return aliases(self.module)

    @cached_property
    def head(self) -> frozenset[str]:
        """``head_names``, or the parameters of the layer that is called last.

        Raises:
            ConfigError: a name that the module has not, or no layer that could be told to be the last.
        """
        names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        unknown = sorted(set(self.head_names) - set(names))
        if unknown:
            raise ConfigError("model.head_names", unknown, f"not in the module (it has {', '.join(names)})")
        return frozenset(self.head_names) or frozenset(self._last_layer(names))

    def _last_layer(self, names: Sequence[str]) -> list[str]:
        """Parameters of the last module to be called that owns some."""
        called: list[str] = []
        owners = {name.rpartition(".")[0] for name in names}
        hooks = [
            part.register_forward_hook(lambda module, inputs, output, name=name: called.append(name))
            for name, part in self.module.named_modules()
            if name in owners - {""}
        ]
        try:
            with torch.no_grad():
                self.module(torch.zeros(2, *self.task.features))
        except Exception:
            called.clear()
        finally:
            for hook in hooks:
                hook.remove()
        if "" in owners or not called:  # parameters used by name, or a module that cannot read zeros
            last = names[-1].rpartition(".")[0]
            if called and last != called[-1]:
                raise ConfigError("model.head_names", list(self.head_names), f"must name the last layer of {names}")
        else:
            last = called[-1]
        return [name for name in names if name.rpartition(".")[0] == last]

    def widened(self, channels: int) -> TorchModule:
        """A module's inputs are its own.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("model.name", "module", "has fixed inputs and cannot read further ones")

    def init(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The module's own initialisation, under a seed drawn from ``rng``; what is frozen is no part of θ."""
        seed = int(rng.integers(2**63))
        _ = self._training  # refuses what could not serve, before a call is counted or timed
        made = self._make(seed)
        return {name: p.detach().clone() for name, p in made.named_parameters() if p.requires_grad}

    def module_output(self, own: Mapping[str, Tensor], x: Tensor) -> object:
        """Whatever the module returns for one client's samples, which may be no tensor at all."""
        return self._call(self.module, own, x)

    def _call(self, module: nn.Module, own: Mapping[str, Tensor], x: Tensor) -> Any:
        """The module under one client's parameters; attention by plain products, which have every derivative."""
        values = {**own, **{name: own[learned] for name, learned in self._aliases.items()}}
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.functional_call(module, values, (x,), tie_weights=False)

    def predict(self, params: Stacked, x: Inputs) -> Outputs:
        """The module under each client's parameters, in evaluation mode."""
        module, _ = self.module, self._aliases  # made here: inside vmap its initialisation could not draw
        try:
            outputs: Tensor = torch.func.vmap(lambda own, inputs: self._call(module, own, inputs))(dict(params), x)
        except RuntimeError as error:  # torch's recurrent layers, or a branch on a value: one client after another
            if not any(words in str(error).lower() for words in UNBATCHED):
                raise
            outputs = torch.stack([self._call(module, pick(params, i), own) for i, own in enumerate(x)])
        return outputs

    def _predict_training(self, params: Stacked, batch: Batch) -> Tensor:
        """The module in training mode, client by client on its own samples, each with its own draws."""
        train = self._training
        if train is None:
            return self.predict(params, batch.x)
        outputs = batch.x.new_zeros(*batch.mask.shape, self.task.outputs)
        with torch.random.fork_rng(devices=[]):
            for i, seed in enumerate(seeds(len(batch.x))):
                rows = batch.mask[i] > 0
                if bool(rows.any()):
                    torch.manual_seed(seed)
                    own = self._call(train, pick(params, i), batch.x[i][rows])
                    outputs = outputs.index_put((torch.tensor(i), rows.nonzero()[:, 0]), own)
        return outputs

    def expand(self, params: Stacked, batch: Batch) -> Expansion:
        """Derivatives by autograd, of the loss in training mode where the module has one; a chain has its own."""
        if self.chain:
            return super().expand(params, batch)

        def loss(own: Stacked, part: Batch) -> Tensor:
            return task_loss(self.task, self._predict_training(own, part), part.y, part.mask)

        return autograd.expand_loss(loss, params, batch)

    def value_and_grad(self, params: Stacked, batch: Batch, into: Flat | None = None) -> tuple[PerClient, Stacked]:
        """Loss (clients,) and ∇L per client: autograd through the module, the loss's own derivative at its end.

        One graph through the stack costs less than ``torch.func.grad`` inside ``vmap``: fewer layers of dispatch.
        """
        if self.chain:
            return super().value_and_grad(params, batch, into)
        w = flat_stack(params)
        leaves = {name: p.detach().requires_grad_() for name, p in w.items()}
        with torch.enable_grad():
            outputs = self._predict_training(leaves, batch)
        with torch.no_grad():
            end = loss_kernel(self.task)
            loss, saved = end.forward(outputs.detach(), batch)
            slopes = end.backward(saved, batch)
            grads = torch.autograd.grad(
                outputs, list(leaves.values()), slopes, allow_unused=True, materialize_grads=True
            )
            gradient = w.blank() if into is None else into
            for own, grad in zip(gradient.values(), grads, strict=True):
                own.copy_(grad)
        return loss, gradient
