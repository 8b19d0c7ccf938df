"""Recorded samples in memory, sorted by client, and the ``Source`` behaviour they share.

A recorded source is a frozen dataclass of settings; what it says about clients and samples comes from its
``InMemoryData``, loaded once per process and shared by equal settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Shaped

from metapulse.data import Client, Samples, Task, check_samples, id_difference, look_alike
from metapulse.errors import DataError


@dataclass(frozen=True)
class ClientList:
    """Who the clients are: one (user, device) pair each, ordered by user, then device.

    Args:
        clients: every client, in the order of its index.
        devices: every device model that occurs, in the publisher's order.
        of_user: clients of each user.
    """

    clients: tuple[Client, ...]
    devices: tuple[str, ...]
    of_user: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]], labels: Sequence[str], devices: Sequence[str]) -> ClientList:
        """The client_list of sorted (user code, device code) pairs; users without a pair are left out, ids stay dense.

        Args:
            pairs: sorted, without repeats; codes index ``labels`` and ``devices``.
            labels: the publisher's id of each user code.
            devices: name of each device code.

        Raises:
            DataError: two ids differ in blanks, or in how Unicode spells them, alone.
        """
        present = sorted({user for user, _ in pairs})
        if pair := look_alike(labels[user] for user in present):
            what = f"people {pair[0]!r} and {pair[1]!r} differ in {id_difference(pair)} alone"
            raise DataError(f"{what}: give one person one id")
        dense = {code: number for number, code in enumerate(present)}
        clients = tuple(
            Client(index, dense[user], devices[device], labels[user]) for index, (user, device) in enumerate(pairs)
        )
        of_user: list[list[int]] = [[] for _ in present]
        for client in clients:
            of_user[client.user].append(client.index)
        worn = {device for _, device in pairs}
        names = tuple(name for code, name in enumerate(devices) if code in worn)
        return cls(clients, names, tuple(map(tuple, of_user)))


@runtime_checkable
class InMemoryData(Protocol):
    """What a recorded source holds in memory."""

    @property
    def task(self) -> Task:
        """What is predicted from what."""

    @property
    def client_list(self) -> ClientList:
        """Who the clients are."""

    def samples(self, index: int) -> Samples:
        """All samples of one client."""


@dataclass(frozen=True)
class SampleTable:
    """Samples sorted by client; ``start`` has one entry more than there are clients.

    Arrays keep the type they were stored in; a client's samples are converted when they are asked for.

    Args:
        base: value that a target of 0 stands for, where the task says in what unit.
    """

    task: Task
    client_list: ClientList
    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    held_out: np.ndarray
    start: np.ndarray
    moment: np.ndarray | None = None
    time: np.ndarray | None = None
    base: float = 0.0

    @classmethod
    def of(
        cls,
        task: Task,
        x: Shaped[np.ndarray, "n *features"],
        y: Int[np.ndarray, " n"] | Float[np.ndarray, "n outputs"],
        user: Int[np.ndarray, " n"],
        device: Int[np.ndarray, " n"],
        group: Int[np.ndarray, " n"],
        labels: Sequence[str],
        devices: Sequence[str],
        held_out: Bool[np.ndarray, " n"] | None = None,
        time: Float[np.ndarray, " n"] | None = None,
        moment: Int[np.ndarray, " n"] | None = None,
    ) -> SampleTable:
        """Sort samples by (user, device), within a client by time, or as they come where none is given.

        Args:
            task: what is predicted from what; gives the shape of one sample.
            x, y, group, held_out, time, moment: as in ``metapulse.data.Samples``.
            user: code of the person, an index into ``labels``.
            device: code of the device, an index into ``devices``.
            labels: the publisher's id of each person.
            devices: name of each device model.

        Raises:
            DataError: no samples at all.
        """
        if len(x) == 0:
            raise DataError("the data set holds no samples")
        held_out = np.zeros(len(x), bool) if held_out is None else held_out
        key = user.astype(np.int64) * len(devices) + device.astype(np.int64)
        order = np.argsort(key, kind="stable") if time is None else np.lexsort((time, key))
        keys, start = np.unique(key[order], return_index=True)
        pairs = [divmod(int(k), len(devices)) for k in keys]
        client_list = ClientList.of(pairs, labels, devices)
        bounds = np.append(start, len(x)).astype(np.int64)
        moment = None if moment is None else moment[order].astype(np.int64)
        time = None if time is None else time[order].astype(np.float64)
        group = group[order].astype(np.int64)
        return cls(task, client_list, x[order], y[order], group, held_out[order], bounds, moment, time)

    def samples(self, index: int) -> Samples:
        """All samples of one client, as fresh float32 arrays."""
        rows = slice(int(self.start[index]), int(self.start[index + 1]))
        kind = np.int64 if self.task.kind == "classification" else np.float32
        x = self.x[rows].astype(np.float32).reshape(-1, *self.task.features)
        moment = None if self.moment is None else self.moment[rows].copy()
        time = None if self.time is None else self.time[rows].copy()
        y = self.y[rows].astype(kind)
        base = np.full_like(y, self.base) if self.task.value_unit else None
        return Samples(x, y, self.group[rows].copy(), self.held_out[rows].copy(), moment, time, base)


class InMemorySource:
    """A ``Source`` that keeps its data in memory, a ``InMemoryData``; a subclass says how it is loaded.

    A source that is sent to another process goes without its data and loads it there.
    """

    def load_data(self) -> InMemoryData:
        """The data, loaded once per process and again when its file has changed.

        Raises:
            DataError: not imported, or damaged.
        """
        raise NotImplementedError

    def files(self) -> Mapping[str, Path]:
        """The file that holds the data, by the setting that leads to it.

        Raises:
            DataError: not imported.
        """
        raise NotImplementedError

    @property
    def _held(self) -> InMemoryData:
        """The data as it was when this source was first asked: a file that changes does not change a run."""
        held: InMemoryData | None = self.__dict__.get("_kept")
        if held is None:
            held = self.__dict__["_kept"] = self.load_data()
        return held

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    @property
    def task(self) -> Task:
        """What is predicted from what."""
        return self._held.task

    @property
    def users(self) -> int:
        """Number of people."""
        return len(self._held.client_list.of_user)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device model that occurs."""
        return self._held.client_list.devices

    def __len__(self) -> int:
        """Number of clients, one per (user, device) pair that has samples."""
        return len(self._held.client_list.clients)

    def client(self, index: int) -> Client:
        """Who a client is."""
        return self._held.client_list.clients[index]

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices."""
        return self._held.client_list.of_user[user]

    def samples(self, index: int) -> Samples:
        """All samples of one client.

        Raises:
            DataError: the samples cannot be used.
        """
        data = self._held
        who = data.client_list.clients[index]
        return check_samples(data.samples(index), data.task, f"user {who.label}, {who.device}")


def number_runs(*columns: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Number the runs of rows over which every column stays the same: bouts of one activity by one person.

    Args:
        columns: codes, all of the same length n ≥ 1.

    Returns:
        0, 0, …, 1, 1, …: the run of each row.
    """
    change = np.zeros(len(columns[0]), bool)
    for column in columns:
        change[1:] |= column[1:] != column[:-1]
    return np.cumsum(change).astype(np.int64)
