"""What a data source is: a lazy population of clients, each one person wearing one device.

A source lives where its data is (``metapulse.sim.sources`` for simulation, a device's own folder in a deployment) and
is named by a registry entry or a dotted reference, so that this layer never imports it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from metapulse.errors import DataError, MetapulseError
from metapulse.renamed import new_name


@dataclass(frozen=True)
class Task:
    """What is predicted from what.

    Args:
        kind: "classification" or "regression".
        features: shape of one sample, for example (6, 64): channels × time.
        outputs: number of classes, or of regression targets.
        labels: class names, in label order (may be empty).
        unit: unit of a regression target, "" if it has none.
        names: of the features, where they have some; devices must agree on them.
        scale: size of the target's unit in ``value_unit``: a target y stands for the value base + scale · y, where
            ``Samples.base`` has the base.
        value_unit: unit of these values, for example "mg/dL"; "": samples have no base.
    """

    kind: Literal["classification", "regression"]
    features: tuple[int, ...]
    outputs: int
    labels: tuple[str, ...] = ()
    unit: str = ""
    names: tuple[str, ...] = ()
    # No part of what devices agree on, nor of a source's fingerprint: ``unit`` says it already.
    scale: float = field(default=1.0, compare=False, repr=False)
    value_unit: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Client:
    """One person wearing one device.

    Args:
        index: partition id, 0 … len(source) − 1.
        user: the person, 0 … source.users − 1; a person's devices share it.
        device: device model, for example "phone" or "watch".
        label: the person's id as the data's publisher writes it.
    """

    index: int
    user: int
    device: str
    label: str


@dataclass(frozen=True)
class Samples:
    """One client's samples, n of them.

    Args:
        x: inputs, shape (n, *features).
        y: labels 0 … classes − 1 of shape (n,), or targets of shape (n, outputs).
        group: execution, day or bout of each sample; support and query never share one where windows overlap.
        held_out: samples the publisher reserves for testing; all False where there are none.
        moment: when each was recorded, as a code that means the same on all of a person's devices; None: the group.
        time: stamp of each on a clock that all of a person's devices share; None: not known.
        base: value that a target of 0 stands for, in the task's ``value_unit``; None: not known, or there are labels.
        span: first and last moment that each is made of, its target's included, in minutes of a clock that all of a
            person's devices share; None: not known.
    """

    x: Float32[np.ndarray, "n *features"]
    y: Int64[np.ndarray, " n"] | Float32[np.ndarray, "n outputs"]
    group: Int64[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"]
    moment: Int64[np.ndarray, " n"] | None = None
    time: Float64[np.ndarray, " n"] | None = None
    base: Float32[np.ndarray, "n outputs"] | None = None
    span: Float64[np.ndarray, "n 2"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Int64[np.ndarray, " k"]) -> Samples:
        """The given rows, in the given order."""
        known = (self.moment, self.time, self.base, self.span)
        moment, time, base, span = (None if part is None else part[rows] for part in known)
        return Samples(self.x[rows], self.y[rows], self.group[rows], self.held_out[rows], moment, time, base, span)

    @property
    def moments(self) -> Int64[np.ndarray, " n"]:
        """When each sample was recorded, as a code."""
        return self.group if self.moment is None else self.moment


@runtime_checkable
class Clients(Protocol):
    """Who the clients of a population are."""

    @property
    def task(self) -> Task:
        """What is predicted from what."""

    @property
    def users(self) -> int:
        """Number of people, ≥ 1."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device model that occurs."""

    def __len__(self) -> int:
        """Number of clients, ≥ users."""

    def client(self, index: int) -> Client:
        """Who a client is, without touching samples."""

    def clients_of(self, user: int) -> Sequence[int]:
        """Partition ids of one person's devices."""


@runtime_checkable
class Source(Clients, Protocol):
    """A lazy population. Asking for one client costs that client only, whatever the size of the population.

    Implementations are frozen dataclasses of settings (see ``metapulse.settings``); data is loaded on first use and
    two instances with equal settings give equal samples.
    """

    def samples(self, index: int) -> Samples:
        """All samples of one client.

        Raises:
            DataError: the client has no usable samples.
        """


@dataclass(frozen=True)
class Outline:
    """What settings alone tell of a source's task: its kind, and how many axes a sample has."""

    kind: Literal["classification", "regression"]
    axes: int


def outline(source: Any) -> Outline:
    """What a source's ``outline`` says, else what its task is.

    Args:
        source: a ``Source``, which is not checked: to find out whether it has a task is to ask for it, and its data.

    Raises:
        DataError: it has no outline, and no data.
    """
    told: Outline | None = getattr(source, "outline", None)
    return told or Outline(source.task.kind, len(source.task.features))


@runtime_checkable
class RemarkingSource(Protocol):
    """What a source or a directory of clients may offer besides: what people have to know of its data."""

    def remarks(self) -> Sequence[str]:
        """What is used and what was left out, a line each."""


@runtime_checkable
class BulkSource(Protocol):
    """What a source may offer besides: equally many samples of many clients, all at once."""

    def block(self, clients: Sequence[int]) -> tuple[Float32[np.ndarray, "clients n *features"], np.ndarray]:
        """Inputs and targets of the given clients, row i as ``samples(clients[i])`` has them.

        Raises:
            DataError: one of the clients has no usable samples.
        """


@runtime_checkable
class FileSource(Protocol):
    """What a source that reads files offers besides: which ones, so that other content is known for another run."""

    def files(self) -> Mapping[str, Path]:
        """Files, or folders of files, whose content decides the samples, by a setting's name or another short word.

        Raises:
            DataError: they are not to be found.
        """


def check_samples(samples: Samples, task: Task, who: str) -> Samples:
    """Refuse samples that would poison a model: none at all, NaN or infinity, labels out of range, wrong shape.

    Raises:
        DataError: names the client, the problem and what is allowed.
    """
    if len(samples) == 0:
        raise DataError(f"{who} has no samples")
    if samples.x.shape[1:] != task.features:
        raise DataError(f"{who}: a sample has shape {samples.x.shape[1:]}, the task says {task.features}")
    if not np.isfinite(samples.x).all():
        bad = int((~np.isfinite(samples.x)).reshape(len(samples), -1).any(1).sum())
        raise DataError(f"{who}: {bad} of {len(samples)} samples hold NaN or infinity; inputs must be finite")
    if task.kind == "classification":
        if samples.y.min() < 0 or samples.y.max() >= task.outputs:
            raise DataError(
                f"{who}: labels from {samples.y.min()} to {samples.y.max()}; allowed are 0 to {task.outputs - 1}"
            )
    elif not np.isfinite(samples.y).all():
        raise DataError(f"{who}: targets hold NaN or infinity; targets must be finite")
    return samples


def check_block(x: np.ndarray, y: np.ndarray, task: Task) -> None:
    """Refuse a block with samples that ``check_samples`` would refuse; it does not say whose they are.

    Raises:
        DataError: some sample is not finite, its label is out of range, or the shape is not the task's.
    """
    labels = task.kind == "classification"
    sane = x.shape[2:] == task.features and y.shape[:2] == x.shape[:2] and x.shape[1] > 0 and bool(np.isfinite(x).all())
    if not sane or not (y.min() >= 0 and y.max() < task.outputs if labels else np.isfinite(y).all()):
        raise DataError("samples of one of the clients are unusable")


def read_samples(source: Source, client: int) -> Samples:
    """A client's samples, checked; whatever its source does wrong is this client's own failure.

    Raises:
        DataError: the samples cannot be used, or the source raises or returns something else.
    """
    who = f"client {client}"
    try:
        samples = source.samples(client)
    except MetapulseError:
        raise
    except Exception as error:  # raised by a source of the user's own
        reason = new_name(error) or " ".join(str(error).split())[:300]
        raise DataError(f"{who}: its source raises {type(error).__name__}: {reason}") from error
    if not isinstance(samples, Samples):
        raise DataError(f"{who}: its source returns {type(samples).__name__}; must be metapulse.data.Samples")
    return check_samples(samples, source.task, who)


def look_alike(labels: Iterable[str], case: bool = False) -> tuple[str, str] | None:
    """Two ids of people that differ in blanks or in how Unicode spells them alone, and so are one person; None: none.

    Args:
        labels: ids.
        case: whether upper and lower case are one as well.
    """
    seen: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        plain = "".join(unicodedata.normalize("NFKC", label).split())
        plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")  # zero-width characters
        plain = unicodedata.normalize("NFKC", plain.casefold()) if case else plain
        if plain in seen:
            return seen[plain], label
        seen[plain] = label
    return None


def id_difference(pair: tuple[str, str]) -> str:
    """What two labels that ``look_alike`` found differ in, in words: one thing where it is one."""
    ways: dict[str, Callable[[str], str]] = {
        "blanks": lambda text: "".join(text.split()),
        "upper and lower case": str.casefold,
        "characters that are not shown": lambda text: "".join(c for c in text if unicodedata.category(c) != "Cf"),
        "how Unicode spells them": lambda text: unicodedata.normalize("NFKC", text),
    }
    found = next((what for what, plain in ways.items() if plain(pair[0]) == plain(pair[1])), None)
    return found or "several of: " + ", ".join(ways)
