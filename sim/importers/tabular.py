"""A user's own table, ``.npz``, Parquet or CSV, as named columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from client.errors import DataError
from sim.importers.compact import MAX_BYTES, read_npz

MAX_CELLS = 1 << 30
FORMATS = (".npz", ".parquet", ".csv")


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Every column of a table; arrays of an ``.npz`` may differ in length, single numbers in it are left out.

    Whole numbers stay int64, other numbers become float64, dates and times float64 minutes since 1970 by their own
    clock, everything else text; what is missing becomes NaN or "". A column of lists of equal length becomes an
    array (n, length).

    Args:
        path: ``.npz``, ``.parquet`` or ``.csv`` with a header line.

    Raises:
        DataError: no such file, not one of these, damaged, too large, or without rows.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in FORMATS:
        raise DataError(f"{path}: must be one of {', '.join(FORMATS)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if path.suffix == ".npz":
        columns = {name: _plain(array) for name, array in read_npz(path).items()}
    else:
        columns = _from_arrow(path)
    columns = {name: column for name, column in columns.items() if column.ndim}
    if not columns or max(map(len, columns.values())) == 0:
        raise DataError(f"{path}: holds no rows")
    return columns


def _from_arrow(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".parquet":
            metadata = pa.parquet.read_metadata(path)
            size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
            if size > MAX_BYTES or metadata.num_rows * metadata.num_columns > MAX_CELLS:
                raise DataError(f"{path}: {metadata.num_rows} rows, {size} bytes unpacked; allowed are {MAX_BYTES}")
            table = pa.parquet.read_table(path, use_threads=False)
        else:
            if path.stat().st_size > MAX_BYTES:
                raise DataError(f"{path}: {path.stat().st_size} bytes; allowed are at most {MAX_BYTES}")
            table = pa.csv.read_csv(path, read_options=pa.csv.ReadOptions(use_threads=False))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason})") from None
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{path}: column {sorted(twice)[0]!r} is there twice")
    return {name: _column(table.column(name), path, name) for name in table.column_names}


def _column(column: Any, path: Path, name: str) -> np.ndarray:
    """One Arrow column as numpy."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _column(column.cast(kind.value_type), path, name)
    if (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and not column.null_count:
        whole: np.ndarray = column.cast(pa.int64()).to_numpy()
        return whole
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        numbers: np.ndarray = column.cast(pa.float64()).to_numpy()
        return numbers
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _plain(column.cast(pa.timestamp("ms")).to_numpy())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(column, path, name)
    return np.array(["" if value is None else str(value) for value in column.to_pylist()], dtype=np.str_)


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


def _plain(array: np.ndarray) -> np.ndarray:
    """int64, float32, float64, minutes, or text."""
    if array.dtype.kind == "M":
        minutes = array.astype("datetime64[ms]").astype(np.int64) / 60_000
        return np.where(np.isnat(array), np.nan, minutes)
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array if array.dtype == np.float32 else array.astype(np.float64)
    return array.astype(np.str_)


def describe(columns: Mapping[str, np.ndarray]) -> str:
    """Column names for a message, the first twelve."""
    names = list(columns)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
