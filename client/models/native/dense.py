"""Multilayer perceptrons in C (``dense.c``): SGD, gradients, and MAML's outer gradient of a whole stack in one call.

What goes in and comes out are the stacks of ``client.trees``, untouched: the C code reads the tensors where they lie.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from client.episodes import Batch
from client.models.kernels.base import Chain
from client.models.kernels.dense import Linear, ReLU, Tanh
from client.models.kernels.losses import CrossEntropy, SquaredError
from client.models.native.compiler import library
from client.trees import Flat, Stacked, flat_stack, stack

ACTIVATIONS = (ReLU, Tanh)  # in the order of the C code's enumerations
LOSSES = (CrossEntropy, SquaredError)
GRADIENT, END, DISPLACEMENT = range(3)


class _Net(Structure):
    _fields_ = (("layers", c_int64), ("activation", c_int64), ("loss", c_int64), ("width", POINTER(c_int64)))


class _Batch(Structure):
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


class _Tree(Structure):
    _fields_ = (("tensor", POINTER(c_void_p)), ("stride", POINTER(c_int64)))


@dataclass(frozen=True)
class Dense:
    """A compiled network.

    Args:
        linear: its layers, from the input on.
        activation: index of the nonlinearity between them, in ACTIVATIONS.
        loss: index of the loss, in LOSSES.
        view: a batch's inputs as (clients, samples, features).
        library: the compiled code.
    """

    linear: tuple[Linear, ...]
    activation: int
    loss: int
    view: Callable[[Tensor], Tensor]
    library: ctypes.CDLL

    def takes(self, params: Stacked) -> bool:
        """Whether these are numbers it can work on: float32, in the processor's memory."""
        first = next(iter(params.values()))
        return first.dtype == torch.float32 and first.device.type == "cpu"

    def gradient(self, params: Stacked, batch: Batch, into: Flat | None) -> tuple[Float[Tensor, " clients"], Flat]:
        """Loss and gradient, per client; see ``Model.value_and_grad``."""
        w = flat_stack(params)
        out = w.blank() if into is None else into
        return self._descend(w, [batch], 0.0, GRADIENT, out), out

    def descend(
        self, params: Stacked, batches: Sequence[Batch], lr: float, displacement: bool = False
    ) -> tuple[Float[Tensor, " clients"], Flat]:
        """Sum of the batch losses on the way of SGD, and where it ends (or the start minus the end)."""
        w = flat_stack(params)
        out = w.blank()
        return self._descend(w, batches, lr, DISPLACEMENT if displacement else END, out), out

    def _descend(
        self, w: Flat, batches: Sequence[Batch], lr: float, wanted: int, out: Flat
    ) -> Float[Tensor, " clients"]:
        loss, rows = torch.zeros(w.layout.clients), _Rows(self.view, batches)
        start, end = _Tensors(self._pairs(w)), _Tensors(self._pairs(out))
        code = self.library.descend(
            byref(self._net(w)), c_int64(len(loss)), start.tree, c_int64(len(batches)), rows.array, c_float(lr),
            c_int64(wanted), end.tree, c_void_p(loss.data_ptr()),
        )  # fmt: skip
        return _done(code, loss)

    def per_fedavg(
        self, theta: Stacked, batches: Sequence[Sequence[Batch]], alpha: float, beta: float, delta: float
    ) -> tuple[Float[Tensor, " clients"], Flat]:
        """Sum of the losses after adaptation, and θ − w_τ; see ``client.learners.per_fedavg``.

        Args:
            theta: θ, for every client.
            batches: D, D′ and D″ of every local step.
            alpha: rate of the adaptation.
            beta: rate of the local steps.
            delta: relative width of the difference of gradients; 0: the first-order variant.
        """
        w = flat_stack(theta)
        out, loss = w.blank(), torch.zeros(w.layout.clients)
        inner, outer, curve = (_Rows(self.view, each) for each in batches)
        start, end = _Tensors(self._pairs(w)), _Tensors(self._pairs(out))
        code = self.library.per_fedavg(
            byref(self._net(w)), c_int64(len(loss)), start.tree, c_int64(len(batches[0])), inner.array, outer.array,
            curve.array, c_float(alpha), c_float(beta), c_float(delta), end.tree, c_void_p(loss.data_ptr()),
        )  # fmt: skip
        return _done(code, loss), out

    def adjoint(
        self, theta: Stacked, rates: Mapping[str, Tensor], support: Sequence[Batch], query: Batch, learned: bool
    ) -> tuple[Float[Tensor, " clients"], Flat, Flat]:
        """Query loss, dL/dθ and dL/dα (zero unless ``learned``); see ``client.learners.adjoint``."""
        w = flat_stack(theta)
        loss, out, slow = torch.zeros(w.layout.clients), w.blank(), w.blank()
        alpha, steps = _Tensors(self._pairs(stack(rates, len(loss)))), _Rows(self.view, support)
        start, end, last = _Tensors(self._pairs(w)), _Tensors(self._pairs(out)), _Rows(self.view, [query])
        to_rates = _Tensors(self._pairs(slow) if learned else [])
        if not learned:
            slow.buffer.zero_()
        code = self.library.adjoint(
            byref(self._net(w)), c_int64(len(loss)), start.tree, alpha.tree, c_int64(len(support)), steps.array,
            last.array, end.tree, to_rates.tree, c_void_p(loss.data_ptr()),
        )  # fmt: skip
        return _done(code, loss), out, slow

    def _net(self, w: Stacked) -> _Net:
        weights = [w[layer.weight].shape for layer in self.linear]  # (clients, outputs, inputs)
        widths = (c_int64 * (len(weights) + 1))(weights[0][2], *(shape[1] for shape in weights))
        return _Net(len(weights), self.activation, self.loss, widths)

    def _pairs(self, tree: Stacked) -> list[Tensor]:
        """Weight and bias of every layer, in order."""
        return [tree[name] for layer in self.linear for name in (layer.weight, layer.bias)]


class _Tensors:
    """Where the tensors of a stack are, for as long as this object lives."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._kept = [t if t[0].is_contiguous() else t.contiguous() for t in tensors]
        pointers = (c_void_p * len(tensors))(*(t.data_ptr() for t in self._kept))
        strides = (c_int64 * len(tensors))(*(t.stride(0) for t in self._kept))
        self.tree = _Tree(pointers, strides) if tensors else _Tree()


class _Rows:
    """Where the samples of some batches are, for as long as this object lives."""

    def __init__(self, view: Callable[[Tensor], Tensor], batches: Sequence[Batch]) -> None:
        known: dict[int, _Batch] = {}
        self._kept: list[Tensor] = []
        for batch in batches:
            if id(batch) not in known:
                x, y, weight = view(batch.x), batch.y, batch.weights
                if not x.dtype == weight.dtype == torch.float32 or y.dtype not in (torch.float32, torch.int64):
                    raise TypeError(f"samples are {x.dtype}, {y.dtype}; parameters are float32")
                x = x if x.stride(2) == 1 else x.contiguous()
                y = y if y[:1].is_contiguous() else y.contiguous()
                weight = weight if weight.stride(1) == 1 else weight.contiguous()
                self._kept += [x, y, weight]
                known[id(batch)] = _Batch(
                    x.shape[1], x.data_ptr(), x.stride(0), x.stride(1), y.data_ptr(), y.stride(0),
                    weight.data_ptr(), weight.stride(0),
                )  # fmt: skip
        self.array = (_Batch * len(batches))(*(known[id(batch)] for batch in batches))


def _done(code: int, loss: Tensor) -> Tensor:
    if code:
        raise MemoryError("no memory for a client's network and its path")
    return loss


def compiled(chain: Chain) -> Dense | None:
    """The chain in C; None where it is not made of linear layers with one kind of nonlinearity, or nothing compiles."""
    linear, between = chain.kernels[::2], chain.kernels[1::2]
    kinds = {type(kernel) for kernel in between} or {ReLU}
    if not all(isinstance(layer, Linear) for layer in linear) or len(linear) != len(between) + 1:
        return None
    if len(kinds) != 1 or not kinds <= set(ACTIVATIONS) or type(chain.loss) not in LOSSES:
        return None
    code = library("dense")
    if code is None:
        return None
    layers = tuple(layer for layer in linear if isinstance(layer, Linear))
    return Dense(layers, ACTIVATIONS.index(kinds.pop()), LOSSES.index(type(chain.loss)), chain.view, code)
