"""The Apple Watch and Fitbit data set of Fuller et al.: one ``aw_fb_data.csv``.

The file has no ids of people: a person is a distinct (age, gender, height, weight), which gives the paper's 49.

Source: Fuller et al. 2020, BMJ Open Sport & Exercise Medicine 6:e001004, doi:10.7910/DVN/ZS2Z2J.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metapulse.data import Outline
from metapulse.errors import DataError
from metapulse.sim.importers.files import Progress, codes, csv_columns, numbers
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Recorded, as_names, labelled_table, read_columns
from metapulse.sim.sources.table import SampleTable, number_runs

PERSON = ("age", "gender", "height", "weight")
# Our names; the publisher misspells one.
FEATURES = {
    "steps": "steps",
    "heart_rate": "heart_rate",
    "calories": "calories",
    "distance": "distance",
    "entropy_heart": "entropy_heart",
    "entropy_steps": "entropy_setps",
    "resting_heart": "resting_heart",
    "corr_heart_steps": "corr_heart_steps",
    "norm_heart": "norm_heart",
    "intensity_karvonen": "intensity_karvonen",
    "sd_norm_heart": "sd_norm_heart",
    "steps_times_distance": "steps_times_distance",
}
LABELS = ("Lying", "Sitting", "Self Pace walk", "Running 3 METs", "Running 5 METs", "Running 7 METs")
DEVICES = ("apple watch", "fitbit")
MAX_FILE = 256 << 20


def read_aw_fitbit(path: Path, progress: Progress) -> dict[str, Any]:
    """``aw_fb_data.csv`` as minutes of 12 features, in the order of the file within each person and device.

    Args:
        path: the file, or a folder that holds it.
        progress: called with (1, 1) at the end.

    Returns:
        Arrays of the compact file: x, y, user, device, person, person_names, feature_names, label_names, device_names.

    Raises:
        DataError: no such file, or a row that cannot be used.
    """
    file = path / "aw_fb_data.csv" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected aw_fb_data.csv")
    if file.stat().st_size > MAX_FILE:
        raise DataError(f"{file}: {file.stat().st_size} bytes; allowed are at most {MAX_FILE}")
    wanted = {name: (name,) for name in (*PERSON, "device", "activity")}
    wanted |= {ours: (theirs, ours) for ours, theirs in FEATURES.items()}
    xs, persons, ys, devices = [], [], [], []
    for first, rows in csv_columns(file.open("rb"), file.name, wanted):
        xs.append(np.stack([numbers(rows[f], file.name, f, first, -1e9, 1e9) for f in FEATURES], 1))
        persons.append(np.stack([numbers(rows[p], file.name, p, first, 0, 1000) for p in PERSON], 1))
        ys.append(codes(rows["activity"], file.name, "activity", LABELS, first))
        devices.append(codes(rows["device"], file.name, "device", DEVICES, first))
    person, user = np.unique(np.concatenate(persons), axis=0, return_inverse=True)
    device = np.concatenate(devices)
    order = np.lexsort((device, user))  # stable: minutes stay in the order of the file
    progress(1, 1)
    return {
        "x": np.concatenate(xs)[order].astype(np.float32),
        "y": np.concatenate(ys)[order],
        "user": user[order].astype(np.int16),
        "device": device[order].astype(np.int8),
        "person": person.astype(np.float32),
        "person_names": np.array(PERSON),
        "feature_names": np.array(list(FEATURES)),
        "label_names": np.array(LABELS),
        "device_names": np.array(DEVICES),
    }


@dataclass(frozen=True)
class AwFitbit(Recorded):
    """Apple Watch and Fitbit worn at once by 49 people: 12 features per minute, 6 activities.

    The same feature means different things on the two devices (median steps 60 and 5.6). Group = bout. Most people
    did an activity once, so few have a second bout of it: ``episodes.split = "samples"`` lets support and query
    share one.

    Source: Fuller et al. 2020, BMJ Open Sport & Exercise Medicine 6:e001004.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="aw_fitbit",
        title="Apple Watch and Fitbit worn at once, 12 minute features, 6 activities",
        citation="Fuller et al. 2020, BMJ Open Sport & Exercise Medicine 6:e001004, doi:10.7910/DVN/ZS2Z2J",
        users="49",
        devices="apple_watch, fitbit",
        licence="CC0 1.0 (the repository's default; check the page)",
        where="https://doi.org/10.7910/DVN/ZS2Z2J",
        layout="aw_fb_data.csv",
        read=read_aw_fitbit,
    )
    outline: ClassVar[Outline] = Outline("classification", 1)

    def read_compact(self, path: Path) -> SampleTable:
        """The minutes as clients; people are numbered from 1."""
        data = read_columns(path, "device", "device_names")
        bout = number_runs(data["user"], data["device"], data["y"])
        data["user"] = data["user"].astype(np.int64) + 1
        # Both devices were worn throughout, and no minute says which one it is: all of a person's are one moment.
        once = np.zeros(len(data["x"]), np.int64)
        return labelled_table(data, bout, as_names(data["device_names"]), moment=once)
