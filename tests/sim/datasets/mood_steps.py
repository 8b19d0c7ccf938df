"""A made-up published data set: how a person feels in an hour, from the steps in it and the pulse.

Source: Example 2020, Journal of Examples 1:1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metapulse.data import Outline
from metapulse.sim.importers.files import Progress, codes, csv_columns, numbers
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Recorded, labelled_table, read_columns
from metapulse.sim.sources.table import SampleTable

COLUMNS = ("person", "steps", "pulse", "mood")
LABELS = ("low", "high")


def read_mood_steps(path: Path, progress: Progress) -> dict[str, Any]:
    """``mood.csv`` as arrays of the compact file: x, y, user, label_names.

    Raises:
        DataError: a row that cannot be used.
    """
    xs, ys, users = [], [], []
    for first, rows in csv_columns(path.open("rb"), path.name, {name: (name,) for name in COLUMNS}):
        xs.append(np.stack([numbers(rows[c], path.name, c, first, 0, 1e5) for c in ("steps", "pulse")], 1))
        ys.append(codes(rows["mood"], path.name, "mood", LABELS, first))
        users.append(numbers(rows["person"], path.name, "person", first, 1, 1000).astype(np.int16))
    progress(1, 1)
    x = np.concatenate(xs).astype(np.float32)
    return {"x": x, "y": np.concatenate(ys), "user": np.concatenate(users), "label_names": np.array(LABELS)}


@dataclass(frozen=True)
class MoodSteps(Recorded):
    """Steps and pulse of an hour, and the mood in it; each hour is its own group.

    Source: Example 2020, Journal of Examples 1:1.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="mood_steps",
        title="steps and pulse of an hour, mood low or high",
        citation="Example 2020, Journal of Examples 1:1",
        users="3",
        devices="band",
        licence="CC0 1.0",
        where="https://example.org/mood",
        layout="mood.csv",
        read=read_mood_steps,
    )
    outline: ClassVar[Outline] = Outline("classification", 1)

    def read_compact(self, path: Path) -> SampleTable:
        """The hours as clients."""
        data = read_columns(path)
        data["device"] = np.zeros(len(data["x"]), np.int64)
        return labelled_table(data, np.arange(len(data["x"])), ("band",))
