"""Parameter trees: a mapping from name to tensor, and the little algebra learners need.

``Params`` has no client axis (θ, what the server owns). ``Stacked`` has the client as the leading axis of every
tensor: thousands of clients are one stack, one device is a stack of one. No function here changes its arguments.

A tree may be a plain dict, or ``Flat``: then its tensors are views of one buffer, and whatever is done to all of them
is done in one operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

Params: TypeAlias = Mapping[str, Tensor]
Stacked: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Where each tensor of a tree lies in a flat buffer: one after the other, in the tree's order.

    Args:
        names: of the tensors.
        shapes: of the tensors, without client axis.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers in each tensor."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def size(self) -> int:
        """Numbers in all of them, P."""
        return sum(self.sizes)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors of a buffer (…, P)."""
        lead = buffer.shape[:-1]
        parts = buffer.split_with_sizes(self.sizes, -1)
        return {
            name: part if len(shape) == 1 else part.view((*lead, *shape))
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Layout:
    return Layout(names, shapes)  # the same object for the same layout, so that comparing is cheap


class Flat(Mapping[str, Tensor]):
    """A tree in one buffer.

    Args:
        buffer: (P,) for θ, (clients, P) for a stack.
        layout: what lies where.
    """

    __slots__ = ("_views", "buffer", "layout")

    def __init__(self, buffer: Tensor, layout: Layout) -> None:
        self.buffer, self.layout = buffer, layout
        self._views: dict[str, Tensor] | None = None

    @property
    def views(self) -> dict[str, Tensor]:
        """The tensors by name; writing into them writes into the buffer."""
        if self._views is None:
            self._views = self.layout.views(self.buffer)
        return self._views

    def __getitem__(self, name: str) -> Tensor:
        return self.views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.names)

    def __len__(self) -> int:
        return len(self.layout.names)

    def like(self, buffer: Tensor) -> Flat:
        """Another buffer of the same layout."""
        return Flat(buffer, self.layout)


def flat(params: Params) -> Flat:
    """θ in one buffer; itself if it is already."""
    if isinstance(params, Flat):
        return params
    layout = _layout(tuple(params), tuple(tuple(p.shape) for p in params.values()))
    return Flat(torch.cat([p.reshape(-1) for p in params.values()]), layout)


def flat_stack(stacked: Stacked) -> Flat:
    """A stack in one buffer (clients, P); itself if it is already."""
    if isinstance(stacked, Flat):
        return stacked
    layout = _layout(tuple(stacked), tuple(tuple(p.shape[1:]) for p in stacked.values()))
    return Flat(torch.cat([p.reshape(len(p), -1) for p in stacked.values()], 1), layout)


def _each(function: Callable[..., Tensor], first: Params, *others: Params) -> Params:
    """Apply to every tensor, or to the buffers where all the trees are flat and alike."""
    if isinstance(first, Flat) and all(isinstance(o, Flat) and o.layout is first.layout for o in others):
        return first.like(function(first.buffer, *(o.buffer for o in others if isinstance(o, Flat))))
    return {name: function(p, *(o[name] for o in others)) for name, p in first.items()}


def stack(params: Params, clients: int) -> Flat:
    """θ seen by ``clients`` clients: views of shape (clients, *shape), one θ behind them all."""
    own = flat(params)
    return own.like(own.buffer.expand(clients, -1))


def pick(stacked: Stacked, client: int) -> Params:
    """One client's tree out of a stack."""
    return _each(lambda p: p[client], stacked)


def add(a: Params, b: Params, alpha: float = 1.0) -> Params:
    """a + α b."""
    return _each(lambda p, q: p.add(q, alpha=alpha), a, b)


def sub(a: Params, b: Params) -> Params:
    """a − b."""
    return _each(torch.sub, a, b)


def scale(a: Params, factor: float) -> Params:
    """factor · a."""
    return _each(lambda p: p * factor, a)


def mul(a: Params, b: Params) -> Params:
    """a ⊙ b; either may lack the client axis."""
    return _each(torch.mul, a, b)


def zeros_like(a: Params) -> Params:
    """A tree of zeros in the shape of a."""
    return _each(torch.zeros_like, a)


def full_like(params: Params, values: Mapping[str, float] | float) -> Params:
    """θ's shape with one number everywhere, or one per name (Meta-learners' inner rates)."""
    own = flat(params)
    made = own.like(torch.empty_like(own.buffer))
    for name, p in made.items():
        p.fill_(values[name] if isinstance(values, Mapping) else values)
    return made


def norm(a: Params) -> Tensor:
    """Euclidean norm of the whole tree, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for p in [a.buffer] if isinstance(a, Flat) else a.values():
        total = total + p.double().square().sum().cpu()
    return total.sqrt()


def finite(a: Params) -> bool:
    """Whether every number of the tree is."""
    return all(bool(torch.isfinite(p).all()) for p in ([a.buffer] if isinstance(a, Flat) else a.values()))


def under(params: Params, prefix: str) -> dict[str, Tensor]:
    """The entries whose name starts with ``prefix``, the prefix taken off (Meta-SGD keeps its rates so)."""
    return {name.removeprefix(prefix): p for name, p in params.items() if name.startswith(prefix)}


def without(params: Params, prefix: str) -> dict[str, Tensor]:
    """The entries whose name does not start with ``prefix``."""
    return {name: p for name, p in params.items() if not name.startswith(prefix)}


def prefixed(params: Params, prefix: str) -> dict[str, Tensor]:
    """Every name with ``prefix`` put in front."""
    return {prefix + name: p for name, p in params.items()}
