"""What formats are made of: stamps, files, zips; all of it the same bytes for the same rows."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.record.clock import US
from metapulse.record.schema import Row

OLDEST = (1980, 1, 1, 0, 0, 0)  # the time that a zip's entries are given: no clock is looked at
SECOND, MILLISECOND = US, US // 1000


def moment(us: int) -> datetime:
    """Date and time of µs since 1970, without a zone."""
    return datetime(1970, 1, 1) + timedelta(microseconds=us)


def iso(us: int, end: str = "Z", digits: int = 3) -> str:
    """µs since 1970 as "2024-04-03T08:00:00.000Z".

    Args:
        us: of the clock that is written.
        end: what follows: "Z", "+02:00", "".
        digits: of the second's part: 0, 3 or 6.
    """
    text = moment(us).isoformat(timespec="microseconds")
    return text[: 19 + (digits + 1 if digits else 0)] + end


def offset_text(minutes: int | None, colon: str = ":") -> str:
    """Minutes before UTC as "+02:00"; None as "+00:00"."""
    minutes = minutes or 0
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}{colon}{rest:02d}"


def floored(row: Row, unit: int, keep_end: bool = True) -> Row:
    """A row whose times are whole multiples of ``unit`` µs; an end that is its start, or is not kept, is none."""
    start = row.start // unit * unit
    end = None if row.end is None or not keep_end else row.end // unit * unit
    return row._replace(start=start, end=None if end == start else end)


def plain(row: Row, *keep: str) -> Row:
    """What most files hold of a row: no unit but the canonical one, nothing raw, and of its marks these."""
    marks = tuple(mark for mark in row.quality if mark in keep)
    return row._replace(unit=None, raw=None, file=None, row=0, quality=marks)


def of_day(row: Row) -> bool:
    """Whether it is of a day, and of no time in it."""
    return "date_only" in row.quality


def again(rows: Sequence[Row], rng: np.random.Generator, share: float = 0.02) -> list[Row]:
    """The rows, some of them twice, as after a second upload."""
    repeats = rng.random(len(rows)) < share
    if len(rows) and not repeats.any():
        repeats[int(rng.integers(len(rows)))] = True
    return [row for row, twice in zip(rows, repeats, strict=True) for _ in range(2 if twice else 1)]


def nights(rows: Iterable[Row]) -> list[list[Row]]:
    """Stages of sleep, those that follow one another taken together: of one device, offset and kind of marks."""
    found: list[list[Row]] = []
    last: dict[object, list[Row]] = {}
    for row in rows:
        key = row.device, row.offset_min, row.quality
        night = last.get(key)
        if night is None or night[-1].end != row.start:
            night = last[key] = []
            found.append(night)
        night.append(row)
    return found


def together(rows: Iterable[Row], member: Callable[[Row], str]) -> list[dict[str, Row]]:
    """Rows of one moment by the member of the record that holds them; a member that is taken begins another record.

    Args:
        rows: of one type of records.
        member: of a row: the name of its place in the record.
    """
    found: list[dict[str, Row]] = []
    last: dict[object, dict[str, Row]] = {}
    for row in rows:
        key = row.start, row.end, row.offset_min, row.device, row.quality
        if key not in last or member(row) in last[key]:
            last[key] = {}
            found.append(last[key])
        last[key][member(row)] = row
    return found


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON, with the characters as they are."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)


def put(path: Path, text: str | bytes) -> None:
    """A file, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def put_zip(path: Path, files: Mapping[str, str | bytes]) -> None:
    """A zip of files by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, OLDEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, text)


def csv_text(lines: Iterable[Iterable[object]], delimiter: str = ",", end: str = "\n", quote: bool = False) -> str:
    """Lines of a CSV; cells with a delimiter, a quote or a line end are quoted, or all of them."""

    def cell(value: object) -> str:
        text = "" if value is None else str(value)
        special = quote or delimiter in text or '"' in text or "\n" in text
        return '"' + text.replace('"', '""') + '"' if special else text

    return "".join(delimiter.join(map(cell, line)) + end for line in lines)
