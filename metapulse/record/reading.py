"""Several inputs, read file by file: which reader each is for, what was told of it, and the account of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from metapulse.errors import ConfigError, DataError, MetapulseError
from metapulse.record.clock import zone
from metapulse.record.containers import EMPTY, File, Inputs
from metapulse.record.lineage import Lineage
from metapulse.record.readers.base import Context, Options, Reader
from metapulse.record.readers.record import READER as RECORD
from metapulse.record.readers.record import account_of
from metapulse.record.recognise import recognise
from metapulse.record.schema import Row
from metapulse.record.tally import ANEW, FileTally, Tally

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
        tallies: of the files that were read; not those of which a record tells.
        held: accounts of which records among the inputs tell.
    """

    options: Options = field(default_factory=Options)
    progress: Progress = untold
    tallies: list[FileTally] = field(default_factory=list)
    held: Tally = field(default_factory=Tally)
    _lineages: dict[File, Lineage] = field(default_factory=dict)

    def files(self, inputs: Inputs) -> Iterator[tuple[Context, Iterator[Row]]]:
        """What is read, and its rows, of every file that a reader knows; when all is read, ``tallies`` has all others.

        Raises:
            ConfigError: a file is in a record as read in another zone or order of dates than is told now.
        """
        total, done = sum(file.size for file in inputs.files), 0
        taken: set[File] = set()
        known = [(file, *self._recognised(file)) for file in inputs.files]
        told = [self._told(tally) for _, _, tally in known]
        for (file, reader, tally), options in zip(known, told, strict=True):
            if reader is not None:
                context = Context(file, options, tally, self._counter(file, done, total), taken)
                if reader is RECORD:
                    context.lineage = self._lineages[file]
                yield context, self._rows(reader, context)
                context.account()
            done += file.size
        self.tallies += [tally for _, reader, tally in known if reader not in (None, RECORD)]
        self.tallies += [tally for file, reader, tally in known if reader is None and file not in taken]
        self.tallies += [FileTally(name, why=EMPTY) for name in inputs.empty]
        self.tallies += [FileTally(name, error=why) for name, why in inputs.broken.items()]

    def _recognised(self, file: File) -> tuple[Reader | None, FileTally]:
        """Its reader, and the account that it begins with; of a record also what that holds."""
        try:
            reader, why = recognise(file)
        except DataError as error:
            return None, FileTally(file.name, mark=file.mark, error=str(error).removeprefix(f"{file.name}: "))
        if reader is None:
            return None, FileTally(file.name, "", why, file.mark)
        if reader is RECORD:
            account = account_of(file)
            self._lineages[file] = account.lineage()
            self.held.add(account.files.values())
        return reader, FileTally(file.name, reader.name, why, file.mark, file.size, reader.by_name)

    def _told(self, tally: FileTally) -> Options:
        """What is told of a file now, or was when it was read before."""
        before = self.held.files.get(tally.content, tally)
        zone_then, order_then = (next(filter(None, told), "") for told in (before.zones, before.orders))
        zone_now, order_now = str(self.options.zone or ""), self.options.date_order
        for option, now, then in (("timezone", zone_now, zone_then), ("date-order", order_now, order_then)):
            if now and then and now != then:
                raise ConfigError(option, now, f"{then}, with which {before.file} was read; for another {ANEW}")
        return Options(self.options.zone or (zone(zone_then) if zone_then else None), order_now or order_then)

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
