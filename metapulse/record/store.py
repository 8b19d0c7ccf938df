"""Exports → ``person.parquet``: recognised, read, converted, sorted, repeats marked, everything counted.

The content of the record depends on what was read, not on the order it was read in or on how often: a record that is
there already is one more input.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from metapulse.errors import DataError, MetapulseError
from metapulse.files import replace_with
from metapulse.record.columns import NO_OFFSET, NO_TIME, Block, Tables, joined, taken
from metapulse.record.containers import ContainerLimits, File, Inputs
from metapulse.record.readers.base import Context, Options, Reader
from metapulse.record.recognise import recognise
from metapulse.record.runs import Runs
from metapulse.record.schema import KEY, MARKS, ROW_GROUP, VERSION, Device, Row, arrow_schema
from metapulse.record.tally import FileTally, Tally

BATCH = 16_384  # rows that become columns at once

#: Told the file that is being read, and how many of all bytes are done.
Progress: TypeAlias = Callable[[str, int, int], None]


def untold(name: str, done: int, total: int) -> None:
    """Progress that is shown to none."""


@dataclass
class Read:
    """Several inputs, file by file.

    Args:
        options: zone and order of dates.
        progress: told how far it is.
        names: (mark, size) of contents that are in the record → the name under which they are.
    """

    options: Options = field(default_factory=Options)
    progress: Progress = untold
    names: dict[tuple[str, int], str] = field(default_factory=dict)
    tallies: list[FileTally] = field(default_factory=list)

    def files(self, inputs: Inputs) -> Iterator[tuple[FileTally, Iterator[Row]]]:
        """(account, rows) of every file that a reader knows; what none knows is in ``tallies`` when all is read."""
        total, done = sum(file.size for file in inputs.files), 0
        taken: set[File] = set()
        strange: list[tuple[File, str]] = []
        for file in sorted(inputs.files, key=lambda file: file.name):  # of equal contents the first name counts
            self.names.setdefault((file.mark, file.size), file.name)
        for file in inputs.files:
            reader, why = recognise(file)
            if reader is None:
                strange.append((file, why))
            else:
                name = file.name if reader.by_name else self.names[file.mark, file.size]
                tally = FileTally(name, reader.name, why, file.mark, file.size)
                if tally.file != file.name:  # the same rows of the same file then, which are in the record once
                    tally.also = (file.name,)
                context = Context(file, self.options, tally, self._counter(file, done, total), taken)
                yield tally, self._rows(reader, context)
                self.tallies += context.inherited if context.inherited is not None else [tally]
            done += file.size
        self.tallies += [FileTally(f.name, "", why, f.mark) for f, why in strange if f not in taken]
        self.tallies += [FileTally(name, error=why) for name, why in inputs.broken.items()]

    def _rows(self, reader: Reader, context: Context) -> Iterator[Row]:
        """The reader's rows, each of the file's rows counted as used once; they end where the reader fails."""
        last: tuple[str | None, int] | None = None
        try:
            for row in reader.read(context):
                if (row.file, row.row) != last:
                    last = (row.file, row.row)
                    context.tally.used += 1
                yield row if row.origin is None else row._replace(file=row.origin[0], row=row.origin[1], origin=None)
        except (MetapulseError, MemoryError):
            raise
        except Exception as error:  # a fault of the reader's own, which other files have no part in
            context.tally.fail(error)

    def _counter(self, file: File, before: int, total: int) -> Callable[[int], None]:
        done = before

        def count(bytes: int) -> None:
            nonlocal done
            done = min(done + bytes, before + file.size)
            self.progress(file.name, done, total)

        return count


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
    tables, read = Tables(), Read(options, progress)
    if out.exists():  # before anything is read: what is no record is not written over
        held = Tally.of(metadata(out)["tally"]).files.values()
        read.names = {(file.mark, file.size): file.file for file in held if file.size}
    if out.exists() and out.resolve() not in {path.resolve() for path in paths}:
        paths.append(out)
    with Inputs(paths, limits) as given, tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        runs = Runs(Path(folder))
        for number, (account, rows) in enumerate(read.files(given)):
            _gather(runs, tables, account, rows, number)
        if not any(tally.format for tally in read.tallies):
            raise DataError(_nothing(read.tallies))
        tally = Tally(in_two_zones=_in_two_zones(read.tallies))
        tally.add(read.tallies)
        replace_with(out, lambda stream: _write(stream, runs, tables, tally))
    return tally


def write_rows(rows: Iterable[Row], out: Path, account: FileTally) -> Tally:
    """Rows that come from no export file into a record at ``out``, whose old one is replaced.

    Args:
        rows: in any order; each with its number in ``row``.
        out: "person.parquet".
        account: where they come from: file, format, why.

    Returns:
        The account of the record.
    """
    tables, tally = Tables(), Tally()
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        runs = Runs(Path(folder))
        _gather(runs, tables, account, iter(rows))
        account.seen = account.used = account.given
        tally.add([account])
        replace_with(out, lambda stream: _write(stream, runs, tables, tally))
    return tally


def _gather(runs: Runs, tables: Tables, account: FileTally, rows: Iterator[Row], number: int = 0) -> None:
    """All rows of one file, the ``number``-th that is read, up to one that its reader made wrongly."""
    while batch := list(islice(rows, BATCH)):
        if (block := _block(tables, batch, account, number)) is None:
            break
        runs.add(block)


def _block(tables: Tables, rows: Sequence[Row], account: FileTally, number: int) -> Block | None:
    """Columns of some rows; None, and the rows counted away, where a reader has made what is no row."""
    given, away = account.given, account.away.copy()
    try:
        return tables.block(rows, account.file, account, number)
    except (MetapulseError, MemoryError):
        raise
    except Exception as error:
        account.given, account.away = given, away
        account.fail(error)
        account.given += len(rows)
        account.away["its reader made what is no row, here or near"] += len(rows)
        return None


def _nothing(tallies: Sequence[FileTally]) -> str:
    first = tallies[0]
    more = f" (and {len(tallies) - 1} files more)" if len(tallies) > 1 else ""
    return f"{first.file}: {first.error or first.why}{more}"


def _in_two_zones(tallies: Sequence[FileTally]) -> list[str]:
    """Files that were read without a zone once and once with one: their rows are there twice, hours apart."""
    assumed: dict[tuple[str, str], set[bool]] = {}
    for tally in tallies:
        if tally.mark and tally.kept:
            assumed.setdefault((tally.file, tally.mark), set()).add("zone_assumed" in tally.flagged)
    return [file for (file, _), found in sorted(assumed.items()) if len(found) > 1]


def _write(stream: BinaryIO, runs: Runs, tables: Tables, tally: Tally) -> None:
    """Row groups of equal size, whatever the blocks; the account last, when it is known."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(stream, arrow_schema(), compression="zstd", write_statistics=True) as writer:
        for block in _regrouped(runs.merged(tables)):
            tally.records += len(block["start"])
            tally.duplicates += int(tables.having(block, "duplicate_of").sum())
            writer.write_table(arrow(block, tables))
        facts = {"version": VERSION, "marks": MARKS, "tally": tally.facts()}
        writer.add_key_value_metadata({KEY.decode(): json.dumps(facts, sort_keys=True, ensure_ascii=False)})


def _regrouped(blocks: Iterator[Block]) -> Iterator[Block]:
    waiting: list[Block] = []
    for block in blocks:
        waiting.append(block)
        if sum(len(b["start"]) for b in waiting) >= ROW_GROUP:
            whole = joined(waiting)
            ends = range(ROW_GROUP, len(whole["start"]) + 1, ROW_GROUP)
            yield from (taken(whole, slice(end - ROW_GROUP, end)) for end in ends)
            waiting = [taken(whole, slice(ends[-1], None))]
    if waiting and len((whole := joined(waiting))["start"]):
        yield whole


def arrow(block: Block, tables: Tables) -> Any:
    """A block as a table of ``arrow_schema`` (a ``pyarrow.Table``)."""
    import pyarrow as pa

    schema = arrow_schema()
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
        "metric": text(tables.names, block["metric"]),
        "value": pa.array(block["value"], mask=np.isnan(block["value"])),
        "code": text(tables.code, block["code"]),
        "unit": text(tables.unit, block["unit"]),
        "device": pa.StructArray.from_arrays(parts, fields=list(schema.field("device").type), mask=pa.array(unknown)),
        "source": pa.StructArray.from_arrays(
            [text(tables.file, block["file"]), pa.array(block["row"])], fields=list(schema.field("source").type)
        ),
        "quality": pa.array(list(tables.quality), pa.list_(pa.string())).take(pa.array(block["quality"])),
        "raw": pa.array(block["raw"].tolist(), pa.string()),
    }
    return pa.table(columns, schema=schema)


def metadata(path: Path) -> dict[str, Any]:
    """What a record says of itself: schema version, marks, tally.

    Raises:
        DataError: it is no record.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

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
