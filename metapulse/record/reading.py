"""Several inputs, read file by file: which reader each is for, what was told of it, and the account of its rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TypeAlias

from metapulse.errors import ConfigError, DataError, MetapulseError
from metapulse.record.clock import zone
from metapulse.record.containers import EMPTY, File, Inputs
from metapulse.record.lineage import Lineage
from metapulse.record.readers.base import Context, Options, Reader
from metapulse.record.readers.record import READER as RECORD
from metapulse.record.readers.record import account_of
from metapulse.record.recognise import recognise
from metapulse.record.schema import NO_DEVICE, Row
from metapulse.record.tally import ANEW, FileTally, Tally

#: Told the file that is being read, and how many of all bytes are done.
Progress: TypeAlias = Callable[[str, int, int], None]


BATCH = 16_384  # rows that become columns at once
BATCH_TEXT = 2**22  # characters of their texts, in the same way
TEXT = 2**16  # characters of one text of a row
LONG_TEXT = f"a text of more than {TEXT // 2**10} KiB"
SHORT = 256  # characters that are not counted
NAMED = 10_000  # files without a reader that the account of an input names; a Takeout may hold all photos of a life

#: Name, mark, why no reader knows it, and why nothing can be read of it.
Unread: TypeAlias = tuple[str, str, str, str]


def untold(name: str, done: int, total: int) -> None:
    """Progress that is shown to none."""


@dataclass
class Read:
    """Several inputs, file by file.

    Args:
        options: zone and order of dates.
        progress: told how far it is.
        tallies: of the files that were read; not those of which a record tells.
        unread: the others, of which there may be very many.
        held: accounts of which records among the inputs tell.
    """

    options: Options = field(default_factory=Options)
    progress: Progress = untold
    tallies: list[FileTally] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    held: Tally = field(default_factory=Tally)
    _lineages: dict[File, Lineage] = field(default_factory=dict)

    def files(self, inputs: Inputs) -> Iterator[tuple[Context, Iterator[list[Row]]]]:
        """What is read, and its rows in batches, of every file that a reader knows; at the end all have their account.

        Raises:
            ConfigError: a file is in a record as read in another zone or order of dates than is told now.
        """
        total, done = sum(file.size for file in inputs.files), 0  # those that no reader knows count as not done
        taken: set[File] = set()
        known, unknown = list[tuple[File, Reader, FileTally]](), list[tuple[File, str, str]]()
        for file in inputs.files:
            reader, why, error = self._recognised(file)
            if reader is None:
                unknown.append((file, why, error))
            else:
                tally = FileTally(file.name, reader.name, why, file.mark, file.size, reader.by_name)
                known.append((file, reader, tally))
        told = [self._told(tally) for _, _, tally in known]
        for (file, reader, tally), options in zip(known, told, strict=True):
            context = Context(file, options, tally, self._counter(file, done, total), taken)
            if reader is RECORD:
                context.lineage = self._lineages[file]
            yield context, self._batches(reader, context)
            context.account()
            done += file.size
        self.tallies += [tally for _, reader, tally in known if reader is not RECORD]
        self.unread += [(file.name, file.mark, why, error) for file, why, error in unknown if file not in taken]
        self.unread += [(name, "", EMPTY, "") for name in inputs.empty]
        self.unread += [(name, "", "", why) for name, why in inputs.broken.items()]

    def accounts(self) -> Iterator[FileTally]:
        """Of all files, those that were read first; of very many that were not some by name, the broken ones first."""
        yield from self.tallies
        by_input = sorted(set(self.unread), key=lambda facts: (_top(facts), not facts[3], facts))
        for name, files in groupby(by_input, _top):
            yield from (FileTally.unread(*facts) for facts in islice(files, NAMED))
            yield from _others(name, files)

    def nothing_of(self, inputs: Iterable[str]) -> Iterator[str]:
        """Of those inputs of which nothing was read, by their names, the first file, and why; not what is broken."""
        known = {
            name.partition("/")[0] for name in (*(t.file for t in self.tallies), *(f.name for f in self._lineages))
        }
        left = set(inputs) - known
        for name, facts in groupby(sorted(set(self.unread)), _top):
            file, _, why, error = next(facts)
            if name in left and not error:
                yield f"{file}: {why}"

    def _recognised(self, file: File) -> tuple[Reader | None, str, str]:
        """Its reader, and why, or why there is none, or why it cannot be read; of a record also what that holds."""
        try:
            reader, why = recognise(file)
        except DataError as error:
            return None, "", str(error).removeprefix(f"{file.name}: ")
        if reader is RECORD:
            asked_for = "/" not in file.name  # and not found in a folder, where it costs itself alone
            try:
                account = account_of(file, whole=not asked_for)
            except DataError as error:
                if asked_for:
                    raise
                return None, "", str(error).removeprefix(f"{file.name}: ")
            self._lineages[file] = account.lineage()
            self.held.add(account.files.values())
        return reader, why, ""

    def _told(self, tally: FileTally) -> Options:
        """What is told of a file now, or was when it was read before."""
        before = self.held.files.get(tally.content, tally)
        zone_then, order_then = (next(filter(None, told), "") for told in (before.zones, before.orders))
        zone_now, order_now = str(self.options.zone or ""), self.options.date_order
        for option, now, then in (("timezone", zone_now, zone_then), ("date-order", order_now, order_then)):
            if now and then and now != then:
                raise ConfigError(option, now, f"{then}, with which {before.file} was read; for another {ANEW}")
        return Options(self.options.zone or (zone(zone_then) if zone_then else None), order_now or order_then)

    def _batches(self, reader: Reader, context: Context) -> Iterator[list[Row]]:
        """The reader's rows, each of the file's rows counted as used once; they end where the reader fails."""
        last: tuple[str | None, int] | None = None
        device, unit, code, length = NO_DEVICE, "", "", 0  # of the row before: what is as there is not measured anew
        batch, text = list[Row](), 0
        try:
            for row in reader.read(context):
                if (row.file, row.row) != last:
                    last = (row.file, row.row)
                    context.tally.used += 1
                if row.origin is not None:
                    row = row._replace(file=row.origin[0], row=row.origin[1], origin=None)
                if row.raw or row.file or (row.unit or "") != unit or (row.code or "") != code or row.device != device:
                    device, unit, code, length = row.device, row.unit or "", row.code or "", _length(row)
                if length > SHORT:
                    if length > TEXT and _too_long(row):
                        context.tally.given += 1
                        context.tally.away[LONG_TEXT] += 1
                        continue
                    text += length
                batch.append(row)
                if len(batch) >= BATCH or text >= BATCH_TEXT:
                    yield batch
                    batch, text = [], 0
        except (MetapulseError, MemoryError):
            raise
        except Exception as error:  # a fault of the reader's own, which other files have no part in
            context.tally.fail(error)
        if batch:
            yield batch

    def _counter(self, file: File, before: int, total: int) -> Callable[[int], None]:
        done = before

        def count(bytes: int) -> None:
            nonlocal done
            done = min(done + bytes, before + file.size)
            self.progress(file.name, done, total)

        return count


def _top(facts: Unread) -> str:
    """The input's own name."""
    return facts[0].partition("/")[0]


def _others(input: str, files: Iterable[Unread]) -> Iterator[FileTally]:
    """One account of all that no reader knows, and one of all that cannot be read."""
    counts, marks, example = [0, 0], [0, 0], ""
    for name, mark, _, error in files:
        broken = bool(error)
        counts[broken] += 1
        marks[broken] = zlib.crc32(f"{name}\n{mark}\n".encode(), marks[broken])
        example = example or (error and f"{name}: {error}")
    if counts[False]:
        why = f"{counts[False]} files more that no reader knows, not named one by one"
        yield FileTally.unread(input, f"{marks[False]:08x}", why, "")
    if counts[True]:
        error = f"{counts[True]} files more that cannot be read, as {example}"
        yield FileTally.unread(input, f"{marks[True]:08x}", "", error)


def _length(row: Row) -> int:
    """Characters of its texts."""
    a, b, c, d, e, f = row.device
    length = len(a or "") + len(b or "") + len(c or "") + len(d or "") + len(e or "") + len(f or "")
    return length + len(row.raw or "") + len(row.code or "") + len(row.unit or "") + len(row.file or "")


def _too_long(row: Row) -> bool:
    """Whether one of its texts is."""
    return any(text is not None and len(text) > TEXT for text in (row.raw, row.code, row.unit, row.file, *row.device))
