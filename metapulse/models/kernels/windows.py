"""Convolutions over time as matrix products, without copying a window: the memory layout.

Activations are channels-last, (clients, samples, pitch, channels): the samples of a client lie one after the other,
``pitch`` rows each, and the ``width`` rows that a window reads are one run of width · channels numbers. Windows that
start ``width`` rows apart do not overlap, so those at rows r, r + width, r + 2 width, … are the rows of a matrix that
is there already, and a convolution is ``width`` products, one for each r, with the same weights. Windows that reach
into the next sample come out as garbage that is not read; their gradient is zero, which is just what the gradient of
the input needs. That one runs the same products backwards, adding into the windows; the weights' adds up over r.

Padding is rows of zeros that the layer that makes an activation leaves for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

#: One for each run.
Matrices = list[Tensor]


@dataclass(frozen=True)
class WindowLayout:
    """Where the values of a sample stand among zeros: ``lead`` zeros, ``length`` values, zeros up to ``pitch``."""

    length: int
    lead: int
    pitch: int

    @classmethod
    def of(cls, length: int, lead: int, even: bool) -> WindowLayout:
        """As many zeros behind as in front, one more where the pitch must be even."""
        pitch = length + 2 * lead
        return cls(length, lead, pitch + pitch % 2 if even else pitch)

    def room(self, like: Tensor, channels: int) -> Tensor:
        """An activation (clients, samples, pitch, channels) whose values are still to be written."""
        shape = (*like.shape[:2], self.pitch, channels)
        return like.new_empty(shape) if self.pitch == self.length else like.new_zeros(shape)

    def values(self, x: Tensor) -> Tensor:
        """The values in it."""
        return x[:, :, self.lead : self.lead + self.length]

    def put(self, x: Float[Tensor, "clients samples channels time"]) -> Float[Tensor, "clients samples pitch channels"]:
        """A batch's windows, channels last."""
        room = self.room(x, x.shape[2])
        self.values(room).copy_(x.transpose(2, 3))
        return room


@dataclass(frozen=True)
class WindowMatrices:
    """The windows of a flat activation as matrices.

    Args:
        samples: of each client.
        pitch: rows of each sample.
        width: rows of each window.
        lanes: 2 keeps every second window in a lane of its own, so that neighbours lie in the same place.
    """

    samples: int
    pitch: int
    width: int
    lanes: int

    def windows(self, x: Float[Tensor, "clients samples pitch channels"]) -> Matrices:
        """Views of ``x``: for each run the windows in it, (clients, windows, width · channels)."""
        channels, offset = x.shape[3], x.storage_offset()
        strides = (x.stride(0), self._count * self.lanes * channels, 1)
        return [
            x.as_strided((len(x), fit, self.width * channels), strides, offset + start * channels)
            for start, fit in self._starts
        ]

    def products(self, z: Float[Tensor, "lanes clients samples rows outputs"]) -> Matrices:
        """Views of ``z``: for each run what comes out of its windows, (clients, windows, outputs)."""
        outputs, offset = z.shape[4], z.storage_offset()
        strides = (z.stride(1), self._count * outputs, 1)
        return [
            z.as_strided(
                (z.shape[1], fit, outputs),
                strides,
                offset + (start % self.lanes) * z.stride(0) + (start // self.lanes) * outputs,
            )
            for start, fit in self._starts
        ]

    def room(self, like: Tensor, outputs: int) -> Float[Tensor, "lanes clients samples rows outputs"]:
        """Room for what comes out of all windows."""
        return like.new_empty(self.lanes, len(like), self.samples, self.pitch // self.lanes, outputs)

    @property
    def _count(self) -> int:
        """Runs of a lane: as many windows start before one begins that does not overlap the first."""
        return -(-self.width // self.lanes)

    @cached_property
    def _starts(self) -> list[tuple[int, int]]:
        """For each run its first row, and how many windows fit."""
        rows, period = self.samples * self.pitch, self._count * self.lanes
        return [(start, max((rows - start - self.width) // period + 1, 0)) for start in range(period)]
