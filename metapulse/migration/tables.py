"""Tables that users bring: polars, pandas or Arrow, read column by column with one-line errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from metapulse.errors import DataError

if TYPE_CHECKING:
    import narwhals as nw

    Frame: TypeAlias = nw.DataFrame[Any]


def open_table(table: Any, columns: Sequence[str], what: str) -> Frame:
    """A table of any of the three kinds, once it has these columns.

    Args:
        table: polars, pandas or Arrow.
        columns: that must be there.
        what: the table is, for messages.

    Raises:
        DataError: it is no table, or lacks a column.
    """
    import narwhals as nw

    try:
        given = nw.from_native(table)
        frame: Frame = given.collect() if isinstance(given, nw.LazyFrame) else given
    except TypeError:
        raise DataError(f"{what} is a {type(table).__name__}: expected a table of polars, pandas or Arrow") from None
    if missing := [name for name in columns if name not in frame.columns]:
        given = ", ".join(map(str, frame.columns))[:200] or "none"
        raise DataError(f"{what} lacks the column {missing[0]!r}: it needs {', '.join(columns)}; there are {given}")
    return frame


def times_us(frame: Frame, name: str, what: str) -> np.ndarray:
    """A column of instants as µs since 1970 in UTC; one without a zone is read as UTC.

    Raises:
        DataError: it holds no dates with times, or a time is missing.
    """
    import narwhals as nw

    column = frame.get_column(name)
    if isinstance(column.dtype, nw.Date):
        column = column.cast(nw.Datetime("us"))
    if not isinstance(column.dtype, nw.Datetime):
        raise DataError(f"{what}: column {name!r} is {column.dtype}: expected dates with times, in UTC")
    if lacking := int(column.is_null().sum()):
        raise DataError(f"{what}: column {name!r} lacks {lacking} of {len(column)} times")
    moments: np.ndarray = column.dt.timestamp("us").to_numpy().astype(np.int64)
    return moments


def numbers(frame: Frame, name: str, what: str) -> np.ndarray:
    """A column of numbers as float64; NaN where there is none, or an infinite one.

    Raises:
        DataError: it holds no numbers.
    """
    import narwhals as nw

    column = frame.get_column(name)
    if not (column.dtype.is_numeric() or isinstance(column.dtype, nw.Unknown) or column.null_count() == len(column)):
        raise DataError(f"{what}: column {name!r} is {column.dtype}: expected numbers in the metric's unit")
    values = np.array(column.cast(nw.Float64).to_numpy(), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def texts(frame: Frame, name: str) -> np.ndarray:
    """A column as texts, "" where there is none."""
    return np.array(["" if one is None else str(one) for one in frame.get_column(name).to_list()], object)


def with_columns(frame: Frame, columns: Mapping[str, np.ndarray]) -> Any:
    """The table with more columns, of the kind that it was."""
    import narwhals as nw

    made = [nw.new_series(name, column, backend=frame.implementation) for name, column in columns.items()]
    if frame.implementation.is_pandas_like():  # its rows have names of their own
        index = nw.to_native(frame).index
        made = [nw.from_native(nw.to_native(one).set_axis(index), series_only=True) for one in made]
    return frame.with_columns(*made).to_native()
