"""How to write a format: one file in this folder with ``WRITER`` in it, named in ``__init__.py``.

A writer is the inverse of a reader: what it writes is read again as the same rows, to the digit. What the standard has
a place for goes there; what it has none for goes into a place of our own that others may pass over, and is counted in
``Exported.remarks``. A row that cannot be written at all is counted in ``Exported.left_out``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from metapulse.record.clock import DAY, EPOCH, MINUTE, US
from metapulse.record.frame import undamaged
from metapulse.record.metrics import metrics
from metapulse.record.readers.record import rows_of_batch
from metapulse.record.reading import Progress, untold
from metapulse.record.schema import MAPPED, Row, check_version
from metapulse.record.store import metadata
from metapulse.rows import Rows

BATCH = 16_384  # rows that are in memory at once
LINES = (".ndjson", ".jsonl")  # of files with an object a line
UNPAIRED = 1000  # values of blood pressure at one instant that wait for their other half
NAMESPACE = uuid5(NAMESPACE_URL, "urn:metapulse:record")
_ENCODER = json.JSONEncoder(separators=(",", ":"))
FIRST, LAST = (date.min.toordinal() - EPOCH, date.max.toordinal() - EPOCH)  # days


@dataclass
class Exported:
    """What was written: rows = written + Σ left_out.

    Args:
        rows: of the record.
        written: of them, in the file.
        left_out: by reason.
        remarks: written, but not as the standard alone can say it; by reason.
    """

    rows: int = 0
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)

    def reasons(self) -> Rows:
        """What was left out or not said by the standard alone, and why; most frequent first."""
        groups = (("left out", self.left_out), ("not the standard's", self.remarks))
        found = [{"what": what, "why": why, "rows": n} for what, counter in groups for why, n in counter.items()]
        return Rows(sorted(found, key=lambda row: (row["what"], -row["rows"], row["why"])), ("what", "why", "rows"))


class Stored:
    """The rows of a record one after another, in its order, in bounded memory; each passage starts anew.

    Args:
        path: the record.
        exported: the account.
        progress: told (name, bytes done, bytes of all).
        mapped: with the rows that were mapped from another device's.

    Raises:
        DataError: no record, or one of another schema version.
    """

    def __init__(self, path: Path, exported: Exported, progress: Progress = untold, mapped: bool = False) -> None:
        check_version(metadata(path).get("version"), str(path))
        self.path, self.exported, self.progress, self.mapped = path, exported, progress, mapped

    def __iter__(self) -> Iterator[Row]:
        """Rows that have a time that can be written and a metric that is known; others are left out."""
        import pyarrow.parquet as pq

        known, exported, size = metrics(), self.exported, self.path.stat().st_size
        with undamaged(self.path), pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            total = file.metadata.num_rows
            for batch in file.iter_batches(BATCH):
                for row in rows_of_batch(batch):
                    exported.rows += 1
                    if row.metric not in known:
                        exported.left_out["a metric that this version does not know"] += 1
                    elif not all(_within(t or 0, row.offset_min) for t in (row.start, row.end)):
                        exported.left_out["a time before the year 1 or after 9999"] += 1
                    elif MAPPED in row.quality and not self.mapped:
                        exported.left_out["mapped from another device's row: with --mapped"] += 1
                    else:
                        exported.written += 1
                        yield row
                self.progress(str(self.path), size * exported.rows // max(total, 1), size)

    def digest(self) -> str:
        """Of all times and values: the same for a record that was exported and imported."""
        import pyarrow.parquet as pq

        found = sha256()
        with undamaged(self.path), pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(BATCH, columns=["start", "value", "quality"]):
                batch = batch if self.mapped else _measured(batch)
                found.update(batch["start"].to_numpy().tobytes())
                found.update(batch["value"].fill_null(0.0).to_numpy().tobytes())
        return found.hexdigest()


#: Pieces of the file's text, one after another. True: an object a line instead of one document.
Write: TypeAlias = Callable[[Stored, bool], Iterator[str]]


@dataclass(frozen=True)
class Writer:
    """One format.

    Args:
        name: as ``--to`` has it.
        title: for people.
        write: the file's text, from the rows.
        suffixes: by which its files are known.
    """

    name: str
    title: str
    write: Write
    suffixes: tuple[str, ...] = (".json", *LINES)


def stamp(instant: int, offset_min: int | None) -> str:
    """RFC 3339, to the µs: "2024-04-03T08:00:00.25+02:00"; "-00:00" where the person's clock is not known (§ 4.3).

    Args:
        instant: µs since 1970 in UTC, in the years 1 to 9999.
        offset_min: minutes of the person's clock before UTC.
    """
    day, rest = divmod(instant + (offset_min or 0) * MINUTE, DAY)
    second, part = divmod(rest, US)
    time = f"{_day(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{time}.{part:06}".rstrip("0") + _zone(offset_min) if part else time + _zone(offset_min)


def day_alone(row: Row) -> str:
    """The date, of a row that is a day on a clock that is not known; "" of any other."""
    if row.offset_min is None and row.end == row.start + DAY and not row.start % DAY and "date_only" in row.quality:
        return _day(row.start // DAY)
    return ""


@lru_cache(1024)
def _day(days: int) -> str:
    return date.fromordinal(days + EPOCH).isoformat()


@lru_cache(1024)
def _zone(offset_min: int | None) -> str:
    if offset_min is None:
        return "-00:00"
    return f"{'-' if offset_min < 0 else '+'}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"


def _measured(batch: Any) -> Any:
    """A batch of a record without the rows that were mapped."""
    import pyarrow as pa

    kept = [MAPPED not in marks for marks in batch["quality"].to_pylist()]
    return batch if all(kept) else batch.filter(pa.array(kept))


def _within(instant: int, offset_min: int | None) -> bool:
    """Whether it can be written, on the person's clock and in UTC."""
    return all(FIRST * DAY <= instant + minutes * MINUTE < (LAST + 1) * DAY for minutes in (0, offset_min or 0))


def plain_number(value: float) -> int | float:
    """A whole number without its ".0", as long as that is the same number and sign."""
    whole = value.is_integer() and abs(value) < 1e15 and (value != 0 or str(value) == "0.0")
    return int(value) if whole else value


def identity(*parts: object) -> str:
    """A UUID (version 5) of what it is told: the same for the same."""
    return str(uuid5(NAMESPACE, repr(parts)))


def identity_of(rows: Iterable[Row]) -> str:
    """A UUID of rows, by what no two rows of a record have in common."""
    keys = ((r.start, r.metric, r.end, r.value, r.code, tuple(r.device), r.file, r.row) for r in rows)
    return identity(*keys)


def pressures_paired(rows: Iterable[Row]) -> Iterator[tuple[Row, ...]]:
    """Every row alone, but diastolic and systolic pressure of one measurement together, in this order.

    Args:
        rows: in the record's order, where the diastolic of a moment come right before the systolic.
    """
    waiting: list[Row] = []
    for row in rows:
        if waiting and (row.start != waiting[0].start or row.metric not in ("bp_diastolic", "bp_systolic")):
            yield from ((one,) for one in waiting)
            waiting = []
        if row.metric == "bp_diastolic":
            if len(waiting) == UNPAIRED:
                yield (waiting.pop(0),)
            waiting.append(row)
            continue
        at = next((i for i, one in enumerate(waiting) if _alike(one) == _alike(row)), None)
        yield (row,) if at is None else (waiting.pop(at), row)
    yield from ((one,) for one in waiting)


def _alike(row: Row) -> tuple[object, ...]:
    return row.end, row.offset_min, row.code, row.device, row.quality


def json_line(item: object) -> str:
    """JSON of a line, all in ASCII: some programs end lines at U+0085 and U+2028, and lose U+FEFF."""
    return _ENCODER.encode(item)


def json_list(head: str, items: Iterable[str], tail: str, lines: bool) -> Iterator[str]:
    """Items between head and tail with commas between them, or a line each."""
    if lines:
        yield from (f"{item}\n" for item in items)
        return
    yield head
    comma = ""
    for item in items:
        yield f"{comma}{item}"
        comma = ",\n"
    yield tail
