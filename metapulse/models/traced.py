"""A module of one's own as a chain of kernels, where it is nothing else: linear layers with ReLU or tanh between them.

Such a module computes what ``mlp`` does, under names of its own, and so can be computed as ``mlp`` is. What a module
does is read off its trace (``torch.fx``) and held against what it answers; whatever is not understood to the last
operation stays a module, with its derivatives by autograd.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metapulse.data import Task
from metapulse.models.kernels.base import Chain, Kernel
from metapulse.models.kernels.dense import Linear, ReLU, Tanh
from metapulse.models.kernels.losses import loss_kernel

PROBES, SAMPLES, NEAR = 2, 8, 1e-5  # θs on which both are asked, samples of each, and how near they come, relatively
NONLINEAR: dict[Any, type[Kernel]] = {
    **dict.fromkeys((torch.relu, torch.relu_, functional.relu, nn.ReLU, "relu", "relu_"), ReLU),
    **dict.fromkeys((torch.tanh, functional.tanh, nn.Tanh, "tanh", "tanh_"), Tanh),
}


def linear_chain(module: nn.Module, task: Task) -> Chain | None:
    """The module as kernels; None where it is not linear layers with a nonlinearity between any two of them.

    Args:
        module: in evaluation mode, which answers as it does in training mode.
        task: what it reads and predicts.
    """
    try:
        return _chain(module, task)
    except Exception:  # a branch on a value, code of which no trace can be made, an operation that is not known
        return None


def _chain(module: nn.Module, task: Task) -> Chain | None:
    flat, kernels = _read(module, torch.fx.symbolic_trace(module).graph.nodes)
    names = [name for kernel in kernels if isinstance(kernel, Linear) for name in (kernel.weight, kernel.bias)]
    learned = [name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad]
    constants = sum(1 for p in module.parameters() if not p.requires_grad) + sum(1 for _ in module.buffers())
    between = [isinstance(kernel, Linear) for kernel in kernels] == [i % 2 == 0 for i in range(len(kernels))]
    one_vector = flat or len(task.features) == 1
    if not (len(kernels) % 2 and between and one_vector and sorted(names) == sorted(learned)) or constants:
        return None
    chain = Chain(tuple(kernels), loss_kernel(task), lambda x: x.flatten(2))
    return chain if _same(module, chain, task) else None


def _read(module: nn.Module, nodes: Iterable[torch.fx.Node]) -> tuple[bool, list[Kernel]]:
    """Whether inputs are flattened first, and the kernels, one after the other.

    Raises:
        ValueError: an operation that is none of these, or reads something else than the one before it.
    """
    flat, kernels, last, counts = False, list[Kernel](), None, set[torch.fx.Node]()
    for node in nodes:
        if node.op == "placeholder" and last is None:
            last = node
        elif _counts_samples(node, last, counts):
            counts.add(node)
        elif not node.args or node.args[0] is not last:
            raise ValueError(f"{node} reads more than the operation before it")
        elif node.op == "output":
            return flat, kernels
        else:
            kernel = _kernel(module, node, counts)
            if isinstance(kernel, str) and kernels:
                raise ValueError(f"{node} flattens what is flat")
            flat, last = flat or isinstance(kernel, str), node
            kernels += [kernel] if isinstance(kernel, Kernel) else []
    raise ValueError("no output")


def _counts_samples(node: torch.fx.Node, last: torch.fx.Node | None, counts: set[torch.fx.Node]) -> bool:
    """Whether a node is the number of samples, or the shape on the way to it: ``x.size(0)``, ``x.shape[0]``."""
    if node.op == "call_method" and node.target == "size":
        return node.args == (last, 0)
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args == (last, "shape")
    return node.target is operator.getitem and node.args[0] in counts and bool(node.args[1] == 0)


def _kernel(module: nn.Module, node: torch.fx.Node, counts: set[torch.fx.Node]) -> Kernel | str | None:
    """A kernel, "flat" for one that flattens, None for one that does nothing.

    Raises:
        ValueError: something else.
    """
    rest, named = node.args[1:], dict(node.kwargs)
    named.pop("inplace", None)
    if node.op == "call_module":
        part = module.get_submodule(str(node.target))
        if part._forward_hooks or part._forward_pre_hooks or rest or named:
            raise ValueError(f"{node} does more than its layer")
        if type(part) is nn.Linear and part.bias is not None:
            return Linear(f"{node.target}.weight", f"{node.target}.bias")
        if type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1):
            return "flat"
        if type(part) is nn.Identity:
            return None
        return NONLINEAR[type(part)]()
    if node.target in (torch.flatten, "flatten") and (rest, named) in (
        ((1,), {}),
        ((1, -1), {}),
        ((), {"start_dim": 1}),
    ):
        return "flat"
    if node.target in ("view", "reshape") and not named and len(rest) == 2 and rest[0] in counts and rest[1] == -1:
        return "flat"
    if rest or named:
        raise ValueError(f"{node} has settings")
    return NONLINEAR[node.target]()


def _same(module: nn.Module, chain: Chain, task: Task) -> bool:
    """Whether both answer the same, under other parameters than the module's own as well."""
    draw = np.random.default_rng(0)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(draw.normal(0, 1, shape).astype(np.float32))

    for _ in range(PROBES):
        theta = {name: normal(*p.shape) for name, p in module.named_parameters()}
        x = normal(SAMPLES, *task.features)
        with torch.no_grad():
            told = torch.func.functional_call(module, theta, (x.clone(),))
            h = chain.view(x[None])
            for kernel in chain.kernels:
                h, _ = kernel.forward({name: p[None] for name, p in theta.items()}, h)
        if told.shape != h[0].shape or not bool((told - h[0]).abs().max() <= NEAR * h.abs().max()):
            return False
    return True
