"""Parameter trees: a mapping from name to tensor, and the little algebra learners need.

``Params`` has no client axis (θ, what the server owns). ``Stacked`` has the client as the leading axis of every
tensor: thousands of clients are one stack, one device is a stack of one. No function here changes its arguments.

A tree may be a plain dict, or ``Flat``: then its tensors are views of one buffer, and whatever is done to all of them
is done in one operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, TypeAlias

import torch
from torch import Tensor

Params: TypeAlias = Mapping[str, Tensor]
Stacked: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """What a flat buffer holds: the tensors of a tree one after the other, in the tree's order.

    Args:
        names: of the tensors.
        shapes: of the tensors, without client axis.
        clients: length of the client axis that every tensor has in front; −1 for none.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    clients: int = -1

    @cached_property
    def _full(self) -> list[tuple[int, ...]]:
        return [shape if self.clients < 0 else (self.clients, *shape) for shape in self.shapes]

    @cached_property
    def _sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self._full]

    @cached_property
    def size(self) -> int:
        """How many numbers there are in all."""
        return sum(self._sizes)

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """By name, how many numbers lie before a tensor, and how many it has of each client."""
        before = accumulate([0, *self._sizes[:-1]])
        return dict(zip(self.names, zip(before, map(math.prod, self.shapes), strict=True), strict=True))

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors of a buffer."""
        parts = buffer.split_with_sizes(self._sizes)
        return {name: part.view(shape) for name, shape, part in zip(self.names, self._full, parts, strict=True)}


@lru_cache(maxsize=1024)
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], clients: int) -> Layout:
    return Layout(names, shapes, clients)  # the same object for the same layout, so that comparing is cheap


class Flat(Mapping[str, Tensor]):
    """A tree in one buffer: each tensor contiguous, with its client axis, one behind the other.

    Args:
        buffer: all numbers; None where ``views`` or ``common`` are given, it is then made when asked for.
        layout: what lies where.
        views: the tensors by name.
        common: the tree of every client, where all of them have the same.
    """

    __slots__ = ("_buffer", "_views", "common", "layout")

    def __init__(
        self,
        buffer: Tensor | None,
        layout: Layout,
        views: dict[str, Tensor] | None = None,
        common: Params | None = None,
    ) -> None:
        self._buffer, self.layout, self._views, self.common = buffer, layout, views, common

    @property
    def buffer(self) -> Tensor:
        """All numbers, one-dimensional."""
        if self._buffer is None:
            self._buffer = torch.cat([p.reshape(-1) for p in self.views.values()])
        return self._buffer

    @property
    def views(self) -> dict[str, Tensor]:
        """The tensors by name."""
        if self._views is None and self.common is not None:
            self._views = {name: p.expand(self.layout.clients, *p.shape) for name, p in self.common.items()}
        if self._views is None:
            self._views = self.layout.views(self.buffer)
        return self._views

    @property
    def in_one_place(self) -> bool:
        """Whether the buffer has been made."""
        return self._buffer is not None

    def __getitem__(self, name: str) -> Tensor:
        return self.views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.names)

    def __len__(self) -> int:
        return len(self.layout.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return from_buffer, (self.buffer, self.layout.names, self.layout.shapes, self.layout.clients)

    def like(self, buffer: Tensor) -> Flat:
        """Another buffer of the same layout."""
        return Flat(buffer, self.layout)

    def blank(self) -> Flat:
        """A tree of the same layout whose numbers are still to be written."""
        return self._blank(self.layout)

    def blank_client(self) -> Flat:
        """A tree in the shape of one client's, whose numbers are still to be written."""
        return self._blank(_layout(self.layout.names, self.layout.shapes, -1))

    def _blank(self, layout: Layout) -> Flat:
        like = self._buffer if self._buffer is not None else next(iter((self.common or self.views).values()))
        return Flat(like.new_empty(layout.size), layout)


def from_buffer(buffer: Tensor, names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], clients: int) -> Flat:
    """The tree that a buffer holds; see ``Layout``."""
    return Flat(buffer, _layout(names, shapes, clients))


def flat(params: Params) -> Flat:
    """θ in one buffer; itself if it is already, or the buffer whose parts its tensors are."""
    if isinstance(params, Flat):
        return params
    layout, parts = _layout(tuple(params), tuple(tuple(p.shape) for p in params.values()), -1), list(params.values())
    whole = parts[0]._base if parts else None
    if whole is not None and whole.shape == (layout.size,) and whole.dtype == parts[0].dtype:
        places = [place for place, _ in layout.places.values()]
        if [p.storage_offset() for p in parts if p._base is whole and p.is_contiguous()] == places:
            return Flat(whole, layout, dict(params))
    return Flat(torch.cat([p.reshape(-1) for p in parts]), layout)


def flat_stack(stacked: Stacked) -> Flat:
    """A stack in one buffer; itself if it is already."""
    if isinstance(stacked, Flat):
        return stacked
    clients = len(next(iter(stacked.values())))
    layout = _layout(tuple(stacked), tuple(tuple(p.shape[1:]) for p in stacked.values()), clients)
    return Flat(torch.cat([p.reshape(-1) for p in stacked.values()]), layout)


def tree_map(function: Callable[..., Tensor], first: Params, *others: Params) -> Params:
    """Apply to every tensor, or to the buffers where all the trees are flat and alike."""
    if isinstance(first, Flat) and all(isinstance(o, Flat) and o.layout is first.layout for o in others):
        return first.like(function(first.buffer, *(o.buffer for o in others if isinstance(o, Flat))))
    return {name: function(p, *(o[name] for o in others)) for name, p in first.items()}


def has_clients(params: Params) -> bool:
    """Whether a tree says by itself that it has the client axis: θ of a stack whose clients begin at different ones."""
    return isinstance(params, Flat) and params.layout.clients >= 0


def stack(params: Params, clients: int) -> Flat:
    """θ seen by ``clients`` clients: views of shape (clients, *shape), no copy until the buffer is asked for.

    A tree that has a client axis (``has_clients``) is what it is: so a learner that takes θ from here also serves a
    stack whose clients belong to several runs, each with a θ of its own.
    """
    if isinstance(params, Flat) and params.layout.clients == clients:
        return params
    shapes = params.layout.shapes if isinstance(params, Flat) else tuple(tuple(p.shape) for p in params.values())
    return Flat(None, _layout(tuple(params), shapes, clients), common=params)


def stacked(views: dict[str, Tensor]) -> Flat:
    """Tensors that have a client axis, as a tree that says so."""
    clients = len(next(iter(views.values()), ()))
    return Flat(None, _layout(tuple(views), tuple(tuple(p.shape[1:]) for p in views.values()), clients), views)


def pick(stacked: Stacked, client: int) -> dict[str, Tensor]:
    """One client's tree out of a stack."""
    return {name: p[client] for name, p in stacked.items()}


def per_client(a: Stacked, factors: Tensor) -> dict[str, Tensor]:
    """Every client's tree times its own factor, (clients,)."""
    return {name: p * factors.view(-1, *(1,) * (p.dim() - 1)) for name, p in a.items()}


def flatten(stacked: Stacked, dtype: torch.dtype | None = None) -> Tensor:
    """A stack as one row per client, (clients, numbers), in the tree's order; ``flat_stack`` has tensor after tensor.

    Args:
        dtype: of the rows; None: that of the tensors.
    """
    parts = [p.reshape(len(p), -1) for p in stacked.values()]
    if dtype is None:
        return torch.cat(parts, 1)
    rows = torch.empty(len(parts[0]), sum(part.shape[1] for part in parts), dtype=dtype)
    for place, part in zip(rows.split_with_sizes([part.shape[1] for part in parts], 1), parts, strict=True):
        place.copy_(part)
    return rows


def unflatten(rows: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Rows of ``flatten`` as a stack again, or one row, (numbers,), as a tree.

    Args:
        shapes: of every tensor, without client axis.
    """
    parts = rows.split_with_sizes([shape.numel() for shape in shapes.values()], -1)
    return {name: p.reshape((*p.shape[:-1], *shapes[name])) for name, p in zip(shapes, parts, strict=True)}


def row_like(row: Tensor, params: Params) -> dict[str, Tensor]:
    """One row as a tree with the names, shapes and dtypes of another."""
    made = unflatten(row, {name: p.shape for name, p in params.items()})
    return {name: p.to(params[name].dtype) for name, p in made.items()}


def dot(a: Stacked, b: Stacked) -> Tensor:
    """⟨a, b⟩ of every client, (clients,)."""
    return torch.stack([(p * b[name]).reshape(len(p), -1).sum(1) for name, p in a.items()]).sum(0)


def norms(a: Stacked) -> Tensor:
    """Euclidean norm of every client's tree, (clients,)."""
    return torch.stack([p.flatten(1).square().sum(1) if p.dim() > 1 else p.square() for p in a.values()]).sum(0).sqrt()


def weighted_sum(a: Stacked, weights: Tensor) -> dict[str, Tensor]:
    """Σ_i w_i a_i over the clients of a stack; weights (clients,) in the tensors' dtype."""
    return {name: (weights @ p.reshape(len(p), -1)).view(p.shape[1:]) for name, p in a.items()}


def add(a: Params, b: Params, alpha: float = 1.0) -> Params:
    """a + α b."""
    return tree_map(lambda p, q: p.add(q, alpha=alpha), a, b)


def sub(a: Params, b: Params) -> Params:
    """a − b."""
    return tree_map(torch.sub, a, b)


def where(clients: Tensor, a: Stacked, b: Stacked) -> dict[str, Tensor]:
    """The rows of a for the clients of a mask (clients,), those of b for the others."""
    return {name: torch.where(clients.view(-1, *(1,) * (p.dim() - 1)), p, b[name]) for name, p in a.items()}


def scale(a: Params, factor: float) -> Params:
    """factor · a."""
    return tree_map(lambda p: p * factor, a)


def mul(a: Params, b: Params) -> Params:
    """a ⊙ b; either may lack the client axis."""
    return tree_map(torch.mul, a, b)


def zeros_like(a: Params) -> Params:
    """A tree of zeros in the shape of a."""
    return tree_map(torch.zeros_like, a)


def full_like(params: Params, values: Mapping[str, float] | float) -> Params:
    """θ's shape with one number everywhere, or one per name (meta-learners' inner rates)."""
    if isinstance(params, Flat) and not isinstance(values, Mapping) and not has_clients(params):
        return params.like(torch.full_like(params.buffer, values))
    one = pick(params, 0) if has_clients(params) else params
    full = {
        name: torch.full_like(p, values[name] if isinstance(values, Mapping) else values) for name, p in one.items()
    }
    return stack(full, len(next(iter(params.values())))) if has_clients(params) else full


def to_torch_device(a: Params, device: torch.device) -> Params:
    """The same tree on another device."""
    return tree_map(lambda p: p.to(device), a)


def with_dtypes(a: Params, like: Params) -> Params:
    """A tree in the dtypes of another one that has its names."""
    dtypes = [p.dtype for p in like.values()]
    if isinstance(a, Flat) and len(set(dtypes)) == 1:
        return a.like(a.buffer.to(dtypes[0]))
    return {name: p.to(like[name].dtype) for name, p in a.items()}


def norm(a: Params) -> Tensor:
    """Euclidean norm of the whole tree, in float64."""
    length: Tensor = torch.linalg.vector_norm(_numbers([a]), dtype=torch.float64)
    return length.cpu()


def all_finite(*trees: Params) -> bool:
    """Whether every number of some trees is."""
    numbers = _numbers(trees)
    sound = math.isfinite(numbers.sum(dtype=torch.float64))  # one that is not would show in it
    return sound or bool(torch.isfinite(numbers).all())


def _numbers(trees: Sequence[Params]) -> Tensor:
    """All numbers of some trees in a row: for a small model one operation costs what it is called, not what it does."""
    parts = [p.reshape(-1) for a in trees for p in ([a.buffer] if isinstance(a, Flat) else a.values())]
    parts = [p for p in parts if p.is_floating_point()] or [torch.zeros(0)]  # whole numbers are finite
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def tensors(a: Params) -> Mapping[str, Tensor]:
    """The same tree for those who look at one tensor after the other."""
    return a.views if isinstance(a, Flat) else a


def subtree(params: Params, prefix: str) -> Params:
    """The entries whose name starts with ``prefix``, the prefix taken off (Meta-SGD keeps its rates so)."""
    return _part(params, {name.removeprefix(prefix): p for name, p in params.items() if name.startswith(prefix)})


def without_subtree(params: Params, prefix: str) -> Params:
    """The entries whose name does not start with ``prefix``."""
    return _part(params, {name: p for name, p in params.items() if not name.startswith(prefix)})


def _part(whole: Params, part: dict[str, Tensor]) -> Params:
    """Some tensors of a tree, which say that they have a client axis where the whole does."""
    return stacked(part) if has_clients(whole) else part


def prefixed(params: Params, prefix: str) -> dict[str, Tensor]:
    """Every name with ``prefix`` put in front."""
    return {prefix + name: p for name, p in params.items()}
