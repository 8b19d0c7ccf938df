"""One call of a user's module on real samples before round 1: what it returns, and that it keeps clients apart.

Stacks of clients, padding and second calls on the same samples are what the engines rely on, and what a module of
a user's own may break in ways that no number would show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.episodes import Batch, full_batch
from metapulse.errors import ConfigError, MetapulseError
from metapulse.models.module import TorchModule
from metapulse.rng import generator
from metapulse.trees import stack

TRIED = 50  # clients asked for samples before the probe is left out
SAMPLES = 8
AROUND = (0.0, 0.1, 1.0)  # standard deviations of the points around θ at which gradients are looked at
TOLERANCE = 1e-4  # of the largest output: a stack adds in another order than a single call


def probe_module(work: ClientExecutor, clients: Iterable[int], protected: str = "") -> list[str]:
    """Refuse a module that cannot serve, with the reason in one line; other models are ours.

    Args:
        clients: partition ids; the samples of the first that has some are used.
        protected: the section that adds noise to updates or rounds them, "" for none.

    Returns:
        A line on parameters that get no gradient, if there are such.

    Raises:
        ConfigError: names ``model.factory``, what came back and what is needed; or parameters without a gradient that
            would be noise alone in the end.
    """
    model = work.model
    if not isinstance(model, TorchModule):
        return []
    params = {name: p[None] for name, p in model.init(generator(work.spec.seed, "init")).items()}
    batch = _samples(work, clients)
    if batch is None:
        return []
    _check(model, params, batch, str(work.spec.transform.get("name")))
    if not (names := without_gradient(model, params, batch)):
        return []
    what = f"{', '.join(names)} get no gradient: forward does not use them, or not in a way that can be differentiated"
    if protected:
        remedy = "freeze them by requires_grad_(False), or use them"
        raise ConfigError("model.factory", model.factory, f"{what}; {protected} would add noise to them; {remedy}")
    return [f"model: {what}; they stay as they were initialised"]


def without_gradient(model: TorchModule, params: Mapping[str, Tensor], batch: Batch) -> list[str]:
    """Names of parameters whose gradient is 0 in every number.

    It is so at θ and at points around it: what is multiplied by a parameter that starts at 0 has none at θ alone.

    Args:
        model: a module that serves.
        params: θ, a stack of one.
        batch: real samples.
    """
    rng, still = torch.Generator().manual_seed(0), set(params)
    for spread in AROUND:
        near = {name: p + spread * torch.randn(p.shape, generator=rng) for name, p in params.items()}
        still -= {name for name, g in model.value_and_grad(near, batch)[1].items() if bool(g.any())}
        if not still:
            break
    return [name for name in params if name in still]


def _samples(work: ClientExecutor, clients: Iterable[int]) -> Batch | None:
    """Some samples of the first client that has any, as the model reads them."""
    for _, client in zip(range(TRIED), clients, strict=False):
        try:
            x, y = work.everything(client)
        except MetapulseError:
            continue
        return full_batch(x[None, :SAMPLES], y[None, :SAMPLES])
    return None


def _check(model: TorchModule, params: Mapping[str, Tensor], batch: Batch, transform: str) -> None:
    x, before = batch.x, batch.x.clone()
    shape = tuple(x.shape[1:])

    def refuse(reason: str) -> ConfigError:
        return ConfigError("model.factory", model.factory, reason)

    hint = "" if transform == "none" else f"; [transform] {transform} made them, transform.name = 'none' leaves them"
    try:
        with torch.no_grad():
            alone = model.module_output({name: p[0] for name, p in params.items()}, x[0])
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        inputs = f"float32 inputs of shape {shape}{hint}"
        raise refuse(f"cannot be called on {inputs} ({type(error).__name__}: {said})") from None
    if not torch.equal(x, before):
        raise refuse("writes to its input in place; work on a copy")
    needed = f"a tensor of shape (samples, {model.task.outputs})"
    if not isinstance(alone, Tensor):
        raise refuse(f"returns {type(alone).__name__}; needed is {needed}")
    if tuple(alone.shape) != (shape[0], model.task.outputs):
        what = "classes" if model.task.kind == "classification" else "targets"
        came = f"returns shape {tuple(alone.shape)} for {shape[0]} samples"
        raise refuse(f"{came}; needed is {needed}, one for each of the {what}")
    if model.task.kind == "classification" and _probabilities(alone):
        raise refuse("returns probabilities when it is not training; cross-entropy needs logits, without softmax")
    try:
        padded = torch.cat([x, torch.zeros_like(x)], 1).repeat(2, *[1] * (x.ndim - 1))
        with torch.no_grad():
            stacked = model.predict(stack({name: p[0] for name, p in params.items()}, 2), padded)
        model.value_and_grad(params, batch)
    except Exception as error:
        raise refuse(_unstacked(error)) from None
    scale = float(alone.abs().max()) + 1e-6
    if not float((stacked[:, : shape[0]] - alone).abs().max()) <= TOLERANCE * scale:
        raise refuse("gives other numbers when there are more samples or clients; it must treat each sample by itself")
    if not torch.equal(x, before):
        raise refuse("writes to its input in place; work on a copy")


def _unstacked(error: Exception) -> str:
    """Why a module cannot be called, or differentiated, in a stack of clients, where one client alone can."""
    said = " ".join(str(error).split())
    if "random operation" in said:
        return (
            "draws random numbers when it is not training too; draw them where self.training is true, as nn.Dropout and"
            " functional.dropout(x, p, self.training) do"
        )
    if lacking := re.search(r"do not yet support (?:aten::)?(\w+)", said):
        return f"calls {lacking[1]}, which PyTorch cannot compute for a stack of clients (torch.func.vmap); replace it"
    return f"cannot be differentiated in a stack of clients ({type(error).__name__}: {said[:200]})"


def _probabilities(outputs: Tensor) -> bool:
    """Whether outputs are never negative and add up to one, for every sample."""
    return bool((outputs >= 0).all() and ((outputs.sum(-1) - 1).abs() < 1e-4).all())
