"""A record of ours, read again: to add to it, or to merge several."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from metapulse.errors import DataError
from metapulse.record.containers import File
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.schema import DERIVED, KEY, MARKS, NO_DEVICE, Device, Row, check_version
from metapulse.record.tally import Tally

BATCH = 16_384  # rows


def sniff(sample: Sample) -> str:
    """Any Parquet file: whether it is a record stands at its end."""
    return "it is a Parquet file" if sample.bytes.startswith(b"PAR1") else ""


def read(context: Context) -> Iterator[Row]:
    """Every row as it was read from its export. Raises: DataError: it is no record, or one of another version."""
    with _opened(context.file) as (file, _):
        for batch in file.iter_batches(BATCH):
            context.seen(batch.num_rows)
            yield from _known(context, rows_of_batch(batch))


def account_of(file: File, whole: bool = False) -> Tally:
    """What a record says of what was read into it.

    Args:
        file: the record.
        whole: read all of it, so that damage shows before any of its rows is taken.

    Raises:
        DataError: it is no record, or one of another version, or damaged.
    """
    with _opened(file) as (opened, facts):
        for _ in opened.iter_batches(BATCH) if whole else ():
            pass
        return Tally.of(facts["tally"])


@contextmanager
def _opened(file: File) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The Parquet file, and what it says of itself; what is wrong with either is one line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open() as stream:
        try:
            opened = pq.ParquetFile(pa.PythonFile(stream, mode="r"), page_checksum_verification=True)
            facts = json.loads((opened.metadata.metadata or {}).get(KEY, b"{}"))
            if not facts:
                raise DataError(f"{file.name}: a Parquet file, but no record of metapulse")
            check_version(facts.get("version"), file.name)
            yield opened, facts
        except (OSError, pa.ArrowException, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file.name}: a damaged record ({' '.join(str(error).split())[:200]})") from None


def _known(context: Context, rows: Iterator[Row]) -> Iterator[Row]:
    """Without metrics of other versions, and without what this version finds anew."""
    known = metrics()
    for row in rows:
        if row.metric not in known:
            context.skip("a metric that this version does not know")
        else:
            yield row._replace(quality=told_marks(row.quality)) if row.quality else row


def told_marks(words: Iterable[object]) -> tuple[str, ...]:
    """The marks among these words, without those that are found anew in every record."""
    known = (word for word in words if isinstance(word, str) and word in MARKS and word not in DERIVED)
    return tuple(dict.fromkeys(known))


def rows_of_batch(batch: Any) -> Iterator[Row]:
    """The rows of some of a record's columns as they are (a ``pyarrow.RecordBatch``)."""
    import pyarrow as pa

    column = {name: batch.column(name) for name in batch.schema.names}
    lists = {name: column[name].to_pylist() for name in ("metric", "value", "unit", "offset_min", "code", "raw")}
    start, end = (column[name].cast(pa.int64()).to_pylist() for name in ("start", "end"))
    marks = [tuple(quality or ()) for quality in column["quality"].to_pylist()]
    devices = [
        Device._make(parts) if any(part is not None for part in parts) else NO_DEVICE
        for parts in zip(*(array.to_pylist() for array in column["device"].flatten()), strict=True)
    ]
    files, rows = (array.to_pylist() for array in column["source"].flatten())
    for i, name in enumerate(lists["metric"]):
        yield Row(
            name, start[i], lists["value"][i], lists["unit"][i], rows[i], end[i], lists["offset_min"][i],
            lists["code"][i], devices[i], marks[i], lists["raw"][i], files[i],
        )  # fmt: skip


READER = Reader("record", "A record of metapulse (person.parquet)", sniff, read)
