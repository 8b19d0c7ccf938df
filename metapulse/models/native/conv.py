"""Convolutional networks in C (``conv.c``)."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import POINTER, Structure, c_int64
from dataclasses import dataclass
from pathlib import Path

from metapulse.compiler import compiled
from metapulse.models.kernels.base import Chain
from metapulse.models.kernels.conv import ConvReLU
from metapulse.models.kernels.dense import Linear
from metapulse.models.kernels.pooling import MeanPool
from metapulse.models.native.stacks import DEFINES, Compiled, loss_index

MOST_BLOCKS = 16  # as in conv.c


class ConvNetwork(Structure):
    """``net`` in conv.c."""

    _fields_ = (
        ("blocks", c_int64),
        ("time", c_int64),
        ("outputs", c_int64),
        ("loss", c_int64),
        ("channels", POINTER(c_int64)),
        ("width", POINTER(c_int64)),
    )


@dataclass(frozen=True)
class Convolutional(Compiled):
    """Valid convolutions, ReLU, max-pooling by two between them; mean over time, linear.

    Args:
        time: samples in a window.
    """

    time: int

    def network(self, weights: Sequence[tuple[int, ...]]) -> ConvNetwork:
        """Channels, the input's first, and widths."""
        *convolutions, head = weights  # (outputs, inputs, width), and (outputs, inputs) of the head
        blocks = len(convolutions)
        channels = (c_int64 * (blocks + 1))(convolutions[0][1], *(shape[0] for shape in convolutions))
        widths = (c_int64 * blocks)(*(shape[2] for shape in convolutions))
        return ConvNetwork(blocks, self.time, head[0], self.loss, channels, widths)


def convolutional(chain: Chain, time: int, precision: str = "float32") -> Convolutional | None:
    """The chain in C; None where it is of another make, or nothing compiles.

    Args:
        time: samples in a window.
        precision: of what is multiplied, see ``Model``.
    """
    *blocks, mean, head = chain.kernels if len(chain.kernels) > 2 else (None, None, None)
    convolutions = [kernel for kernel in blocks if isinstance(kernel, ConvReLU)]
    halves = [kernel.halve for kernel in convolutions]
    shaped = isinstance(mean, MeanPool) and len(convolutions) == len(blocks) <= MOST_BLOCKS
    loss = loss_index(chain.loss)
    if not isinstance(head, Linear) or not shaped or loss is None or halves != [True] * (len(blocks) - 1) + [False]:
        return None
    code = compiled(Path(__file__).with_name("conv.c"), *DEFINES[precision])
    names = (*((kernel.weight, kernel.bias) for kernel in convolutions), (head.weight, head.bias))
    return None if code is None else Convolutional(names, loss, code, time)
