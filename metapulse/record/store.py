"""Exports → ``person.parquet``: recognised, read, converted, sorted, repeats marked, everything counted.

The content of the record depends on what was read, not on the order it was read in or on how often: a record that is
there already is one more input. Copies of one content are read each under its own name; of equal rows the first stays
(``runs.py``), which is that of the earliest name.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from metapulse.errors import DataError, MetapulseError
from metapulse.files import replace_with
from metapulse.record.columns import NO_OFFSET, NO_TIME, Tables, metric_names, text_lengths
from metapulse.record.containers import ContainerLimits, Inputs
from metapulse.record.lineage import Lineage
from metapulse.record.readers.base import Options
from metapulse.record.reading import BATCH, Progress, Read, untold
from metapulse.record.runs import Runs
from metapulse.record.schema import (
    KEY,
    MAPPED,
    MAPPED_VERSION,
    MARKS,
    ROW_GROUP,
    ROW_GROUP_TEXT,
    VERSION,
    WRITING,
    Device,
    Row,
    arrow_schema,
)
from metapulse.record.tally import FileTally, Tally
from metapulse.record.texts import Block


def import_files(
    inputs: Sequence[Path],
    out: Path,
    options: Options = Options(),  # noqa: B008  # frozen
    progress: Progress = untold,
    limits: ContainerLimits = ContainerLimits(),  # noqa: B008  # frozen
) -> Tally:
    """Read every input into the record at ``out``; a record that is there already is added to.

    Args:
        inputs: files, folders and zips of any vendors.
        out: "person.parquet".
        options: what the person tells about the inputs.
        progress: told (file, bytes done, bytes of all).
        limits: what inputs may be.

    Returns:
        The account of all that is in the record now.

    Raises:
        DataError: an input is missing or broken, no reader knows any of its files, or ``out`` is something else.
    """
    paths = [Path(path) for path in inputs]
    read = Read(options, progress)
    if out.exists():
        metadata(out)  # before anything is read: what is no record is not written over
    if out.exists() and out.resolve() not in {path.resolve() for path in paths}:
        paths.append(out)
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        runs = Runs(Path(folder))
        _read_all(paths, limits, read, runs)  # of the inputs, which may be very many, nothing is kept but accounts
        tally = read.held
        tally.add(read.accounts())
        if not any(file.format for file in tally.files.values()) and (first := next(read.accounts(), None)):
            raise DataError(_nothing(first, len(read.tallies) + len(read.unread) - 1))
        tally.unread = [f"{t.file}: {t.error}" for t in read.accounts() if t.error and not t.failed]
        tally.unread += read.nothing_of([path.resolve().name if path.is_dir() else path.name for path in paths])
        read.unread.clear()
        replace_with(out, lambda stream: _write(stream, runs, tally))
    return tally


def _read_all(paths: Sequence[Path], limits: ContainerLimits, read: Read, runs: Runs) -> None:
    with Inputs(paths, limits) as given:
        for number, (context, batches) in enumerate(read.files(given)):
            _gather(runs, context.tally, batches, number, context.lineage)


def write_rows(rows: Iterable[Row], out: Path, account: FileTally) -> Tally:
    """Rows that come from no export file into a record at ``out``, whose old one is replaced.

    Args:
        rows: in any order; each with its number in ``row``.
        out: "person.parquet".
        account: where they come from: file, format, why.

    Returns:
        The account of the record.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        runs = Runs(Path(folder))
        given = iter(rows)
        _gather(runs, account, iter(lambda: list(islice(given, BATCH)), []))
        account.seen = account.used = account.given
        tally.add([account])
        replace_with(out, lambda stream: _write(stream, runs, tally))
    return tally


def _gather(
    runs: Runs,
    account: FileTally,
    batches: Iterable[Sequence[Row]],
    number: int = 0,
    held: Lineage | None = None,
) -> None:
    """All rows of one file, the ``number``-th that is read, up to one that its reader made wrongly."""
    for batch in batches:
        if (block := _block(runs.tables(), batch, account, number, held)) is None:
            break
        runs.add(block)


def _block(tables: Tables, rows: Sequence[Row], account: FileTally, number: int, held: Lineage | None) -> Block | None:
    """Columns of some rows; None, and the rows counted away, where a reader has made what is no row."""
    given, away = account.given, account.away.copy()
    try:
        return tables.block(rows, account.file, account, number, held)
    except (MetapulseError, MemoryError):
        raise
    except Exception as error:
        account.given, account.away = given, away
        account.fail(error)
        account.given += len(rows)
        account.away["its reader made what is no row, here or near"] += len(rows)
        return None


def _nothing(first: FileTally, others: int) -> str:
    more = f" (and {others} files more)" if others else ""
    return f"{first.file}: {first.error or first.why}{more}"


def _write(stream: BinaryIO, runs: Runs, tally: Tally) -> None:
    """Row groups of equal size, whatever the blocks; the account last, when it is known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    version = VERSION
    with pq.ParquetWriter(stream, arrow_schema(), **WRITING) as writer:

        def parts() -> Iterator[tuple[Any, NDArray[np.int64]]]:
            nonlocal version
            for block in runs.merged(tally.lineage()):
                tally.records += block.rows
                tally.duplicates += int(block.tables.having(block, "duplicate_of").sum())
                version = MAPPED_VERSION if block.tables.having(block, MAPPED).any() else version
                yield arrow(block), text_lengths(block)

        for group in _regrouped(parts()):
            writer.write_table(group)
            pa.default_memory_pool().release_unused()
        facts = {"version": version, "marks": MARKS, "tally": tally.sums() | {"files": []}}
        begun, here, ended = _json(facts).partition(b'"files": [')
        told = io.BytesIO()
        told.write(begun + here)
        for number, file in enumerate(tally.in_order()):  # of which there may be very many
            told.write(b", " * (number > 0) + _json(file.facts()))
        told.write(ended)
        writer.add_key_value_metadata({KEY: told.getvalue()})


def _json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()


def _regrouped(parts: Iterable[tuple[Any, NDArray[np.int64]]]) -> Iterator[Any]:
    """Tables anew in groups: of so many rows, or so much text, by what the rows say alone.

    Args:
        parts: tables, and characters of the texts of their rows.
    """
    waiting: list[Any] = []
    lengths = np.empty(0, np.int64)
    for table, more in parts:
        waiting.append(table)
        lengths = np.append(lengths, more)
        if len(lengths) >= ROW_GROUP or lengths.sum() >= ROW_GROUP_TEXT:
            whole, at = _taken(waiting), 0
            for end in _ends(lengths):
                yield whole.slice(at, end - at)
                at = end
            waiting.append(whole.take(np.arange(at, len(lengths))))  # a slice would keep all of it
            lengths = lengths[at:]
            del whole
    if len(lengths):
        whole, at = _taken(waiting), 0
        for end in [*_ends(lengths), len(lengths)]:
            if end > at:
                yield whole.slice(at, end - at)
                at = end


def _taken(tables: list[Any]) -> Any:
    """Tables as one; the list is empty then."""
    import pyarrow as pa

    whole = pa.concat_tables(tables)
    tables.clear()
    return whole.combine_chunks()


def _ends(lengths: NDArray[np.int64]) -> Iterator[int]:
    """Where groups end that have as many rows, or as much text, as may be."""
    behind, at = np.cumsum(lengths), 0
    while at < len(lengths):
        before = behind[at - 1] if at else 0
        fit = int(np.searchsorted(behind, before + ROW_GROUP_TEXT, "right"))
        if fit == len(lengths) < at + ROW_GROUP:
            return
        at = max(at + 1, min(fit, at + ROW_GROUP))
        yield at


def arrow(block: Block) -> Any:
    """A block as a table of ``arrow_schema`` (a ``pyarrow.Table``)."""
    import pyarrow as pa

    schema, tables = arrow_schema(), block.tables
    instant = schema.field("start").type

    def text(table: Any, numbers: Any) -> Any:
        return pa.array(list(table), pa.string()).take(pa.array(numbers))

    used, places = np.unique(block["device"], return_inverse=True)
    known = list(tables.device)
    devices = [known[number] for number in used]
    unknown = np.array([device == Device() for device in devices], bool)[places]
    parts = [text([device[i] for device in devices], places) for i in range(len(Device._fields))]
    columns = {
        "start": pa.array(block["start"], instant),
        "end": pa.array(block["end"], instant, mask=block["end"] == NO_TIME),
        "offset_min": pa.array(block["offset_min"].astype(np.int16), mask=block["offset_min"] == NO_OFFSET),
        "metric": text(metric_names(), block["metric"]),
        "value": pa.array(block["value"], mask=np.isnan(block["value"])),
        "code": text(tables.code, block["code"]),
        "unit": text(tables.unit, block["unit"]),
        "device": pa.StructArray.from_arrays(parts, fields=list(schema.field("device").type), mask=pa.array(unknown)),
        "source": pa.StructArray.from_arrays(
            [text(tables.file, block["file"]), pa.array(block["row"])], fields=list(schema.field("source").type)
        ),
        "quality": pa.array(list(tables.quality), pa.list_(pa.string())).take(pa.array(block["quality"])),
        "raw": block["raw"],
    }
    return pa.table(columns, schema=schema)


def metadata(path: Path) -> dict[str, Any]:
    """What a record says of itself: schema version, marks, tally.

    Raises:
        DataError: it is no record.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists() and not (path.is_file() or path.is_dir()):  # reading it might never end
        raise DataError(f"{path}: a pipe or a device, and no Parquet file")
    try:
        found = pq.read_metadata(path).metadata or {}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if path.is_dir():
            raise DataError(f"{path}: a folder, and no Parquet file") from None
        raise DataError(f"{path}: no Parquet file ({' '.join(str(error).split())})") from None
    if KEY not in found:
        raise DataError(f"{path}: a Parquet file, but no record of metapulse")
    try:
        facts = json.loads(found[KEY])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: a damaged record (what it says of itself: {error})") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path}: a damaged record (what it says of itself is no table)")
    return facts
