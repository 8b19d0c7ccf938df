"""The phone-and-watch data set of Matey-Sanz, Casteleyn and Granell: ``DATA/sXX/sXX_YY_{sp,sw}.csv``.

Source: Matey-Sanz, Casteleyn, Granell 2023, Data in Brief 109809, Zenodo 10.5281/zenodo.8398688.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from metapulse.data import Outline
from metapulse.errors import DataError
from metapulse.sim.importers.files import FileTree, Progress, codes, csv_columns, numbers, open_tree
from metapulse.sim.importers.readings import motion_windows
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Recorded, as_names, labelled_table, read_columns
from metapulse.sim.sources.table import SampleTable

CHANNELS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
LABELS = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
DEVICES = ("phone", "watch")
RATE_HZ, LENGTH, HOP = 50, 64, 32  # 1.28 s windows, half overlapping
PURITY = 0.75  # least share of a window under one label
MAX_FILE = 64 << 20
MAX_RECORDING_MS = 3_600_000.0  # an execution takes half a minute; an hour of grid is still small
_NAME = re.compile(r"s(\d{1,4})_(\d{1,4})_(sp|sw)\.csv")


def read_spsw_har(path: Path, progress: Progress) -> dict[str, Any]:
    """The publisher's zip or folder as windows (n, 6, 64) at 50 Hz.

    Args:
        path: the zip, the folder that holds ``DATA``, or ``DATA`` itself.
        progress: called with (recordings done, recordings in all).

    Returns:
        Arrays of the compact file: x, y, user, device, execution, t0_ms, label_names, device_names, channel_names, fs.

    Raises:
        DataError: no recording there, or one that cannot be used.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    with open_tree(path) as tree:
        names = [n for n in tree.match("_sp.csv", "_sw.csv") if _NAME.fullmatch(PurePosixPath(n).name)]
        if not names:
            raise DataError(f"{path}: holds no recording sXX_YY_sp.csv or sXX_YY_sw.csv")
        seen: dict[tuple[int, int, int], str] = {}
        for number, name in enumerate(names):
            key = _key(name)
            if key in seen:
                raise DataError(f"{path}: {name} and {seen[key]} are the same recording")
            seen[key] = name
            parts.append(_windows(tree, name, key))
            progress(number + 1, len(names))
    x, y, t0, user, device, execution = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(x) == 0:
        raise DataError(f"{path}: no recording is long enough for one window of {LENGTH / RATE_HZ} s")
    order = np.lexsort((t0, execution, device, user))
    return {
        "x": x[order],
        "y": y[order],
        "user": user[order],
        "device": device[order],
        "execution": execution[order],
        "t0_ms": t0[order].astype(np.int64),
        "label_names": np.array(LABELS),
        "device_names": np.array(DEVICES),
        "channel_names": np.array(CHANNELS),
        "fs": np.float32(RATE_HZ),
    }


def _key(name: str) -> tuple[int, int, int]:
    """(user, device code, execution) of a recording's file name."""
    found = _NAME.fullmatch(PurePosixPath(name).name)
    assert found is not None
    return int(found[1]), ("sp", "sw").index(found[3]), int(found[2])


def _windows(tree: FileTree, name: str, key: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """Windows of one recording and their codes: x, y, t0, user, device, execution."""
    if tree.sizes[name] > MAX_FILE:
        raise DataError(f"{tree.label}: {name}: {tree.sizes[name]} bytes; allowed are at most {MAX_FILE}")
    wanted = {column: (column,) for column in (*CHANNELS, "timestamp", "label")}
    stamps, values, labels = [], [], []
    for first, rows in csv_columns(tree.open(name), name, wanted):
        stamps.append(numbers(rows["timestamp"], name, "timestamp", first))
        values.append(np.stack([numbers(rows[c], name, c, first, -1e4, 1e4) for c in CHANNELS], 1))
        labels.append(codes(rows["label"], name, "label", LABELS, first))
    t = np.concatenate(stamps)
    if t.max() - t.min() > MAX_RECORDING_MS:
        hours = (t.max() - t.min()) / 3.6e6
        raise DataError(f"{name}: timestamps span {hours:.3g} hours; allowed is at most 1")
    x, y, t0 = motion_windows(
        t, np.concatenate(values), np.concatenate(labels), LENGTH, HOP, 1000 / RATE_HZ, PURITY
    )  # fmt: skip
    user, device, execution = (np.full(len(x), code, np.int16) for code in key)
    return x, y, t0, user, device, execution


@dataclass(frozen=True)
class SpswHar(Recorded):
    """Phone and watch worn at once by 23 people: 1.28 s windows (6, 64) at 50 Hz, half overlapping, 5 activities.

    Channels: acceleration x, y, z in m/s², then rotation x, y, z in rad/s. Group = execution.

    Source: Matey-Sanz, Casteleyn, Granell 2023, Data in Brief 109809.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="spsw_har",
        title="phone and watch worn at once, accelerometer m/s² and gyroscope rad/s, 5 activities",
        citation="Matey-Sanz, Casteleyn, Granell 2023, Data in Brief 109809, doi:10.1016/j.dib.2023.109809",
        users="23",
        devices="phone, watch",
        licence="CC BY 4.0",
        where="https://doi.org/10.5281/zenodo.8398688",
        layout="the zip, or the unpacked folder, that holds DATA/sXX/sXX_YY_{sp,sw}.csv",
        read=read_spsw_har,
    )
    outline: ClassVar[Outline] = Outline("classification", 2)

    def read_compact(self, path: Path) -> SampleTable:
        """The windows as clients."""
        data = read_columns(path, "device", "execution", "device_names")
        time = data["t0_ms"] / 1000.0 if "t0_ms" in data else None  # s since 1970, by clocks of both devices
        return labelled_table(data, data["execution"], as_names(data["device_names"]), time=time)
