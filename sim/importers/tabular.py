"""A user's own table, ``.npz``, Parquet or CSV, as named columns; what has one meaning is read, all else is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from metapulse.errors import DataError
from metapulse.sim.importers.compact import MAX_BYTES, read_npz
from metapulse.sim.importers.separated import read_text_table
from metapulse.sim.importers.stamps import from_arrow, from_text, looks_like_stamps

MAX_CELLS = 1 << 30
EXACT = 2.0**53  # whole numbers beyond it cannot be told apart in float64
SHOWN = 200  # characters of a path in a message
FORMATS = (".npz", ".parquet", ".csv")
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+|")  # names that pandas and R give to row numbers

#: Given the names of all columns, those that hold names of people, devices, groups or classes.
Naming = Callable[[Collection[str]], Collection[str]]


@dataclass(frozen=True)
class Columns:
    """Named columns, and what each of them was in the file.

    Args:
        values: int64, float32 or float64 numbers, minutes since 1970, or text; (n,) or (n, length).
        stored: type in the file, for messages.
        dates: columns that held dates or times.
        index: columns that hold row numbers.
        instants: minutes in UTC of dates whose offset is told.
    """

    values: Mapping[str, np.ndarray]
    stored: Mapping[str, str]
    dates: frozenset[str]
    index: frozenset[str]
    instants: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_columns(path: Path, naming: Naming = lambda columns: ()) -> Columns:
    """Every column of a table; arrays of an ``.npz`` may differ in length, single numbers in it are left out.

    Whole numbers stay int64, other numbers become float64, dates and times float64 minutes since 1970 by their own
    clock, everything else text; what is missing becomes NaN or "". Columns of names are text, letter by letter as
    in the file. A column of lists of equal length becomes an array (n, length).

    Args:
        path: ``.npz``, ``.parquet`` or ``.csv`` with a header line.
        naming: tells which columns hold names.

    Raises:
        DataError: no such file, not one of these, damaged, too large, without rows, or of a type that has no meaning.
    """
    if not _is_file(path):
        shown = str(path) if str(path).isprintable() else repr(str(path))
        shown = shown if len(shown) < SHOWN else f"{shown[:SHOWN]}…"
        raise DataError(f"source.path leads to {shown}: no such file")
    if path.suffix not in FORMATS:
        raise DataError(f"{path}: must be one of {', '.join(FORMATS)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    columns = _from_npz(path, naming) if path.suffix == ".npz" else _from_arrow(path, naming)
    if not columns.values or max(map(len, columns.values.values())) == 0:
        raise DataError(f"{path}: holds no rows")
    return columns


def _from_npz(path: Path, naming: Naming) -> Columns:
    arrays = {name: array for name, array in read_npz(path).items() if array.ndim}
    names = set(naming(arrays))
    values = {name: _plain(array, path, name, name in names) for name, array in arrays.items()}
    stored = {name: f"{array.dtype} of shape {array.shape}" for name, array in arrays.items()}
    dates = frozenset(name for name, array in arrays.items() if array.dtype.kind == "M" and name not in names)
    return Columns(values, stored, dates, _row_numbers(values))


def _from_arrow(path: Path, naming: Naming) -> Columns:
    try:
        if path.suffix == ".parquet":
            table, index = _read_parquet(path)
        else:
            if path.stat().st_size > MAX_BYTES:
                raise DataError(f"{path}: {path.stat().st_size} bytes; allowed are at most {MAX_BYTES}")
            table, index = read_text_table(path, naming), set()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason})") from None
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{path}: column {sorted(twice)[0]!r} is there twice")
    names = set(naming(table.column_names))
    values, dates = {}, set()
    instants: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        column = column.cast(kind)
        if name in names:
            values[name] = _names(column, path, name)
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            values[name], instant = from_arrow(column, path, name)
            dates.add(name)
            instants |= {} if instant is None else {name: instant}
        elif _is_text(kind) and path.suffix == ".csv" and looks_like_stamps(column):
            values[name], instant = from_text(column.to_pylist(), path, name)
            dates.add(name)
            instants |= {} if instant is None else {name: instant}
        else:
            values[name] = _column(column, path, name)
    stored = {field.name: "text" if _is_text(field.type) else str(field.type) for field in table.schema}
    numbers = frozenset(index & set(values)) | _row_numbers(values)
    return Columns(values, stored, frozenset(dates), numbers, instants)


def _read_parquet(path: Path) -> tuple[Any, set[str]]:
    """The table, and the columns in which pandas kept its row index."""
    metadata = pa.parquet.read_metadata(path)
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > MAX_BYTES or metadata.num_rows * metadata.num_columns > MAX_CELLS:
        raise DataError(f"{path}: {metadata.num_rows} rows, {size} bytes unpacked; allowed are {MAX_BYTES}")
    table = pa.parquet.read_table(path, use_threads=False)
    try:
        told = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        index = {name for name in told.get("index_columns", ()) if isinstance(name, str)}
    except (ValueError, AttributeError, TypeError):
        index = set()
    return table, {name for name in index if _INDEX.fullmatch(name)}


def _row_numbers(values: Mapping[str, np.ndarray]) -> frozenset[str]:
    """Columns that do nothing but count the rows, and those with a name that programs give to such."""
    return frozenset(
        name
        for name, column in values.items()
        if _INDEX.fullmatch(name)
        or (
            column.ndim == 1
            and column.dtype.kind == "i"
            and len(column) > 2
            and column[0] in (0, 1)
            and bool((np.diff(column) == 1).all())
        )
    )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _column(column: Any, path: Path, name: str) -> np.ndarray:
    """One Arrow column as numpy."""
    kind = column.type
    types = pa.types
    if ((types.is_integer(kind) and kind != pa.uint64()) or types.is_boolean(kind)) and not column.null_count:
        whole: np.ndarray = column.cast(pa.int64()).to_numpy()
        return whole
    if types.is_boolean(kind):
        column = column.cast(pa.int8())
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind):
        numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    if types.is_decimal(kind):
        wide: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
        return wide
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(column, path, name)
    if _is_text(kind):
        return np.array(["" if value is None else value for value in column.to_pylist()], dtype=np.str_)
    raise DataError(f"{path}: column {name!r} is stored as {kind}; must be numbers, text, dates, or lists of numbers")


def _names(column: Any, path: Path, name: str) -> np.ndarray:
    """A column of names as text: as it stands, or a whole number's digits."""
    kind = column.type
    if pa.types.is_floating(kind):
        return _plain(column.cast(pa.float64()).to_numpy(), path, name, True)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        raise DataError(f"{path}: column {name!r} is stored as {kind}; names must be text or whole numbers")
    texts = column.to_pylist() if _is_text(kind) else pc.cast(column, pa.string()).to_pylist()
    return np.array(["" if value is None else value for value in texts], dtype=np.str_)


def _lists(column: Any, path: Path, name: str) -> np.ndarray:
    rows = column.to_pylist()
    lengths = {len(row) if row is not None else 0 for row in rows}
    if len(lengths) != 1:
        raise DataError(
            f"{path}: column {name!r} holds lists of {min(lengths)} to {max(lengths)} values; must be equal"
        )
    try:
        return np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: column {name!r} holds lists of something else than numbers") from None


def _plain(array: np.ndarray, path: Path, name: str, named: bool) -> np.ndarray:
    """An array of an ``.npz`` as int64, float32, float64, minutes, or text; names always as text."""
    kind = array.dtype.kind
    if kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{path}: {name} holds bytes that are not UTF-8; save the names as text") from None
    if kind == "U":
        return array
    if named and kind in "iu":
        return array.astype(np.str_)
    if named and kind == "f":
        if bool((np.abs(array) >= EXACT).any()):
            raise DataError(f"{path}: {name} holds numbers ≥ 2^53 as {array.dtype}, which are not exact; save text")
        whole = np.where(np.isfinite(array) & (array == np.round(array)), array, 0).astype(np.int64)
        texts = [
            "" if np.isnan(v) else str(w) if w == v else str(v)
            for v, w in zip(array.ravel().tolist(), whole.ravel().tolist(), strict=True)
        ]
        return np.array(texts, dtype=np.str_).reshape(array.shape)
    if kind == "M":
        minutes = array.astype("datetime64[ms]").astype(np.int64) / 60_000
        return np.where(np.isnat(array), np.nan, minutes)
    if kind == "b" or (kind in "iu" and array.dtype != np.uint64):
        return array.astype(np.int64)
    if kind in "fu":
        return array if array.dtype == np.float32 else array.astype(np.float64)
    raise DataError(f"{path}: {name} is stored as {array.dtype}; must be numbers, text or dates")


def describe_columns(columns: Collection[str]) -> str:
    """Column names for a message, the first twelve."""
    names = list(columns)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
