"""Convolutions over time as matrix products, without copying a single window: who lies where.

Activations are channels-last, (clients, samples, pitch, channels): the samples of a client lie one after the other,
``pitch`` rows each, and the ``width`` rows that a window reads are one run of width · channels numbers. Windows that
start ``width`` rows apart do not overlap, so those at rows r, r + width, r + 2 width, … are the rows of a matrix that
is there already, and a convolution is ``width`` products, one for each r, with the same weights. Windows that reach
into the next sample come out as garbage nobody reads; their gradient is zero, which is just what the gradient of the
input needs. That one runs the same products backwards, adding into the windows; the weights' adds up over r.

Padding is rows of zeros that whoever makes an activation leaves for the next layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

#: One for each run.
Matrices = tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where the values of a sample stand among zeros: ``lead`` zeros, ``length`` values, zeros up to ``pitch``."""

    length: int
    lead: int
    pitch: int

    @classmethod
    def of(cls, length: int, lead: int, even: bool) -> Place:
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
class Runs:
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

    def windows(self, x: Float[Tensor, "clients samples pitch channels"]) -> list[Matrices]:
        """Views of ``x``: for each client, for each run, the windows in it, (windows, width · channels)."""
        clients, channels = len(x), x.shape[3]
        strides = (x.stride(0), self._count * self.lanes * channels, 1)
        runs = [
            x.as_strided((clients, fit, self.width * channels), strides, x.storage_offset() + start * channels)
            for start, fit in self._starts
        ]
        return list(zip(*(run.unbind(0) for run in runs), strict=True))

    def products(self, z: Float[Tensor, "lanes samples rows outputs"]) -> Matrices:
        """Views of one client's ``z``: for each run what comes out of its windows, (windows, outputs)."""
        flat = z.flatten(1, 2)
        return tuple(flat[start % self.lanes, start // self.lanes :: self._count][:fit] for start, fit in self._starts)

    def room(self, like: Tensor, outputs: int) -> Float[Tensor, "lanes samples rows outputs"]:
        """Room for what comes out of one client's windows."""
        return like.new_empty(self.lanes, self.samples, self.pitch // self.lanes, outputs)

    @property
    def _count(self) -> int:
        """Runs of a lane: as many windows start before one begins that does not overlap the first."""
        return -(-self.width // self.lanes)

    @cached_property
    def _starts(self) -> list[tuple[int, int]]:
        """For each run its first row, and how many windows fit."""
        rows, period = self.samples * self.pitch, self._count * self.lanes
        return [(start, max((rows - start - self.width) // period + 1, 0)) for start in range(period)]
