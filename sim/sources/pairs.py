"""Readings of two devices at the same moments as a source: each person who wore both is a client.

What is learned from it with ``random_effects`` is a prior over maps (``mp.map_prior``): people's pairs stay where they
are, and with ``[privacy]`` or ``[secure_aggregation]`` so do what each has to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from metapulse.data import Outline, Samples, Task
from metapulse.errors import ConfigError, DataError
from metapulse.migration.linear import take_rows
from metapulse.migration.pairs import read_pairs
from metapulse.migration.terms import NAMES, Terms
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns
from metapulse.sim.sources.table import ClientList, InMemoryData, InMemorySource

DEVICE = "both"  # every client is a person who wore the two


@dataclass(frozen=True)
class PairsSource(InMemorySource):
    """x = the terms of the old device's readings around a moment, but for the constant; y = (new − centre) / scale.

    Centre and scale are settings, since no one device knows those of all. Group = day.
    """

    path: str = setting("", "a .parquet or .csv with person, time (UTC), old and new")
    terms: tuple[str, ...] = setting(("window", "slow"), f"what a map looks at beside the reading: {', '.join(NAMES)}")
    centre: float = setting(120.0, "usual reading, the metric's unit")
    scale: float = setting(40.0, "how far readings usually are from it", gt=0)
    rows: int = setting(150, "pairs a person, evenly taken in twos", ge=2, le=10_000)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.terms if name not in NAMES]:
            raise ConfigError("source.terms", unknown[0], f"must be of {', '.join(NAMES)}")

    @property
    def made(self) -> Terms:
        """The terms; bends are half a scale below the centre and above."""
        return Terms(self.terms, self.centre, self.scale, (-0.5, 0.5) if "bends" in self.terms else ())

    @property
    def outline(self) -> Outline:
        """One number from as many as there are terms."""
        return Outline("regression", 1)

    @property
    def task(self) -> Task:
        """One number; no file is read."""
        return Task("regression", (self.made.width - 1,), 1)

    def files(self) -> Mapping[str, Path]:
        """The table."""
        if not self.path:
            raise ConfigError("source.path", "", "must name a .parquet or .csv of pairs")
        return {"path": Path(self.path).expanduser()}

    def load_data(self) -> InMemoryData:
        """Samples of every client, made once per process and again when the file has changed."""
        path = self.files()["path"]
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        return _load(str(path), modified_ns(path), self.made, self.rows)


@dataclass(frozen=True)
class PairsData:
    """Everyone's samples."""

    task: Task
    client_list: ClientList
    taken: tuple[Samples, ...]

    def samples(self, index: int) -> Samples:
        """All samples of one client, in order of time."""
        return self.taken[index]


@lru_cache(maxsize=4)
def _load(path: str, modified: int, terms: Terms, most: int) -> PairsData:
    import polars as pl

    try:
        frame = pl.read_parquet(path) if path.endswith(".parquet") else pl.read_csv(path, try_parse_dates=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: no table can be read ({' '.join(str(error).split())[:200]})") from None
    people = read_pairs(frame, path).people
    if not people:
        raise DataError(f"{path}: no row has both readings")
    taken = []
    for one in people.values():
        rows = take_rows(terms, [one], most)
        x, y = rows.terms[0, :, 1:].numpy(), ((rows.new[0] - terms.centre) / terms.scale).unsqueeze(1).numpy()
        hours = rows.hours[0].numpy()
        day, free = (hours // 24.0).astype(np.int64), np.zeros(len(hours), np.bool_)
        taken.append(Samples(x.astype(np.float32), y.astype(np.float32), day, free, None, hours))
    clients = ClientList.of([(place, 0) for place in range(len(people))], list(people), [DEVICE])
    return PairsData(Task("regression", (terms.width - 1,), 1), clients, tuple(taken))
