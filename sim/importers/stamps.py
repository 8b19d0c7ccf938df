"""Dates and times as minutes since 1970 by the clock that the person saw; what lies below a millisecond is cut off.

A day of a person is a day by their own clock. So a stamp with a zone or an offset is read as the wall clock there,
and one that says only UTC is refused: it does not tell when the person's day begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metapulse.errors import DataError

FORMS = "2024-03-01, 2024-03-01 08:00, 2024-03-01T08:00:00.000, each also with an offset such as +01:00, or numbers"
_DATE = r"\d{4}-\d{2}-\d{2}"
_STAMP = re.compile(rf"({_DATE}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:[.,]\d+)?)?)?)\s*(Z|UTC|[+-]\d{{2}}(?::?\d{{2}})?)?")
_OTHER = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ,].*)?|\d{1,2}:\d{2}.*")  # dates in other forms, clock times
UTC = "is in UTC, which does not tell the person's own day; save local times, or times with their offset"


def looks_like_stamps(column: Any) -> bool:
    """Whether the first text of an Arrow column is a stamp of a form that ``from_text`` reads."""
    first = next((text for text in column[:1000].to_pylist() if text and text.strip()), "")
    return _STAMP.fullmatch(first.strip()) is not None


def is_other_form(text: str) -> bool:
    """Whether a text is a date or time, but of no form that is read."""
    return _STAMP.fullmatch(text.strip()) is None and _OTHER.fullmatch(text.strip()) is not None


def from_text(texts: Sequence[str | None], path: Path, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Minutes since 1970 of ISO 8601 stamps, NaN where there is none: by the clock, and, if all have offsets, in UTC.

    Args:
        texts: one stamp per row.
        path: file, for messages.
        name: column, for messages.

    Raises:
        DataError: a stamp has another form, does not exist, or is in UTC.
    """
    stamps, offsets = [], []
    for row, text in enumerate(texts, 1):
        given = (text or "").strip()
        found = _STAMP.fullmatch(given) if given else None
        if given and found is None:
            raise DataError(f"{path}: sample {row}: {name} = {given[:40]!r}; forms that are read: {FORMS}")
        if found and found[2] in ("Z", "UTC"):
            raise DataError(f"{path}: sample {row}: {name} = {given[:40]!r} {UTC}")
        stamps.append(found[1].replace(" ", "T").replace(",", ".")[:23] if found else "NaT")
        offsets.append(_offset(found[2]) if found else 0.0)
    try:
        minutes = _minutes(np.array(stamps, dtype="datetime64[ms]"))
        return minutes, None if np.isnan(offsets).any() else minutes - np.array(offsets)
    except ValueError as error:
        raise DataError(f"{path}: {name}: {error}") from None


def _offset(text: str | None) -> float:
    """Minutes that a clock is ahead of UTC; NaN where a stamp does not tell."""
    if text is None:
        return float("nan")
    hours, minutes = int(text[1:3]), int(text[3:].strip(":") or 0)
    return (60.0 * hours + minutes) * (-1.0 if text[0] == "-" else 1.0)


def from_arrow(column: Any, path: Path, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Minutes since 1970 of a column of dates or timestamps: by the wall clock of its zone, and, if it has one, in UTC.

    Raises:
        DataError: the zone is UTC, or unknown.
    """
    zone = getattr(column.type, "tz", None)
    if zone in ("UTC", "Etc/UTC", "Z", "+00:00"):
        raise DataError(f"{path}: column {name!r} {UTC}")
    if zone is None:
        return _of_arrow(column), None
    return _of_arrow(_local(column, zone, path, name)), _of_arrow(column.cast(pa.timestamp("us", "UTC"), safe=False))


def _of_arrow(column: Any) -> np.ndarray:
    bare = column.type.tz if pa.types.is_timestamp(column.type) else None
    milliseconds = column.cast(pa.timestamp("ms", bare), safe=False)
    return _minutes(milliseconds.to_numpy().astype("datetime64[ms]"))


def _local(column: Any, zone: str, path: Path, name: str) -> Any:
    """The same stamps as wall-clock times of their zone."""
    try:
        return pc.local_timestamp(column)
    except pa.ArrowException:  # no zone database where Arrow looks for one
        try:
            there = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise DataError(f"{path}: column {name!r} is in zone {zone!r}, which is not known here") from None
        moments = column.cast(pa.timestamp("us", zone), safe=False).to_pylist()
        return pa.array([m and m.astimezone(there).replace(tzinfo=None) for m in moments], pa.timestamp("us"))


def _minutes(stamps: np.ndarray) -> np.ndarray:
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 60_000)
