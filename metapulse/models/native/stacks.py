"""What compiled networks of all kinds share: SGD and gradients of a whole stack in one call.

What goes in and comes out are the stacks of ``metapulse.trees``, untouched: the C code reads the tensors where they
lie.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Inputs
from metapulse.models.kernels.losses import CrossEntropy, SquaredError
from metapulse.trees import Flat, Params, Stacked, flat_stack

LOSSES = (CrossEntropy, SquaredError)  # in the order of the C code's enumerations
GRADIENT, END, DISPLACEMENT, SUM = range(4)
DEFINES: Mapping[str, tuple[str, ...]] = {"float32": (), "bfloat16": ("-DBFLOAT16",)}  # by precision


class BatchRecord(Structure):
    """``batch`` in stacks.h."""

    _fields_ = (
        ("samples", c_int64),
        ("x", c_void_p),
        ("x_client", c_int64),
        ("x_row", c_int64),
        ("y", c_void_p),
        ("y_client", c_int64),
        ("weight", c_void_p),
        ("weight_client", c_int64),
    )


class TreeRecord(Structure):
    """``tree`` in stacks.h."""

    _fields_ = (("tensor", POINTER(c_void_p)), ("stride", POINTER(c_int64)))


@dataclass(frozen=True)
class Compiled(ABC):
    """A network in C.

    Args:
        layers: names of weight and bias of its layers, from the input on.
        loss: index of the loss, in LOSSES.
        code: the compiled library.
    """

    layers: tuple[tuple[str, str], ...]
    loss: int
    code: ctypes.CDLL

    @abstractmethod
    def network(self, weights: Sequence[tuple[int, ...]]) -> Structure:
        """The C code's description of a network.

        Args:
            weights: shape of the weight of every layer, without client axis.
        """

    @staticmethod
    def takes(params: Params | Stacked) -> bool:
        """Whether these are numbers it can work on: float32, in the processor's memory."""
        first = next(iter(params.values()))
        return first.dtype == torch.float32 and first.device.type == "cpu"

    @cached_property
    def _networks(self) -> dict[tuple[tuple[str, ...], tuple[tuple[int, ...], ...]], Structure]:
        """Descriptions by the names and shapes that they were made for."""
        return {}

    def gradient(self, params: Stacked, batch: Batch, into: Flat | None) -> tuple[Float[Tensor, " clients"], Flat]:
        """Loss and gradient, per client; see ``Model.value_and_grad``."""
        w = flat_stack(params)
        out = w.blank() if into is None else into
        return self._descend(w, [batch], 0.0, GRADIENT, self.tensors(out)), out

    def descend(
        self, params: Stacked, batches: Sequence[Batch], lr: float, displacement: bool = False
    ) -> tuple[Float[Tensor, " clients"], Flat]:
        """Sum of the batch losses on the way of SGD, and where it ends (or the start minus the end)."""
        w = flat_stack(params)
        out = w.blank()
        return self._descend(w, batches, lr, DISPLACEMENT if displacement else END, self.tensors(out)), out

    def descend_sum(
        self,
        params: Stacked,
        batches: Sequence[Batch],
        lr: float,
        shares: Float[Tensor, " clients"],
    ) -> tuple[Float[Tensor, " clients"], Flat]:
        """Sum of the batch losses on the way of SGD, and Σ_i s_i u_i of u = start − end; no stack is made for them."""
        w = flat_stack(params)
        out = w.blank_client()
        return self._descend(w, batches, lr, SUM, self.tensors(out), c_void_p(shares.data_ptr())), out

    def _descend(
        self, w: Flat, batches: Sequence[Batch], lr: float, wanted: int, to: TensorPointers, shares: object = None
    ) -> Float[Tensor, " clients"]:
        rows, steps = BatchPointers(batches), c_int64(len(batches))
        return self.call("descend", w, steps, rows, c_float(lr), c_int64(wanted), shares, to)

    def call(self, name: str, w: Flat, *arguments: Any) -> Float[Tensor, " clients"]:
        """Call a function of the library on a stack; it adds up each client's loss.

        Args:
            name: of the function.
            w: the stack's parameters.
            arguments: those between the stack and the loss; the pointers of this module are kept alive meanwhile.

        Raises:
            MemoryError: there is no room for a client.
        """
        loss = torch.zeros(w.layout.clients)
        start = self.tensors(w)
        told = [a.record if isinstance(a, (TensorPointers, BatchPointers, InputPointers)) else a for a in arguments]
        function = getattr(self.code, name)
        key = w.layout.names, w.layout.shapes
        if key not in self._networks:
            shapes = dict(zip(*key, strict=True))
            self._networks[key] = self.network([shapes[weight] for weight, _ in self.layers])
        network = byref(self._networks[key])
        if function(network, c_int64(len(loss)), start.record, *told, c_void_p(loss.data_ptr())):
            raise MemoryError("no memory for a client's network and its path")
        return loss

    def tensors(self, tree: Flat) -> TensorPointers:
        """Weight and bias of every layer, in order."""
        return TensorPointers(tree, [name for pair in self.layers for name in pair])


class TensorPointers:
    """Where some tensors of a stack are, for as long as this object lives; without a stack: nowhere."""

    def __init__(self, tree: Flat | None = None, names: Sequence[str] = ()) -> None:
        self.record = TreeRecord()
        if tree is None:
            return
        self._kept = tree, list[Tensor]()
        if isinstance(tree.common, Flat) and tree.common.in_one_place:
            start, width = tree.common.buffer.data_ptr(), tree.common.buffer.element_size()
            places = [(start + width * tree.common.layout.places[name][0], 0) for name in names]
        elif tree.common is not None:
            places = [(self._keep(tree.common[name]).data_ptr(), 0) for name in names]
        elif tree.in_one_place and tree.buffer.is_contiguous():
            start, width = tree.buffer.data_ptr(), tree.buffer.element_size()
            places = [(start + width * before, size) for before, size in map(tree.layout.places.__getitem__, names)]
        else:
            rows = [t if t[0].is_contiguous() else self._keep(t) for t in map(tree.views.__getitem__, names)]
            places = [(t.data_ptr(), t.stride(0)) for t in rows]
        pointers, strides = zip(*places, strict=True)
        self.record = TreeRecord((c_void_p * len(names))(*pointers), (c_int64 * len(names))(*strides))

    def _keep(self, tensor: Tensor) -> Tensor:
        """It without gaps; a copy lives as long as this object."""
        whole = tensor.contiguous()
        self._kept[1].append(whole)
        return whole


class BatchPointers:
    """Where the samples of some batches are, for as long as this object lives; inputs of any shape are flattened."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        known: dict[int, BatchRecord] = {}
        self._kept: list[Tensor] = []
        self._weights: dict[int, Tensor] = {}  # minibatches of one stack share their mask
        for batch in batches:
            if id(batch) not in known:
                known[id(batch)] = self._record(batch)
        self.record = (BatchRecord * len(batches))(*(known[id(batch)] for batch in batches))

    def _record(self, batch: Batch) -> BatchRecord:
        if id(batch.mask) not in self._weights:
            self._weights[id(batch.mask)] = batch.weights
        x, y, weight = batch.x.flatten(2), batch.y, self._weights[id(batch.mask)]
        if not x.dtype == weight.dtype == torch.float32 or y.dtype not in (torch.float32, torch.int64):
            raise TypeError(f"samples are {x.dtype}, {y.dtype}; parameters are float32")
        x = x if x.stride(2) == 1 else x.contiguous()
        y = y if y[:1].is_contiguous() else y.contiguous()
        weight = weight if weight.stride(1) == 1 else weight.contiguous()
        self._kept += [x, y, weight]
        return BatchRecord(
            x.shape[1], x.data_ptr(), x.stride(0), x.stride(1), y.data_ptr(), y.stride(0), weight.data_ptr(),
            weight.stride(0),
        )  # fmt: skip


class InputPointers:
    """Where inputs without labels are, for as long as this object lives."""

    def __init__(self, x: Inputs) -> None:
        x = x.flatten(2)
        if x.dtype != torch.float32:
            raise TypeError(f"inputs are {x.dtype}; parameters are float32")
        self._kept = x if x.stride(2) == 1 else x.contiguous()
        x = self._kept
        self.record = (BatchRecord * 1)(BatchRecord(x.shape[1], x.data_ptr(), x.stride(0), x.stride(1)))


def loss_index(kind: object) -> int | None:
    """Of a chain's loss; None for one that is not written in C."""
    return LOSSES.index(type(kind)) if type(kind) in LOSSES else None
