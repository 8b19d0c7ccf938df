"""Recorded data sets as sources; ``metapulse data import`` brings them in, ``sim/sources/catalogue.py`` cites them.

A client is one person wearing one device. Nothing is normalised here: that is fitted per episode, on support data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from metapulse.data import Outline, Task
from metapulse.errors import ConfigError, DataError
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns, read_npz
from metapulse.sim.sources.catalogue import dataset
from metapulse.sim.sources.omniglot import Omniglot
from metapulse.sim.sources.sensors import sensor_models
from metapulse.sim.sources.table import InMemoryData, InMemorySource, SampleTable, number_runs
from metapulse.sim.sources.windows import Horizon, SeriesScaling, SeriesTable

__all__ = ["AwFitbit", "CgmOpen", "Omniglot", "SpswHar", "UciHar"]

STEP_MIN = 5  # grid of a glucose history: the reporting interval of most sensors
CENTRE_MG_DL, SPREAD_MG_DL = 140.0, 50.0  # fixed units of a glucose input, the same for everyone
MAX_GAP_MIN = 20.0  # one missed reading of a 15-minute sensor breaks a series, three of a 5-minute sensor do not


@dataclass(frozen=True)
class Recorded(InMemorySource):
    """A published data set in its compact file, as given, else as the catalogue finds it."""

    name: ClassVar[str]
    outline: ClassVar[Outline]

    path: str = setting("", "compact file to read; empty: the cache, then METAPULSE_DATA")

    def files(self) -> Mapping[str, Path]:
        """The compact file.

        Raises:
            DataError: not imported yet, or no such file.
        """
        return {"path": Path(self.path).expanduser() if self.path else dataset(self.name).require()}

    def load_data(self) -> InMemoryData:
        """The data in memory, loaded once per process."""
        path = self.files()["path"]
        return self._read(path, modified_ns(path))

    def _read(self, path: Path, written: int) -> InMemoryData:
        raise NotImplementedError


@dataclass(frozen=True)
class SpswHar(Recorded):
    """Phone and watch worn at once by 23 people: 1.28 s windows (6, 64) at 50 Hz, half overlapping, 5 activities.

    Channels: acceleration x, y, z in m/s², then rotation x, y, z in rad/s. Group = execution.

    Source: Matey-Sanz, Casteleyn, Granell 2023, Data in Brief 109809.
    """

    name: ClassVar[str] = "spsw_har"
    outline: ClassVar[Outline] = Outline("classification", 2)

    def _read(self, path: Path, written: int) -> InMemoryData:
        return _spsw_har(path, written)


@dataclass(frozen=True)
class AwFitbit(Recorded):
    """Apple Watch and Fitbit worn at once by 49 people: 12 features per minute, 6 activities.

    The same feature means different things on the two devices (median steps 60 and 5.6). Group = bout. Most people
    did an activity once, so few have a second bout of it: ``episodes.split = "samples"`` lets support and query
    share one.

    Source: Fuller et al. 2020, BMJ Open Sport & Exercise Medicine 6:e001004.
    """

    name: ClassVar[str] = "aw_fitbit"
    outline: ClassVar[Outline] = Outline("classification", 1)

    def _read(self, path: Path, written: int) -> InMemoryData:
        return _aw_fitbit(path, written)


@dataclass(frozen=True)
class UciHar(Recorded):
    """One waist-worn phone, 30 people: features of 2.56 s half-overlapping windows in [−1, 1], 6 activities.

    Group = run of one activity by one person, in the order of the file. A copy whose rows were shuffled has lost
    that order: its groups are single windows, and support and query may hold overlapping ones.

    Source: Anguita, Ghio, Oneto, Parra, Reyes-Ortiz 2013, ESANN.
    """

    name: ClassVar[str] = "uci_har"
    outline: ClassVar[Outline] = Outline("classification", 1)

    domain: Literal["time", "all"] = setting("time", "features used: the 265 of the time domain, or all 561")

    def _read(self, path: Path, written: int) -> InMemoryData:
        return _uci_har(path, written, self.domain)


@dataclass(frozen=True)
class CgmOpen(Recorded):
    """Glucose forecasting: a person's recent glucose → its change ``horizon_min`` from now.

    x = (glucose − 140 mg/dL) / 50 mg/dL every 5 minutes up to now, shape (1, history_min / 5), oldest first;
    y = (glucose in ``horizon_min`` − glucose now) / ``target_scale``, so y = 0 is persistence and RMSE in mg/dL is
    ``target_scale`` · RMSE(y). The present is always a real reading: nothing in x is interpolated from the future.
    Group = day, and no window crosses midnight. Device = the person's sensor model.

    Source: Prioleau, Lu, Cui 2025, "Glucose-ML", arXiv 2507.14077, and each study.
    """

    name: ClassVar[str] = "cgm_open"
    outline: ClassVar[Outline] = Outline("regression", 2)

    history_min: int = setting(120, "minutes of glucose seen, a multiple of 5", ge=10, le=720)
    horizon_min: int = setting(30, "minutes ahead", ge=5, le=240)
    target_scale: float = setting(50.0, "unit of the target, mg/dL (1: plain mg/dL)", gt=0.0, le=1000.0)
    max_windows: int = setting(1000, "windows per person, evenly spaced over all", ge=2)

    def __post_init__(self) -> None:
        if self.history_min % STEP_MIN:
            raise ConfigError("source.history_min", self.history_min, f"must be a multiple of {STEP_MIN}")

    def _read(self, path: Path, written: int) -> InMemoryData:
        return _cgm_open(path, written, self)


def device_name(name: str) -> str:
    """A publisher's device name as ours: the model after an underscore goes, blanks become underscores."""
    kind = name.split("_")[0] if name.startswith(("phone", "watch")) else name
    return kind.lower().replace(" ", "_")


# Kept per process, by path and by when it was written: an import in between is seen.
@lru_cache(maxsize=4)
def _spsw_har(path: Path, written: int) -> SampleTable:
    data = _columns(path, "user", "device", "execution", "label_names", "device_names")
    task = Task("classification", data["x"].shape[1:], len(data["label_names"]), _names(data["label_names"]))
    people, user = np.unique(data["user"], return_inverse=True)
    devices = [device_name(d) for d in _names(data["device_names"])]
    labels = [str(p) for p in people]
    return SampleTable.of(task, data["x"], data["y"], user, data["device"], data["execution"], labels, devices)


@lru_cache(maxsize=4)
def _aw_fitbit(path: Path, written: int) -> SampleTable:
    data = _columns(path, "user", "device", "label_names", "device_names")
    task = Task("classification", data["x"].shape[1:], len(data["label_names"]), _names(data["label_names"]))
    people, user = np.unique(data["user"], return_inverse=True)
    bout = number_runs(user, data["device"], data["y"])
    devices = [device_name(d) for d in _names(data["device_names"])]
    # The publisher gives no ids of people: a person is a distinct (age, gender, height, weight), numbered here from 1.
    labels = [str(int(p) + 1) for p in people]
    # Both devices were worn throughout, and no minute says which one it is: all of a person's are one moment.
    once = np.zeros(len(user), np.int64)
    return SampleTable.of(task, data["x"], data["y"], user, data["device"], bout, labels, devices, moment=once)


@lru_cache(maxsize=4)
def _uci_har(path: Path, written: int, domain: str) -> SampleTable:
    data = _columns(path, "user", "feature_names", "label_names")
    x, names = data["x"], _names(data["feature_names"])
    if domain == "all" and not any(name.startswith("f") for name in names):
        raise DataError(f"source.domain = 'all': {path} holds only the {len(names)} time-domain features")
    if domain == "time":
        x = x[:, [name.startswith("t") for name in names]]
    task = Task("classification", x.shape[1:], len(data["label_names"]), _names(data["label_names"]))
    people, user = np.unique(data["user"], return_inverse=True)
    bout, device = number_runs(user, data["y"]), np.zeros(len(user), np.int64)
    return SampleTable.of(task, x, data["y"], user, device, bout, [str(p) for p in people], ["phone"])


@lru_cache(maxsize=4)
def _cgm_open(path: Path, written: int, settings: CgmOpen) -> SeriesTable:
    data = read_npz(path, ("dataset", "dataset_names", "user", "user_names", "t_min", "mg_dl"))
    study, person = data["dataset"].astype(np.int64), data["user"].astype(np.int64)
    key = study * len(data["user_names"]) + person
    order = np.lexsort((data["t_min"], key))
    people, owner = np.unique(key[order], return_inverse=True)
    names = [
        (str(data["dataset_names"][k // len(data["user_names"])]), str(data["user_names"][k % len(data["user_names"])]))
        for k in people
    ]
    devices = sensor_models(names, data, path)
    models = sorted(set(devices))
    points = settings.history_min // STEP_MIN
    unit = "mg/dL" if settings.target_scale == 1 else f"{settings.target_scale:g} mg/dL"
    return SeriesTable.of(
        Task("regression", (1, points), 1, unit=unit),
        data["t_min"][order].astype(np.float64),
        data["mg_dl"][order],
        owner,
        [(number, models.index(device)) for number, device in enumerate(devices)],
        [f"{dataset_name}/{user_name}" for dataset_name, user_name in names],
        models,
        Horizon(points, float(STEP_MIN), float(settings.horizon_min), MAX_GAP_MIN),
        SeriesScaling(CENTRE_MG_DL, SPREAD_MG_DL, settings.target_scale),
        settings.max_windows,
    )


def _names(column: np.ndarray) -> tuple[str, ...]:
    return tuple(str(name) for name in column)


def _columns(path: Path, *required: str) -> dict[str, np.ndarray]:
    """The arrays of a compact file of samples; per-sample arrays must agree in length.

    Raises:
        DataError: damaged, an array is missing, lengths differ, or there are no samples.
    """
    data = read_npz(path, ("x", "y", *required))
    n = len(data["x"])
    wrong = [k for k in ("y", "user", "device", "execution") if k in required and len(data[k]) != n]
    if wrong or len(data["y"]) != n or n == 0:
        raise DataError(f"{path}: x holds {n} samples; y, {', '.join(wrong) or 'user'} must hold as many, at least 1")
    return data
