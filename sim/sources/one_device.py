"""Populations in which every client is a person of their own, with the one device there is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from metapulse.data import Client, Samples
from metapulse.errors import DataError
from metapulse.sim.sources.catalogue import Dataset


class OneDevicePopulation(ABC):
    """Clients and people of such a population; a subclass supplies the samples."""

    dataset: ClassVar[Dataset]
    clients: int

    @property
    def device(self) -> str:
        """Name of the device, also in messages and labels."""
        return self.dataset.name

    @property
    def users(self) -> int:
        """Number of clients: each is a user of its own."""
        return self.clients

    @property
    def devices(self) -> tuple[str, ...]:
        """The one device there is."""
        return (self.device,)

    def __len__(self) -> int:
        return self.users

    def client(self, index: int) -> Client:
        """Client ``index``, who is user ``index``.

        Raises:
            DataError: no such client.
        """
        self._check(index)
        return Client(index, index, self.device, self._label(index))

    def clients_of(self, user: int) -> Sequence[int]:
        """One user, one client.

        Raises:
            DataError: no such user.
        """
        self._check(user)
        return (user,)

    def samples(self, index: int) -> Samples:
        """All samples of one client, each its own group, the same at every call; the held-out ones last.

        Raises:
            DataError: no such client.
        """
        self._check(index)
        return self._drawn(index)

    @abstractmethod
    def _drawn(self, index: int) -> Samples:
        """Those of a client that there is."""

    def _label(self, index: int) -> str:
        return f"{self.device}-{index}"

    def _check(self, index: int) -> None:
        if not 0 <= index < self.users:
            raise DataError(f"{self.device} has no client {index}: allowed are 0 to {self.users - 1}")
