"""Which columns of a user's table play which part, which rows can be used, and what is said of those that cannot."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metapulse.data import id_difference, look_alike
from metapulse.errors import ConfigError, DataError
from metapulse.settings import setting
from metapulse.sim.importers.stamps import FORMS, is_other_form
from metapulse.sim.importers.tabular import Columns, describe_columns, read_columns

ROLES = ("user", "device", "group", "time", "held_out")
NAMES = ("user", "device", "group")  # roles whose columns hold names
NULLS = frozenset(("nan", "na", "n/a", "#n/a", "null", "none"))  # of a label among numbers
SHOWN = 8  # names in a remark
LARGEST = float(np.finfo(np.float32).max)
UNUSABLE = f"missing or infinite values, or such beyond ±{LARGEST:.2g}"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_WHOLE = re.compile(r"[-+]?\d+")


@dataclass(frozen=True)
class TableDescription:
    """What is where in a table."""

    path: str = setting("", "the .npz, .parquet or .csv; or a .toml, or a folder with a data.toml, that has these keys")
    kind: Literal["classification", "regression", "forecasting"] = setting("classification", "what is predicted")
    x: tuple[str, ...] = setting((), "feature columns (empty: 'x' if there is one, else every column left over)")
    y: str = setting("y", "column of the label, the target, or the value to be forecast")
    user: str = setting("user", "column that says who")
    device: str = setting(
        "", "column of the device model (empty: 'device' if there is one, else all people have the same)"
    )
    group: str = setting("", "column of the execution, day or bout (empty: 'group' if there is one, else the day)")
    time: str = setting("", "column of the time (empty: 'time' if there is one)")
    held_out: str = setting("", "column that is 1 for samples reserved for testing (empty: none)")
    classes: tuple[str, ...] = setting(
        (), "classes in the order of their numbers, where not every device has them all (empty: those in the file)"
    )
    shape: tuple[int, ...] = setting((), "shape of one sample, for example [6, 64] (empty: as stored)", ge=1)
    unit: str = setting("", "unit of a target")
    drop_nan: bool = setting(
        False, "drop rows with missing, infinite or too large values and count them, instead of refusing"
    )


@dataclass(frozen=True)
class UsableRows:
    """The rows that can be used.

    Args:
        columns: those that have a part, by name.
        role: column of each role, "" where none has it.
        features: input columns, in order.
        dropped: rows left out for missing or infinite values.
        remarks: what was used and what was left out, a line each.
        instant: time of each row on a clock that all devices share: UTC where offsets tell it, else the time column.
    """

    columns: Mapping[str, np.ndarray]
    role: Mapping[str, str]
    features: tuple[str, ...]
    dropped: int
    remarks: tuple[str, ...]
    instant: np.ndarray | None = None

    def __getitem__(self, role: str) -> np.ndarray:
        """The column of a role."""
        return self.columns[self.role[role]]


def read_rows(own: TableDescription) -> UsableRows:
    """Read the table and give every column its part.

    Raises:
        ConfigError: a column that is named is not there.
        DataError: the file cannot be read, or rows hold nothing usable and ``drop_nan`` is not set.
    """
    path = Path(own.path).expanduser()
    table = read_columns(path, lambda names: _named(own, names))
    columns = table.values
    role = {key: _role(own, key, columns) for key in ROLES}
    _known("y", own.y, columns)
    features, remarks = ((), []) if own.kind == "forecasting" else _features(own, table, role)
    for key in ("user", "time") if own.kind == "forecasting" else ():
        if not role[key]:
            raise ConfigError(
                f"source.{key}", "", f"forecasting needs a {key} column (columns: {describe_columns(columns)})"
            )
    used = {name for name in role.values() if name} | {own.y, *features}
    _check_shapes(own, columns, role, used)
    _check_numeric(own, table, role, used)
    label = own.y if own.kind == "classification" else None
    single = set(features) | ({own.y} if label is None else set())  # what is computed with, in float32
    bad = {name: _unusable(columns[name], name == label, name in single) for name in sorted(used)}
    wrong = np.any(list(bad.values()), axis=0)
    dropped = int(wrong.sum())
    if dropped and not own.drop_nan:
        row = int(np.flatnonzero(wrong)[0])
        name = next(name for name, rows in bad.items() if rows[row])
        raise DataError(
            f"{own.path}: {dropped} of {len(wrong)} samples hold {UNUSABLE} (first: sample {row + 1}, "
            f"{_cell(name, columns[name][row])}); clean them, or set drop_nan = true"
        )
    if dropped == len(wrong):
        raise DataError(f"{own.path}: every sample holds {UNUSABLE}")
    if dropped:
        remarks += _what_was_dropped(own, columns, role["user"], wrong)
    kept = {name: columns[name][~wrong] for name in used}
    _check_spelling(own, kept, role)
    time = role["time"]
    timed = time and columns[time].dtype.kind != "U"
    instant = table.instants.get(time, columns[time]).astype(np.float64)[~wrong] if timed else None
    return UsableRows(kept, role, tuple(features), dropped, tuple(remarks), instant)


def coded(texts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct names in order, numbers by value and before text, and the code of each row."""
    values, codes = np.unique(texts, return_inverse=True)
    names = values.tolist()
    if all(_WHOLE.fullmatch(name) for name in names):
        order = sorted(range(len(names)), key=lambda i: (int(names[i]), names[i]))
        place = np.empty(len(names), dtype=np.int64)
        place[order] = np.arange(len(names))
        return [names[i] for i in order], place[codes]
    return names, codes.astype(np.int64)


def _named(own: TableDescription, names: Collection[str]) -> set[str]:
    """Columns that hold names, given those that are there."""
    found = {_role(own, key, names, strict=False) for key in NAMES}
    return (found | ({own.y} if own.kind == "classification" else set())) & set(names)


def _role(own: TableDescription, role: str, columns: Collection[str], strict: bool = True) -> str:
    """The column of a role; "" if it is optional and not there."""
    given: str = getattr(own, role)
    if given:
        return _known(role, given, columns) if strict else given
    return role if role in columns and role != "held_out" else ""


def _known(key: str, name: str, columns: Collection[str]) -> str:
    if name in columns:
        return name
    if name == getattr(TableDescription, key, None):  # left out, as far as can be told
        there = f"columns: {describe_columns(columns)}"
        raise DataError(f"source.{key} is not given, and no column is called {name!r}; name the one it is ({there})")
    close = difflib.get_close_matches(name, columns, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"source.{key}", name, f"no such column{hint} (columns: {describe_columns(columns)})")


def _features(own: TableDescription, table: Columns, role: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of the input columns; and a remark on each that was left over and left out."""
    columns = table.values
    if own.x:
        return [_known("x", name, columns) for name in own.x], []
    if "x" in columns:
        return ["x"], []
    taken = {name for name in role.values() if name} | {own.y}  # a column may have no name
    n = len(columns[role["user"]])  # an .npz may hold names and such besides
    rest = [name for name in columns if name not in taken and len(columns[name]) == n]
    reasons = {name: "row numbers" for name in rest if name in table.index}
    reasons |= {name: "dates" for name in rest if name in table.dates}
    remarks = [f"column {name!r} is not used: {why}; name it in source.x to use it" for name, why in reasons.items()]
    remarks += [
        f"array {name!r} is not used: {len(columns[name])} entries for {n} samples"
        for name in columns
        if name not in taken and len(columns[name]) != n
    ]
    features = [name for name in rest if name not in reasons]
    if not features:
        raise DataError(f"{own.path}: no feature column is left (columns: {describe_columns(columns)})")
    return features, [f"inputs: {', '.join(features)}", *remarks]


def _check_shapes(
    own: TableDescription, columns: Mapping[str, np.ndarray], role: Mapping[str, str], used: Collection[str]
) -> None:
    """One entry per sample in every column, and one value per entry where a role or a label is read."""
    lengths = {name: len(columns[name]) for name in sorted(used)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {n}" for name, n in list(lengths.items())[:8])
        raise DataError(f"{own.path}: every array must have one entry per sample; lengths are {shown}")
    single = {f"source.{key}": name for key, name in role.items() if name}
    if own.kind != "regression":
        single["source.y"] = own.y
    for key, name in single.items():
        if columns[name].ndim != 1:
            shape = columns[name].shape
            raise ConfigError(key, name, f"must have one value per sample; the array has shape {shape}")


def _check_numeric(own: TableDescription, table: Columns, role: Mapping[str, str], used: Collection[str]) -> None:
    """Only names of people, devices, groups and classes may be text."""
    names = {role[key] for key in NAMES} | ({own.y} if own.kind == "classification" else set())
    for name in sorted(set(used) - names):
        column = table.values[name]
        if column.dtype.kind != "U":
            continue
        texts = [str(text) for text in column.ravel().tolist()]
        row = next((i for i, text in enumerate(texts) if text.strip() and not _NUMBER.fullmatch(text)), None)
        if row is None:
            first = next((text for text in texts if text.strip()), "")
            raise DataError(f"{own.path}: {name} is stored as text ({first[:40]!r}); must be numbers")
        sample = row // max(1, math.prod(column.shape[1:])) + 1
        forms = f"; dates and times may be {FORMS}" if name == role["time"] or is_other_form(texts[row]) else ""
        raise DataError(f"{own.path}: sample {sample}: {name} = {texts[row][:40]!r}; must be a number{forms}")


def _unusable(column: np.ndarray, label: bool, single: bool) -> np.ndarray:
    """Rows with a missing or infinite value; among labels that are numbers, words for "missing" are such.

    So are numbers that are infinite in single precision, in columns that are computed with (``single``).
    """
    if column.dtype.kind == "U":
        missing = {text for text in np.unique(column).tolist() if not text.strip()}
        words = {text for text in np.unique(column).tolist() if text.strip().lower() in NULLS} if label else set()
        if words and all(_NUMBER.fullmatch(text) for text in set(np.unique(column).tolist()) - words - missing):
            missing |= words
        return np.isin(column.reshape(len(column), -1)[:, 0], sorted(missing))
    rows = column.reshape(len(column), -1)
    wrong: np.ndarray = ~np.isfinite(rows).all(axis=1)
    return wrong | (np.abs(rows) > LARGEST).any(axis=1) if single else wrong


def _cell(name: str, values: Any) -> str:
    """A column's name, and what stands there if it is a number too large."""
    large = [v for v in np.atleast_1d(values).ravel().tolist() if isinstance(v, float) and LARGEST < abs(v) < math.inf]
    return f"{name} = {large[0]:g}" if large else name


def _what_was_dropped(
    own: TableDescription, columns: Mapping[str, np.ndarray], user: str, wrong: np.ndarray
) -> list[str]:
    """How many rows were left out, of which people and classes, and who is left out altogether."""
    people = columns[user]
    lost, left = Counter(people[wrong].tolist()), Counter(people[~wrong].tolist())
    lines = [f"{int(wrong.sum())} of {len(wrong)} rows left out: {UNUSABLE}, of {_people(len(lost))}"]
    if gone := [name for name in lost if not left[name] and name.strip()]:
        lines.append(f"{_people(len(gone))} left out altogether: {_listed(sorted(gone))}")
    if own.kind == "classification":
        classes = Counter(columns[own.y][wrong].tolist())
        whole = Counter(columns[own.y].tolist())
        shares = [f"{name or 'none'} {n} of {whole[name]}" for name, n in sorted(classes.items())]
        lines.append(f"rows left out by class: {_listed(shares)}")
    return lines


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _check_spelling(own: TableDescription, columns: Mapping[str, np.ndarray], role: Mapping[str, str]) -> None:
    """Refuse names that look alike: by blanks or how Unicode writes a letter, for classes and devices also by case.

    Ids of people are checked where the clients are listed (``metapulse.sim.sources.table``).
    """
    checked = {f"source.{key}": (role[key], key == "device") for key in ("device", "group") if role[key]}
    if own.kind == "classification":
        checked["source.y"] = (own.y, True)
    for key, (name, case) in checked.items():
        if pair := look_alike(np.unique(columns[name]).tolist(), case):
            shown = " and ".join(map(repr, pair))
            what = f"which differ by {id_difference(pair)} alone"
            raise DataError(f"{own.path}: {key}: {name!r} has {shown}, {what}; make them one")
