"""A device's own data source, seen as one client of a federation.

On a real device the data source is the device's own and knows nothing of a population; the federation knows the
device by its partition id. This adapter gives the device's source the partition id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metapulse.data import Client, Samples, Source, Task
from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.settings import setting


@dataclass(frozen=True)
class OneClientSource:
    """One client of an own source, under the partition id it has in the federation."""

    inner: Mapping[str, Any] = setting({}, "the device's own source: its name and settings")
    index: int = setting(0, "partition id in the federation", ge=0)
    which: int = setting(0, "which client of the own source it is", ge=0)
    user: int = setting(-1, "the person's number in the federation (-1: the partition id)", ge=-1)
    device: str = setting("", "device model ('': what the own source says)")
    label: str = setting("", "the person's name in the federation ('': the person's number)")

    @cached_property
    def _source(self) -> Source:
        source: Source = SOURCES.make(self.inner)
        return source

    @property
    def task(self) -> Task:
        """What the own source predicts."""
        return self._source.task

    @property
    def users(self) -> int:
        """One more than the person's number."""
        return 1 + (self.index if self.user < 0 else self.user)

    @property
    def devices(self) -> tuple[str, ...]:
        """This device."""
        return (self.client(self.index).device,)

    def __len__(self) -> int:
        return self.index + 1

    def client(self, index: int) -> Client:
        """Who wears it.

        Raises:
            DataError: another partition id than its own, or the own source has no such client.
        """
        if index != self.index:
            raise DataError(f"this device is client {self.index}, not {index}")
        user = self.users - 1
        return Client(index, user, self.device or self._source.client(self.which).device, self.label or str(user))

    def clients_of(self, user: int) -> Sequence[int]:
        """This device: others of the same person are other nodes."""
        return (self.index,)

    def samples(self, index: int) -> Samples:
        """Everything the device recorded.

        Raises:
            DataError: as for ``client``, or there are no usable samples.
        """
        if index != self.index:
            raise DataError(f"this device is client {self.index}, not {index}")
        return self._source.samples(self.which)
