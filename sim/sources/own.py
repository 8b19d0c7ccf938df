"""Bring your own data: an ``.npz``, Parquet or CSV described by a few lines of TOML.

The lines stand in ``[source]`` of the configuration, or in a ``data.toml`` beside the file, to which ``path`` then
points. Classification, regression, and forecasting windows cut from (user, time, value) series.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from metapulse.data import Outline, Task
from metapulse.errors import ConfigError, DataError
from metapulse.settings import build, setting
from metapulse.sim.importers.compact import modified_ns
from metapulse.sim.importers.readings import merge_duplicates
from metapulse.sim.importers.tabular import FORMATS
from metapulse.sim.sources.own_columns import TableDescription, UsableRows, coded, read_rows
from metapulse.sim.sources.table import InMemoryData, InMemorySource, SampleTable
from metapulse.sim.sources.windows import SeriesTable
from metapulse.windows import DAY_MIN, Horizon, SeriesScaling

SERIES = ("kind", "forecasting")


@dataclass(frozen=True)
class Own(InMemorySource, TableDescription):
    """Your own recordings; one client per (user, device) pair.

    Labels may be text or whole numbers and are numbered in sorted order. Numbers in ``time`` are in your unit, dates
    become minutes; ``step``, ``horizon``, ``max_gap`` and ``day`` are in the same unit.
    """

    history: int = setting(
        24, "forecasting: values seen, the last is the present one", ge=1, le=100_000, used_if=SERIES
    )
    step: float = setting(5.0, "forecasting: time between two of them", gt=0, used_if=SERIES)
    horizon: float = setting(30.0, "forecasting: how far ahead", gt=0, used_if=SERIES)
    max_gap: float = setting(20.0, "forecasting: a longer silence breaks a series", gt=0, used_if=SERIES)
    day: float = setting(DAY_MIN, "length of one group where time says which; no window crosses its end", gt=0)
    centre: float = setting(0.0, "forecasting: taken off every input; regression: off the target")
    scale: float = setting(
        1.0, "forecasting: inputs and the change to be forecast are divided by it; regression: the target", gt=0
    )
    max_windows: int = setting(1000, "forecasting: windows per client, evenly spaced over all", ge=2, used_if=SERIES)

    def __post_init__(self) -> None:
        unused: tuple[str, ...] = ("x", "group", "held_out", "shape") if self.kind == "forecasting" else ()
        unused += ("centre", "scale") if self.kind == "classification" else ()
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for key in unused:
            if getattr(self, key) != defaults[key]:
                raise ConfigError(f"source.{key}", getattr(self, key), f"has no meaning for kind = {self.kind!r}")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise ConfigError("source.classes", list(self.classes), "must be at least two, each once")
        if self.classes and self.kind != "classification":
            raise ConfigError("source.classes", list(self.classes), f"has no meaning for kind = {self.kind!r}")
        if self.y in self.x:
            raise ConfigError("source.x", list(self.x), f"must not hold y ({self.y!r}), which is to be predicted")

    @property
    def outline(self) -> Outline:
        """As ``kind`` and ``shape`` say; a sample without a shape is a row of features."""
        if self.kind == "forecasting":  # of one channel over time
            return Outline("regression", 2)
        return Outline(self.kind, len(self.shape) or 1)

    def files(self) -> Mapping[str, Path]:
        """The data, and the TOML file that describes it where there is one."""
        described, path = self._described()[0], Path(self.path).expanduser()
        data = {"path": Path(described.path).expanduser()}
        if described is self:
            return data
        return {"data": data["path"], "path": path / "data.toml" if path.is_dir() else path}

    def load_data(self) -> InMemoryData:
        """The data in memory."""
        return _load(*self._described())

    @property
    def dropped(self) -> int:
        """Rows left out for missing or infinite values (only with ``drop_nan``)."""
        return _rows(*self._described()).dropped

    def remarks(self) -> tuple[str, ...]:
        """What was used and what was left out, a line each."""
        said, held = _rows(*self._described()).remarks, self._held
        if isinstance(held, SeriesTable) and held.left_out:
            said += (f"{held.left_out} series left out: too short, or too often broken, for one window",)
        return said

    def _described(self) -> tuple[Own, int]:
        """These settings, or those of the TOML file that ``path`` points to; and when the data was written."""
        if not self.path:
            raise ConfigError("source.path", "", "must name an .npz, .parquet, .csv or .toml file")
        path = Path(self.path).expanduser()
        path = path / "data.toml" if _is_folder(path) else path
        own = _told(self, path, modified_ns(path)) if path.suffix == ".toml" else self
        return own, modified_ns(Path(own.path).expanduser())


@lru_cache(maxsize=16)
def _told(own: Own, path: Path, written: int) -> Own:
    """The settings that a TOML file holds.

    Raises:
        ConfigError: a key stands in both places, or is wrong.
        DataError: the file cannot be read.
    """
    for field in dataclasses.fields(own):
        value = getattr(own, field.name)
        if field.name != "path" and value != field.default:
            raise ConfigError(f"source.{field.name}", value, f"must stand in {path.name} instead")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"source.path leads to {path}: cannot be read ({str(error).splitlines()[0]})") from None
    told = build(Own, table, path.name)
    if Path(told.path).suffix not in FORMATS:
        raise ConfigError(f"{path.name}.path", told.path, f"must name a file of {', '.join(FORMATS)}")
    return dataclasses.replace(told, path=str(path.parent / Path(told.path).expanduser()))


@lru_cache(maxsize=4)
def _load(own: Own, written: int) -> SampleTable | SeriesTable:
    rows = _rows(own, written)
    people, user = coded(rows["user"])
    devices, device = coded(rows["device"]) if rows.role["device"] else (["own"], np.zeros(len(user), np.int64))
    if own.kind == "forecasting":
        return _series(own, rows, (user, device), people, devices)
    x = _inputs(own, rows)
    held_out = _numbers(rows, "held_out") != 0 if rows.role["held_out"] else None
    if rows.role["time"]:
        _numbers(rows, "time")
    if own.kind == "regression":
        target = rows.columns[own.y].reshape(len(user), -1)
        y = ((target - own.centre) / own.scale).astype(np.float32)
        task = _task(own, x.shape[1:], y.shape[1], rows.features)
    else:
        names, y = _labels(own, rows.columns[own.y])
        task = Task("classification", x.shape[1:], len(names), tuple(names), names=rows.features)
    groups = _groups(own, rows)
    unknown = rows.instant is None and not _shared(groups, user, device)
    moment = np.zeros(len(user), np.int64) if unknown else None
    table = SampleTable.of(task, x, y, user, device, groups, people, devices, held_out, rows.instant, moment)
    return dataclasses.replace(table, base=own.centre)


@lru_cache(maxsize=4)
def _rows(own: Own, written: int) -> UsableRows:
    return read_rows(own)


def _numbers(rows: UsableRows, role: str) -> np.ndarray:
    """The column of a role that holds numbers; one that is the label's or a name's too may hold text."""
    try:
        return rows[role].astype(np.float64)
    except ValueError:
        raise ConfigError(
            f"source.{role}", rows.role[role], "holds text: it is the column of another part too"
        ) from None


def _inputs(own: Own, rows: UsableRows) -> np.ndarray:
    """(n, *features), float32."""
    parts = [rows.columns[name] for name in rows.features]
    x = (
        parts[0]
        if len(parts) == 1 and parts[0].ndim > 1
        else np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
    )
    if own.shape:
        if math.prod(own.shape) != math.prod(x.shape[1:]):
            raise ConfigError("source.shape", list(own.shape), f"must have {math.prod(x.shape[1:])} values in all")
        x = x.reshape(-1, *own.shape)
    return x.astype(np.float32)


def _task(own: Own, features: tuple[int, ...], outputs: int, names: tuple[str, ...] = ()) -> Task:
    """A regression whose target is scaled; of what has a unit the values are known."""
    unit = own.unit if own.scale == 1 else f"{own.scale:g} {own.unit}".strip()
    return Task("regression", features, outputs, (), unit, names, own.scale, own.unit)


def _labels(own: Own, texts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Label names in order, or as stated in ``classes``, and the code of each sample."""
    names, codes = coded(texts)
    if own.classes:
        if strange := sorted(set(names) - set(own.classes)):
            raise ConfigError(
                "source.classes", list(own.classes), f"must hold every class of {own.y}; {strange[0]!r} is in the file"
            )
        place = np.array([own.classes.index(name) for name in names])
        return list(own.classes), place[codes]
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        numbers = []
    if parts := [number for number in numbers if number != round(number)]:
        value = min(parts)
        raise DataError(f"{own.path}: {own.y} = {value:g}; a label is a whole number or text (or kind = 'regression')")
    if len(names) < 2:
        raise DataError(f"{own.path}: {own.y} holds one class only ({names[0]!r}); at least two are needed")
    if len(set(numbers)) < len(numbers):
        raise DataError(f"{own.path}: {own.y} writes one number in several ways: {', '.join(names[:12])}")
    return names, codes


def _groups(own: Own, rows: UsableRows) -> np.ndarray:
    """The group column's codes; else the day; else every sample is its own."""
    if rows.role["group"]:
        return coded(rows["group"])[1]
    if rows.role["time"]:
        days: np.ndarray = (_numbers(rows, "time") // own.day).astype(np.int64)
        return days
    return np.arange(len(rows["user"]))


def _shared(group: np.ndarray, user: np.ndarray, device: np.ndarray) -> bool:
    """Whether groups tell which moments two devices of a person have in common.

    They do where both name some alike; groups of other names, like samples without any, may be of the same moments.
    """
    for person in np.unique(user):
        own = user == person
        sets = [set(group[own & (device == one)].tolist()) for one in np.unique(device[own])]
        if len(sets) > 1 and not set.intersection(*sets):
            return False
    return True


def _series(
    own: Own, rows: UsableRows, codes: tuple[np.ndarray, np.ndarray], people: list[str], devices: list[str]
) -> SeriesTable:
    """Forecasting windows per (user, device) series; stamps that repeat are averaged."""
    user, device = codes
    key = user * len(devices) + device
    time = _numbers(rows, "time")
    instant = time if rows.instant is None else rows.instant
    stamps, values, owners, pairs, instants = [], [], [], [], []
    for number, k in enumerate(np.unique(key)):
        own_rows = key == k
        t, v = merge_duplicates(time[own_rows], rows.columns[own.y][own_rows][:, None].astype(np.float64))
        stamps.append(t)
        instants.append(instant[own_rows][np.unique(time[own_rows], return_index=True)[1]])
        values.append(v[:, 0])
        owners.append(np.full(len(t), number))
        pairs.append(divmod(int(k), len(devices)))
    table = SeriesTable.of(
        _task(own, (1, own.history), 1),
        np.concatenate(stamps),
        np.concatenate(values),
        np.concatenate(owners),
        pairs,
        people,
        devices,
        Horizon(own.history, own.step, own.horizon, own.max_gap, own.day),
        SeriesScaling(own.centre, own.scale, own.scale),
        own.max_windows,
        np.concatenate(instants),
    )
    if not table.client_list.clients:
        need = own.step * (own.history - 1) + own.horizon
        raise DataError(f"{own.path}: no series runs for {need:g} without a gap over {own.max_gap:g} within one day")
    return table


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # a name that nothing can have
        raise DataError(f"{str(path)[:200]!r}: {error.strerror}") from None
