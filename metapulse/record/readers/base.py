"""How to write a reader: one file in this folder, at most 250 lines, with ``READER`` in it. Nothing else names it.

    \"\"\"Acme bands: CSV, one line a minute, local time.\"\"\"

    from __future__ import annotations

    from collections.abc import Iterator

    from metapulse.record.clock import MINUTE
    from metapulse.record.readers.base import Context, Reader, Sample
    from metapulse.record.readers.text import csv_column, csv_table, number
    from metapulse.record.schema import Device, Row

    BAND = Device(manufacturer="Acme", model="Band 2")


    def sniff(sample: Sample) -> str:
        return "its header is that of an Acme band" if sample.text.startswith("time,pulse,steps") else ""


    def read(context: Context) -> Iterator[Row]:
        context.date_order(csv_column(context, "time"), usual="mdy")  # of the whole column
        for line, cells in csv_table(context, "time"):  # counts the rows that it hands out
            stamp = context.clock.read(cells["time"])
            if stamp is None:
                context.skip("a stamp that is no time")  # the row gave nothing, and this is why
                continue
            pulse, steps = number_noted(context, cells, "pulse"), number_noted(context, cells, "steps")
            row = Row("heart_rate", stamp.start, pulse, "bpm", line, quality=stamp.marks, device=BAND)
            row = row._replace(offset_min=stamp.offset_min)
            yield row
            yield row._replace(metric="steps", value=steps, unit=None, end=stamp.start + MINUTE)


    READER = Reader("acme", "Acme band: CSV of a minute a line", sniff, read)

What holds for every reader:

* ``sniff`` looks at the *content* of a file's first 64 KiB (``Sample``) and answers why it is of this format, in words
  that go on after "because"; "" if it is not. It knows no other vendor's file; the name may only confirm.
* ``read`` yields ``Row``s (metapulse/record/schema.py) in any order, with the file's own numbers and the file's own
  text of the unit. The store converts to the canonical unit, keeps what the file said in ``raw``, flags what is
  implausible, finds repeats, and sorts. A row without value, code and marks is counted away there.
* A word in place of a number ("Low") becomes the limit, with the mark ``censored_low`` and the word in ``raw``; an
  error becomes value None with ``sensor_error``. What is inferred is marked (``MARKS``), never guessed in silence.
* Rows are counted as the helpers hand them out: ``csv_rows``, ``csv_table``, ``json_items`` of text.py. With ``tags``
  of markup.py, or a loop of its own, the reader calls ``context.seen()`` for each. Every row then either yields
  a ``Row`` with its number in ``row``, before the next is taken, or goes to ``context.skip(reason)``. A reason is a few
  words without the row's own values, so that equal ones are counted together. What costs no row, such as
  one bad cell among ten, is ``context.note(reason)``; ``number_noted`` and ``noted`` of text.py do so for numbers.
* A bad row never loses a good one, and no input raises. Helpers survive broken quotes, torn tails and control
  characters; ``number`` and ``Clock.read`` answer None. A value of JSON can be of any type: ask with ``isinstance``.
* Memory is bounded: iterate, and keep no list that grows with the file.
* Stamps: ``context.clock.read(text)`` for text, ``epoch(number)`` of clock.py for numbers and their texts (µs in UTC).
  Where instants are known, ``context.clock.offset(start)`` is where the person's clock stood in the zone that was
  told. A local time among instants is read by ``context.clock`` too, and marked ``zone_assumed`` by the reader.
* Local times whose offset the file tells, in another column: ``context.wall.read(text)``, less the offset.
* A header whose words are in the account's language: ``by_name`` and ``placed`` of columns.py. Columns are taken by
  order only where their names are not known, and nothing that is known (units, number of columns) contradicts it.
* Other files of the same input: ``context.companion(path)``, then ``tags(context, file)``, ``json_items(file=file)``.
* Test: tests/metapulse/record/test_cases.py runs every case whose format has a reader; ``FORMATS`` there names it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import cached_property
from itertools import islice
from typing import TypeAlias

from metapulse.errors import ConfigError
from metapulse.record.clock import Clock, date_orders
from metapulse.record.containers import File, cause, readable
from metapulse.record.lineage import Lineage
from metapulse.record.readers.encoding import HEAD, encoding
from metapulse.record.readers.header import mended_text
from metapulse.record.schema import Row
from metapulse.record.tally import FileTally

_OPENS = re.compile(r"[ \t]*+[\[{]\s*+[\"{\[]")
_LINE, _BREAKS = re.compile(r"[^\r\n]++"), re.compile(r"[\r\n]++")
OTHER = "?"  # ends the mark of a file whose bytes are others than its zip says
TORN, LONG = 5, 4096  # lines that may stand broken before JSON, and the characters that one of them may have


def _below(text: str) -> int:
    """Where JSON begins below broken lines; −1: it does not."""
    for number, line in enumerate(islice(_LINE.finditer(text), TORN + 1)):
        if number and (opened := _OPENS.match(text, line.start())) and _goes_on(text, opened.end()):
            return line.start()
        if len(line[0]) > LONG:
            break
    return -1


def _goes_on(text: str, at: int) -> bool:
    """Whether what was opened looks like JSON to the end of its line, or on the next one."""
    line = _LINE.match(text, at)
    rest, end = (line[0], line.end()) if line else ("", at)
    after = _BREAKS.match(text, end)
    return (
        len(rest) >= 1000
        or rest.rstrip(" \t")[-1:] in tuple("}],")
        or (after is not None and text[after.end() : after.end() + 1] in tuple(' \t"{[}]'))
    )


@dataclass(frozen=True)
class Sample:
    """The beginning of a file.

    Args:
        bytes: its first 64 KiB.
        name: its name within what was given; may confirm what the content says, never decide it.
    """

    bytes: bytes
    name: str = ""

    @cached_property
    def text(self) -> str:
        """The bytes as text, without a byte order mark, its names of columns whole; never fails."""
        return mended_text(self.bytes.decode(encoding(self.bytes), errors="replace").lstrip("\ufeff"))

    @cached_property
    def json(self) -> str:
        """The text from where JSON begins; "" if it is none. Lines that are broken may stand before it."""
        text = self.text.lstrip()
        begins = 0 if text.startswith(("{", "[")) else _below(text)
        return text[begins:].lstrip(" \t") if begins >= 0 else ""

    @cached_property
    def lines(self) -> list[str]:
        """The text's lines; the last may be cut off."""
        return self.text.splitlines()


@dataclass(frozen=True)
class Options:
    """What a person tells about the inputs.

    Args:
        zone: for local times without an offset; None: not told.
        date_order: "dmy", "mdy" or "ymd" for columns that do not show it themselves; "": not told.
    """

    zone: tzinfo | None = None
    date_order: str = ""

    def __post_init__(self) -> None:
        if self.date_order not in ("", "dmy", "mdy", "ymd"):
            raise ConfigError("date-order", self.date_order, "dmy, mdy or ymd")


@dataclass
class Context:
    """What a reader is given: the file, the clock, the account of its rows.

    Args:
        file: what is to be read.
        options: what the person told.
        tally: the account.
        on_bytes: told how many bytes have been read, for the progress bar.
        taken: files that are read together with another.
        lineage: accounts that the file holds, where it is a record.
    """

    file: File
    options: Options = field(default_factory=Options)
    tally: FileTally = field(default_factory=lambda: FileTally(""))
    on_bytes: Callable[[int], None] = lambda count: None
    taken: set[File] = field(default_factory=set)
    lineage: Lineage | None = None

    def __post_init__(self) -> None:
        self._asked: set[str] = set()
        self._order: str | None = self.options.date_order  # None: found in the file
        told = self.options.date_order
        self._set(told, () if told else ("date_order_assumed",))  # until a column tells

    def account(self) -> None:
        """Put into the account which zone and order of dates the file was read with, if that mattered."""
        self.tally.zones = (str(self.options.zone or ""),) if "zone" in self._asked else ()
        self.tally.orders = (self._order,) if "order" in self._asked and self._order is not None else ()

    def open(self, file: File | None = None) -> io.BufferedReader:
        """The file's bytes from the start. Where they cannot be read further they end, and the account says why."""
        file = file or self.file
        return io.BufferedReader(_Watched(file, self.tally, self.on_bytes), 2**20)

    def is_json(self) -> bool:
        """Whether the file is JSON, for a format that has files of JSON and of CSV."""
        return Sample(self.file.head(HEAD)).json != ""

    def seen(self, rows: int = 1) -> None:
        """So many rows of the file are about to be read; for readers that use no helper."""
        self.tally.seen += rows

    def skip(self, reason: str, rows: int = 1) -> None:
        """The row gives no record, for a reason of a few words."""
        self.tally.skip(reason, rows)

    def note(self, reason: str) -> None:
        """Something to know of that cost no row."""
        self.tally.note(reason)

    def companion(self, path: str) -> File | None:
        """Another file of the same input, by the path that this file calls it; it then counts as read with this one."""
        found = self.file.companion(path)
        if found is not None and found not in self.taken:
            self.taken.add(found)
            self.note("another file was read together with this one")
        return found

    def date_order(self, texts: Iterable[str], usual: str) -> str:
        """Decide day and month from a whole column, and read so from now on.

        Args:
            texts: every stamp of the column. usual: the vendor's usual order, taken with the mark
            ``date_order_assumed`` if neither column nor person tell.
        """
        allowed, told = date_orders(texts), self.options.date_order
        shown = allowed[0] if len(allowed) == 1 else ""
        if usual == "mdy" and allowed == ("dmy", "ymd"):
            usual = "dmy"  # the year stands at the end, as this vendor has it
        if shown and told and shown != told and shown != "ymd":
            self.note(f"the column's dates are {shown}, not {told} as told")
        order = told if shown == "ymd" and told else shown or told or usual  # a year in front is read in any order
        self._order = None if order == shown else told
        marks = () if shown or told else ("date_order_assumed",)
        self._set(order, marks)
        return order

    def _set(self, order: str, marks: tuple[str, ...]) -> None:
        self.clock = Clock(self.options.zone, order, marks, self._asked)
        self.wall = Clock(UTC, order, marks, self._asked)  # for local times whose offset the file tells: as if in UTC


Sniff: TypeAlias = Callable[[Sample], str]
Read: TypeAlias = Callable[[Context], Iterator[Row]]


@dataclass(frozen=True)
class Reader:
    """One vendor's format.

    Args:
        name: short, lower case: "apple", "fitbit".
        title: for people: "Apple Health: export.xml".
        sniff: why a file is of this format, in words; "" if it is not.
        read: the file's rows.
        by_name: whether what rows mean rests on the file's name: equal contents of two names are two files then.
    """

    name: str
    title: str
    sniff: Sniff
    read: Read
    by_name: bool = False


class _Watched(io.RawIOBase):
    """A file that is counted while it is read, and ends where it cannot be read further."""

    def __init__(self, file: File, tally: FileTally, on_bytes: Callable[[int], None]) -> None:
        self._stream, self._tally, self._on_bytes = file.open(), tally, on_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block, error = readable(self._stream, len(buffer))
        if error:
            self._tally.error = f"cannot be read to its end: {cause(error)}"
            if "CRC" in str(error) and not self._tally.mark.endswith(OTHER):
                self._tally.mark += OTHER
        buffer[: len(block)] = block
        self._on_bytes(len(block))
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()
