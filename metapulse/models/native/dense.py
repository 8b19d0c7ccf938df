"""Multilayer perceptrons in C (``dense.c``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metapulse.compiler import compiled
from metapulse.episodes import Batch, Inputs, PerClient
from metapulse.models.kernels.base import Chain
from metapulse.models.kernels.dense import Linear, ReLU, Tanh
from metapulse.models.native.stacks import DEFINES, BatchPointers, Compiled, InputPointers, TensorPointers, loss_index
from metapulse.trees import Flat, Stacked, flat_stack, stack

ACTIVATIONS = (ReLU, Tanh)  # in the order of the C code's enumeration


class DenseNetwork(Structure):
    """``net`` in network.h."""

    _fields_ = (("layers", c_int64), ("activation", c_int64), ("loss", c_int64), ("width", POINTER(c_int64)))


@dataclass(frozen=True)
class Dense(Compiled):
    """Linear layers.

    Args:
        activation: index of the nonlinearity between them, in ACTIVATIONS.
    """

    activation: int

    def network(self, weights: Sequence[tuple[int, ...]]) -> DenseNetwork:
        """Widths, the input's first."""
        widths = (c_int64 * (len(weights) + 1))(weights[0][1], *(outputs for outputs, _ in weights))
        return DenseNetwork(len(weights), self.activation, self.loss, widths)

    def adjoint(
        self, theta: Stacked, rates: Mapping[str, Tensor], support: Sequence[Batch], query: Batch, learned: bool
    ) -> tuple[PerClient, Flat, Flat]:
        """Query loss, dL/dθ and dL/dα (zero unless ``learned``); see ``metapulse.models.adjoint``."""
        w = flat_stack(theta)
        out, slow = w.blank(), w.blank()
        if not learned:
            slow.buffer.zero_()
        to = self.tensors(out), self.tensors(slow) if learned else TensorPointers()
        return self._adjoint(w, rates, support, query, None, *to), out, slow

    def adjoint_sum(
        self, theta: Stacked, rates: Mapping[str, Tensor], support: Sequence[Batch], query: Batch, shares: PerClient
    ) -> tuple[PerClient, Flat]:
        """Query loss, and Σ_i s_i dL_i/dθ; no stack is made for the gradients."""
        w = flat_stack(theta)
        out = w.blank_client()
        to = self.tensors(out), TensorPointers()
        return self._adjoint(w, rates, support, query, c_void_p(shares.data_ptr()), *to), out

    def _adjoint(
        self, w: Flat, rates: Mapping[str, Tensor], support: Sequence[Batch], query: Batch, *to: Any
    ) -> PerClient:
        alpha = self.tensors(stack(rates, w.layout.clients))
        return self.call(
            "adjoint", w, alpha, c_int64(len(support)), BatchPointers(support), BatchPointers([query]), *to
        )

    def guarded(
        self, params: Stacked, rates: Mapping[str, Tensor], batch: Batch, steps: int, free: int
    ) -> tuple[PerClient, Flat]:
        """Loss where it ends, and where that is; see ``metapulse.models.loops.guarded_sgd``."""
        w = flat_stack(params)
        out, alpha = w.blank(), self.tensors(stack(rates, w.layout.clients))
        counts = c_int64(steps), c_int64(free)
        return self.call("guarded", w, alpha, *counts, BatchPointers([batch]), self.tensors(out)), out

    def answer(
        self, params: Stacked, batches: Sequence[Batch], lr: float, stops: Sequence[int], x: Inputs
    ) -> tuple[PerClient, Tensor]:
        """Sum of the batch losses on the way of SGD, and what it answers to ``x`` after so many steps.

        Args:
            params: where it begins.
            batches: one for each step.
            lr: the rate.
            stops: steps, ascending, of which the last takes all batches.
            x: inputs of each client.

        Returns:
            The losses, and the answers: (stops, clients, samples, outputs).
        """
        w = flat_stack(params)
        out = torch.empty(len(stops), *x.shape[:2], self.outputs(w))
        points, asked = (c_int64 * len(stops))(*stops), InputPointers(x)
        told = BatchPointers(batches), c_float(lr), c_int64(len(stops)), points, asked
        return self.call("answer", w, *told, c_void_p(out.data_ptr())), out

    def outputs(self, w: Flat) -> int:
        """Width of the last layer."""
        return w.layout.shapes[w.layout.names.index(self.layers[-1][0])][0]

    def per_fedavg(
        self, theta: Stacked, batches: Sequence[Sequence[Batch]], alpha: float, beta: float, delta: float
    ) -> tuple[PerClient, Flat]:
        """Sum of the losses after adaptation, and θ − w_τ; see ``metapulse.models.loops.adapted_sgd``.

        Args:
            theta: θ, for every client.
            batches: D, D′ and D″ of every local step.
            alpha: rate of the adaptation.
            beta: rate of the local steps.
            delta: relative width of the difference of gradients; 0: the first-order variant.
        """
        w = flat_stack(theta)
        out = w.blank()
        rows = [BatchPointers(each) for each in batches]
        rates = c_float(alpha), c_float(beta), c_float(delta)
        return self.call("per_fedavg", w, c_int64(len(batches[0])), *rows, *rates, self.tensors(out)), out


def dense(chain: Chain, precision: str = "float32") -> Dense | None:
    """The chain in C; None where it is not made of linear layers with one kind of nonlinearity, or nothing compiles.

    Args:
        precision: of what is multiplied, see ``Model``.
    """
    layers = [kernel for kernel in chain.kernels[::2] if isinstance(kernel, Linear)]
    kinds = {type(kernel) for kernel in chain.kernels[1::2]} or {ReLU}
    loss, activation = loss_index(chain.loss), kinds.pop()
    if 2 * len(layers) - 1 != len(chain.kernels) or kinds or activation not in ACTIVATIONS or loss is None:
        return None
    code = compiled(Path(__file__).with_name("dense.c"), *DEFINES[precision])
    names = tuple((layer.weight, layer.bias) for layer in layers)
    return None if code is None else Dense(names, loss, code, ACTIVATIONS.index(activation))
