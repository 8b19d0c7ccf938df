"""Bring your own data: an ``.npz``, Parquet or CSV described by a few lines of TOML.

The lines stand in ``[source]`` of the configuration, or in a ``data.toml`` beside the file, to which ``path`` then
points. Classification, regression, and forecasting windows cut from (user, time, value) series.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from client.data import Task
from client.errors import ConfigError, DataError
from client.settings import build, setting
from sim.importers.compact import stamp
from sim.importers.tabular import FORMATS, describe, read_columns
from sim.sources.table import HeldSource, Holding, Table
from sim.sources.windows import DAY_MIN, Horizon, Scaling, SeriesTable, merge_duplicates

Columns = Mapping[str, np.ndarray]
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
ROLES = ("user", "device", "group", "time", "held_out")


@dataclass(frozen=True)
class Own(HeldSource):
    """Your own recordings; one client per (user, device) pair.

    Labels may be text or whole numbers and are numbered in sorted order. Numbers in ``time`` are in your unit, dates
    become minutes; ``step``, ``horizon``, ``max_gap`` and ``day`` are in the same unit.
    """

    path: str = setting("", "the .npz, .parquet or .csv; or a .toml, or a folder with a data.toml, that has these keys")
    kind: Literal["classification", "regression", "forecasting"] = setting(
        "classification", "what is predicted", choices=("classification", "regression", "forecasting")
    )
    x: tuple[str, ...] = setting((), "feature columns (empty: 'x' if there is one, else every column left over)")
    y: str = setting("y", "column of the label, the target, or the value to be forecast")
    user: str = setting("user", "column that says who")
    device: str = setting("", "column of the device model (empty: 'device' if there is one, else everybody has one)")
    group: str = setting("", "column of the execution, day or bout (empty: 'group' if there is one, else the day)")
    time: str = setting("", "column of the time (empty: 'time' if there is one)")
    held_out: str = setting("", "column that is 1 for samples reserved for testing (empty: none)")
    shape: tuple[int, ...] = setting((), "shape of one sample, for example [6, 64] (empty: as stored)", ge=1)
    unit: str = setting("", "unit of a target")
    drop_nan: bool = setting(False, "drop rows with missing or infinite values and count them, instead of refusing")
    history: int = setting(24, "forecasting: values seen, the last is the present one", ge=1, le=100_000)
    step: float = setting(5.0, "forecasting: time between two of them", gt=0)
    horizon: float = setting(30.0, "forecasting: how far ahead", gt=0)
    max_gap: float = setting(20.0, "forecasting: a longer silence breaks a series", gt=0)
    day: float = setting(DAY_MIN, "length of one group where time says which; no window crosses its end", gt=0)
    centre: float = setting(0.0, "forecasting: taken off every input")
    scale: float = setting(1.0, "forecasting: inputs and the change to be forecast are divided by it", gt=0)
    max_windows: int = setting(1000, "forecasting: windows per client, evenly spaced over all", ge=2)

    def __post_init__(self) -> None:
        unused = ("x", "group", "held_out", "shape") if self.kind == "forecasting" else ()
        for key in unused:
            if getattr(self, key):
                raise ConfigError(f"source.{key}", getattr(self, key), "has no meaning for kind = 'forecasting'")
        if self.y in self.x:
            raise ConfigError("source.x", list(self.x), f"must not hold y ({self.y!r}), which is to be predicted")

    def holding(self) -> Holding:
        """The data in memory."""
        return _load(*self._described())

    @property
    def dropped(self) -> int:
        """Rows left out for missing or infinite values (only with ``drop_nan``)."""
        return _rows(*self._described())[1]

    def _described(self) -> tuple[Own, int]:
        """These settings, or those of the TOML file that ``path`` points to; and when the data was written."""
        if not self.path:
            raise ConfigError("source.path", "", "must name an .npz, .parquet, .csv or .toml file")
        path = Path(self.path).expanduser()
        path = path / "data.toml" if path.is_dir() else path
        own = _told(self, path, stamp(path)) if path.suffix == ".toml" else self
        return own, stamp(Path(own.path).expanduser())


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
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    told = build(Own, table, path.name)
    if Path(told.path).suffix not in FORMATS:
        raise ConfigError(f"{path.name}.path", told.path, f"must name a file of {', '.join(FORMATS)}")
    return dataclasses.replace(told, path=str(path.parent / Path(told.path).expanduser()))


@lru_cache(maxsize=4)
def _load(own: Own, written: int) -> Table | SeriesTable:
    columns, _ = _rows(own, written)
    people, user = _coded(columns[_name(own, "user", columns)])
    device_column = _name(own, "device", columns)
    devices, device = _coded(columns[device_column]) if device_column else (["own"], np.zeros(len(user), np.int64))
    if own.kind == "forecasting":
        return _series(own, columns, (user, device), people, devices)
    x = _inputs(own, columns)
    held_column = _name(own, "held_out", columns)
    held_out = columns[held_column] != 0 if held_column else None
    group = _groups(own, columns)
    if own.kind == "regression":
        y = columns[own.y].reshape(len(user), -1).astype(np.float32)
        task = Task("regression", x.shape[1:], y.shape[1], unit=own.unit)
    else:
        names, y = _labels(own, columns[own.y])
        task = Task("classification", x.shape[1:], len(names), tuple(names))
    return Table.of(task, x, y, user, device, group, people, devices, held_out)


@lru_cache(maxsize=4)
def _rows(own: Own, written: int) -> tuple[Columns, int]:
    """The rows that can be used, and how many were dropped.

    Raises:
        DataError: rows hold NaN, infinity or nobody, and ``drop_nan`` is not set.
    """
    columns = read_columns(Path(own.path).expanduser())
    used = {name for role in ROLES if (name := _name(own, role, columns))} | {own.y}
    _known("y", own.y, columns)
    if own.kind != "forecasting":
        used |= set(_features(own, columns))
    elif not _name(own, "time", columns):
        raise ConfigError("source.time", own.time, f"forecasting needs a time column (columns: {describe(columns)})")
    lengths = {name: len(columns[name]) for name in sorted(used)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {n}" for name, n in list(lengths.items())[:8])
        raise DataError(f"{own.path}: every array must have one entry per sample; lengths are {shown}")
    _check_numeric(own, columns, used)
    bad = {name: _unusable(columns[name]) for name in sorted(used)}
    wrong = np.any(list(bad.values()), axis=0)
    count = int(wrong.sum())
    if count and not own.drop_nan:
        row = int(np.flatnonzero(wrong)[0])
        name = next(name for name, rows in bad.items() if rows[row])
        raise DataError(
            f"{own.path}: {count} of {len(wrong)} samples hold missing or infinite values (first: sample {row + 1}, "
            f"{name}); clean them, or set drop_nan = true"
        )
    if count == len(wrong):
        raise DataError(f"{own.path}: every sample holds missing or infinite values")
    return {name: column[~wrong] for name, column in columns.items() if name in used}, count


def _check_numeric(own: Own, columns: Columns, used: set[str]) -> None:
    """Only names of people, devices, groups and classes may be text."""
    names = {own.user, _name(own, "device", columns), _name(own, "group", columns)}
    for name in sorted(used - names - ({own.y} if own.kind == "classification" else set())):
        if columns[name].dtype.kind == "U":
            letters = (i for i, text in enumerate(columns[name].tolist()) if not _NUMBER.fullmatch(str(text)))
            row = next(letters, 0)
            raise DataError(
                f"{own.path}: sample {row + 1}: {name} = {columns[name].flat[row][:40]!r}; must be a number"
            )


def _features(own: Own, columns: Columns) -> list[str]:
    """Names of the input columns."""
    if own.x:
        return [_known("x", name, columns) for name in own.x]
    if "x" in columns:
        return ["x"]
    taken = {_name(own, role, columns) for role in ROLES} | {own.y}
    n = len(columns[_name(own, "user", columns)])  # an .npz may hold names and such besides
    rest = [name for name in columns if name not in taken and len(columns[name]) == n]
    if not rest:
        raise DataError(f"{own.path}: no feature column is left (columns: {describe(columns)})")
    return rest


def _inputs(own: Own, columns: Columns) -> np.ndarray:
    """(n, *features), float32."""
    names = _features(own, columns)
    parts = [columns[name] for name in names]
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


def _labels(own: Own, column: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Label names in sorted order, and the code of each sample."""
    if column.ndim != 1:
        raise DataError(f"{own.path}: {own.y} has shape {column.shape}; a label is one value per sample")
    names, codes = _coded(column)
    if column.dtype.kind == "f" and not (column == np.round(column)).all():
        value = column[column != np.round(column)][0]
        raise DataError(f"{own.path}: {own.y} = {value:g}; a label is a whole number or text (or kind = 'regression')")
    if len(names) < 2:
        raise DataError(f"{own.path}: {own.y} holds one class only ({names[0]!r}); at least two are needed")
    return names, codes


def _groups(own: Own, columns: Columns) -> np.ndarray:
    """The group column's codes; else the day; else every sample is its own."""
    if name := _name(own, "group", columns):
        return _coded(columns[name])[1]
    if name := _name(own, "time", columns):
        days: np.ndarray = (columns[name] // own.day).astype(np.int64)
        return days
    return np.arange(len(columns[own.y]))


def _series(
    own: Own, columns: Columns, codes: tuple[np.ndarray, np.ndarray], people: list[str], devices: list[str]
) -> SeriesTable:
    """Forecasting windows per (user, device) series; stamps that repeat are averaged."""
    user, device = codes
    if columns[own.y].ndim != 1:
        raise DataError(f"{own.path}: {own.y} has shape {columns[own.y].shape}; a value is one number per row")
    key = user * len(devices) + device
    time = columns[_name(own, "time", columns)].astype(np.float64)
    stamps, values, owners, pairs = [], [], [], []
    for number, k in enumerate(np.unique(key)):
        rows = key == k
        t, v = merge_duplicates(time[rows], columns[own.y][rows][:, None].astype(np.float64))
        stamps.append(t)
        values.append(v[:, 0])
        owners.append(np.full(len(t), number))
        pairs.append(divmod(int(k), len(devices)))
    table = SeriesTable.of(
        Task(
            "regression", (1, own.history), 1, unit=own.unit if own.scale == 1 else f"{own.scale:g} {own.unit}".strip()
        ),
        np.concatenate(stamps),
        np.concatenate(values),
        np.concatenate(owners),
        pairs,
        people,
        devices,
        Horizon(own.history, own.step, own.horizon, own.max_gap, own.day),
        Scaling(own.centre, own.scale, own.scale),
        own.max_windows,
    )
    if not table.roster.clients:
        need = own.step * (own.history - 1) + own.horizon
        raise DataError(f"{own.path}: no series runs for {need:g} without a gap over {own.max_gap:g} within one day")
    return table


def _name(own: Own, role: str, columns: Columns) -> str:
    """The column of a role; "" if it is optional and not there."""
    given: str = getattr(own, role)
    if given:
        return _known(role, given, columns)
    return role if role in columns and role != "held_out" else ""


def _known(key: str, name: str, columns: Columns) -> str:
    if name in columns:
        return name
    close = difflib.get_close_matches(name, columns, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"source.{key}", name, f"no such column{hint} (columns: {describe(columns)})")


def _coded(column: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct values in order, as text, and the code of each row; 7.0 is written "7"."""
    values, codes = np.unique(column, return_inverse=True)
    names = [str(int(v)) if isinstance(v, float) and v == int(v) else str(v) for v in values.tolist()]
    return names, codes.astype(np.int64)


def _unusable(column: np.ndarray) -> np.ndarray:
    """Rows with a missing or infinite value."""
    if column.dtype.kind == "U":
        return np.array([not text.strip() for text in column.reshape(len(column), -1)[:, 0].tolist()])
    wrong: np.ndarray = ~np.isfinite(column.reshape(len(column), -1)).all(axis=1)
    return wrong
