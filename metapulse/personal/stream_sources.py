"""Where a stream's readings come from, and from where they go on after a kill: a file, a pipe, a record."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from metapulse.errors import DataError, RunError
from metapulse.personal.stream_input import CODED, LineCutter, LineReader
from metapulse.personal.stream_state import Reading
from metapulse.record.columns import EARLIEST
from metapulse.record.recipes.base import MODEL, UNUSED
from metapulse.record.schema import check_version
from metapulse.record.store import metadata

CHUNK = 2**14  # bytes that are read, and become one step of the state on disk: some hundred readings
ANEW = "remove the folder stream in the model's to begin anew"
TAIL = 1024  # bytes before the position by which a file is known again
ROWS = 20_000  # rows of a record that are read at once


class Source(ABC):
    """Readings, some at a time."""

    @abstractmethod
    def read(self) -> list[Reading | str] | None:
        """What has come, or why a line is no reading; []: nothing yet; None: nothing will come any more."""

    @abstractmethod
    def position(self) -> dict[str, Any]:
        """Where to go on, as plain values."""

    def saved(self) -> None:  # noqa: B027, most have nothing to do
        """The last position is on the disk."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more is read."""


class FileSource(Source):
    """A text file to which lines are appended. A last line without its end is read once the file grows no more."""

    def __init__(self, path: Path, metric: str, grows: bool, position: Mapping[str, Any]) -> None:
        self.path, self.grows, self.cutter = path, grows, LineCutter()
        self.lines = LineReader(metric, tuple(position.get("columns", ())), position.get("separator", ","))
        self.offset = int(position.get("offset", 0))
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
        if position and self._mark() != position["mark"]:
            self.file.close()
            raise RunError(f"{path}: what was read of it has changed since; {ANEW}")
        self.file.seek(self.offset)

    def read(self) -> list[Reading | str] | None:
        """The readings of the next lines."""
        chunk = self.file.read(CHUNK)
        size = os.fstat(self.file.fileno()).st_size
        if size < self.offset:
            raise RunError(f"{self.path}: has become shorter than what was read of it; {ANEW}")
        if not chunk and not self.grows and not self.cutter.rest:
            return None
        found, length = _readings(self.cutter, self.lines, chunk if chunk or self.grows else b"\n")
        self.offset = min(self.offset + length, size)
        return found

    def position(self) -> dict[str, Any]:
        """Bytes read, and by what the file is known again."""
        return {"offset": self.offset, "mark": self._mark(), **_columns(self.lines)}

    def close(self) -> None:
        """The file."""
        self.file.close()

    def _mark(self) -> str:
        """By which the file is known again: the last bytes that were read of it."""
        begin, here = max(0, self.offset - TAIL), self.file.tell()
        self.file.seek(begin)
        mark = blake2b(self.file.read(self.offset - begin), digest_size=16).hexdigest()
        self.file.seek(here)
        return mark


class PipeSource(Source):
    """Standard input. What was taken from it lies in a file until the state that has used it is on the disk."""

    def __init__(self, folder: Path, metric: str, position: Mapping[str, Any], handle: int = 0) -> None:
        self.folder, self.handle, self.cutter = folder, handle, LineCutter()
        self.lines = LineReader(metric, tuple(position.get("columns", ())), position.get("separator", ","))
        self.number = int(position.get("number", 0))
        for left in folder.glob("input-*"):
            if left != self._spool(self.number):
                left.unlink()
        self.file = self._spool(self.number).open("a+b", buffering=0)
        self.file.seek(0)

    def _spool(self, number: int) -> Path:
        return self.folder / f"input-{number}"

    def read(self) -> list[Reading | str] | None:
        """The readings of the next lines."""
        chunk = self.file.read(CHUNK)  # of what a killed process had taken, or wrote into a new file below
        if not chunk:
            chunk = os.read(self.handle, CHUNK)
            if not self.cutter.dropped:  # of a line without end its beginning tells enough
                self.file.write(chunk)
        if not chunk and not self.cutter.rest:
            return None
        return _readings(self.cutter, self.lines, chunk or b"\n")[0]

    def position(self) -> dict[str, Any]:
        """A new file, with what is not used yet: the beginning of a line, and what a killed process had taken."""
        self._spool(self.number + 1).write_bytes(self.cutter.rest + self.file.read())
        return {"number": self.number + 1, **_columns(self.lines)}

    def saved(self) -> None:
        """The file before is not needed any more."""
        self.file.close()
        self._spool(self.number).unlink()
        self.number += 1
        self.file = self._spool(self.number).open("a+b", buffering=0)
        self.file.seek(len(self.cutter.rest))

    def close(self) -> None:
        """The file."""
        self.file.close()


class RecordSource(Source):
    """A record, "person.parquet", that grows as exports are imported into it: rows later than those before."""

    def __init__(self, path: Path, metric: str, grows: bool, position: Mapping[str, Any]) -> None:
        self.path, self.metric, self.grows = path, metric, grows
        self.until = int(position.get("until", EARLIEST))
        self.seen: tuple[int, int] | None = None

    def read(self) -> list[Reading | str] | None:
        """The readings of the next rows."""
        import polars as pl

        try:
            stat = self.path.stat()
            if self.seen == (stat.st_mtime_ns, stat.st_size):
                return []
            check_version(metadata(self.path).get("version"), str(self.path))
            device = pl.col("device").struct
            later = pl.col("start").cast(pl.Int64) > self.until
            rows = (
                pl.scan_parquet(self.path)
                .filter((pl.col("metric") == self.metric) & later)
                .head(ROWS)
                .select(
                    pl.col("start").cast(pl.Int64),
                    pl.col("value").fill_null(float("nan")),
                    pl.coalesce(*(device.field(part) for part in MODEL), pl.lit("unknown")).alias("model"),
                    device.field("firmware").fill_null("").alias("firmware"),
                    (
                        pl.col("code").is_not_null()
                        | (pl.col("quality").list.set_intersection(list(UNUSED)).list.len() > 0)
                    ),
                )
                .collect()
                .rows()
            )
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{self.path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
        if len(rows) == ROWS and rows[0][0] < rows[-1][0]:  # rows of one stamp stay together
            rows = [row for row in rows if row[0] < rows[-1][0]]
        if not rows:
            self.seen = (stat.st_mtime_ns, stat.st_size)
            return [] if self.grows else None
        self.until = rows[-1][0]
        return [CODED if coded else Reading(*row) for *row, coded in rows]

    def position(self) -> dict[str, Any]:
        """Time of the last row."""
        return {"until": self.until}

    def close(self) -> None:
        """Nothing is open."""


def _readings(cutter: LineCutter, lines: LineReader, chunk: bytes) -> tuple[list[Reading | str], int]:
    """What is in the lines that have come to their end, and how many bytes they were."""
    found: list[Reading | str] = []
    length = 0
    for line, size in cutter.cut(chunk):
        found.append("lines over 64 kB" if line is None else lines.read(line))
        length += size
    return found, length


def _columns(lines: LineReader) -> dict[str, Any]:
    return {"columns": lines.columns, "separator": lines.separator}
