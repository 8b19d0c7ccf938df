"""JSON values one after another from a stream of text, whatever is broken between them.

After a broken item reading goes on where its brackets end; the scan for that forgives what is missing.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from metapulse.record.readers.base import Context
from metapulse.record.readers.json_bounds import TooHeavyError, behind_item, members_within, passed, weight_of
from metapulse.record.readers.json_doubt import AHEAD, decoded, ends, follows, has_lines, written
from metapulse.record.readers.json_next import first_name, next_pattern
from metapulse.record.readers.json_parts import NO_SERIES, Part, Series, whole_parts
from metapulse.record.readers.json_text import CHUNK, ITEM, Text

HEAVY = 2**27  # bytes that an item may take in memory, with its text
UNFOLDED = 4  # lists within each other that are read item by item, because they are too long
LINES = 50  # of a file by which it is told whether objects stand a line each
VAIN = 2**21  # characters in which ends of broken items are sought in vain, until the search is a rougher one
LITERAL = 16  # characters: a true or an escape that is cut off is shorter
_NEXT = re.compile(r",?\s*+\{")  # a sound item is followed by this, mostly
_NEXT_LINE = re.compile(r",?\r?\n|\{")
_JOINED = re.compile(r"[^\S\r\n]*+,[^\S\r\n]*+[{\[]")  # as elements of a list are, and lines are not
VALUE = re.compile(r"[^\s\x00-\x1f]")  # a comma after a colon stands for a value that is missing
#: What may follow a text; another character shows that it was the end of a torn one and the beginning of the next.
_AFTER_TEXT = re.compile(r"\s*(?:[,:\]}\r\n]|\Z)")
_BEGINS = re.compile(r'[{\["0-9tfnNI-]')  # a value
NAMES = 16  # of first members of the objects of a list
TEXT = 2**16  # characters behind a break in which a text may end
SHAPES = 64  # of objects of a list
DOUBTED = 2**20  # characters in which items wait for what shows whether they are items
NO_ITEM = object()
CUT = "cut off: its JSON does not come to its end"
LOST = "a part of it is no JSON and could not be read"
TOO_LONG = f"an item of more than {ITEM // 2**20} MiB, or of too many parts"
UNFOLDED_LIST = f"a list of more than {ITEM // 2**20} MiB, whose items were read one by one"


class Scanner(Text):
    """JSON values one after another from a stream of text."""

    lines = False  # whether the items are objects that stand a line each
    unwrapped = False  # whether an object around the items has lost its end: what follows may be items, and that end

    def __init__(
        self,
        stream: io.TextIOWrapper,
        context: Context,
        count: bool,
        within: Sequence[str] = (),
        series: Series = NO_SERIES,
    ) -> None:
        super().__init__(stream)
        self.context, self.count, self.within, self.series = context, count, within, series
        self.number = 0  # of the next item
        self.unfolded = 0  # lists that are read item by item because they are too long
        self.vain = 0  # characters in which the end of a broken item was sought and not found
        self.names: set[str] = set()  # of the first members of the objects of the list that is being read
        self.listed: set[str] = set()  # and of the one that was read before
        self.foreign = stream.encoding == "cp1252"  # as no bytes of UTF-8 were found, or damaged ones
        self.waiting: list[tuple[int, Any]] = []  # the last item, and those behind which a bracket too many may follow

    def on_zeros(self) -> None:
        """Items may have been there."""
        self.not_read(LOST)

    def value(self) -> Any:
        """The value here. Raises: ValueError: there is none."""
        self.hold()
        if not _BEGINS.match(self.text, self.at):
            raise ValueError("no JSON")
        weighed, weight = 0, 0
        if self.at > CHUNK:  # an error counts the lines before it, which would be all that has been read
            self.before += self.at
            self.text, self.at = self.text[self.at :], 0
        while True:
            try:
                value, end = decoded(self.text, self.at, self.foreign)
            except (ValueError, RecursionError) as error:
                if self._hopeless(error) or len(self.text) - self.at > ITEM or not self.more():
                    raise ValueError("no JSON") from error
                if len(self.text) > 2 * CHUNK:
                    weighed, weight = len(self.text), weight + weight_of(self.text, weighed)
                    if weight + sys.getsizeof(self.text) > HEAVY:
                        raise TooHeavyError("no JSON") from error
                continue
            if end == len(self.text) and not isinstance(value, (dict, list, str)) and self.more():
                continue  # a number may go on
            if isinstance(value, str) and not _AFTER_TEXT.match(self.text, end):
                raise ValueError("no JSON")  # the end of a torn text and the beginning of the next
            half = self.text.find("\\ud", self.at, end) >= 0 or self.text.find("\\uD", self.at, end) >= 0
            self.begun, self.at = self.at, end
            return written(value) if half else value

    def _hopeless(self, error: Exception) -> bool:
        """Whether it is an error whatever follows: neither at the end of what has been read, nor in a string."""
        if not isinstance(error, json.JSONDecodeError):
            return True  # too deep, or a number of too many digits
        return not error.msg.startswith("Unterminated") and error.pos < len(self.text) - LITERAL

    def items(self, closed: bool, alone: bool = False) -> Iterator[tuple[int, Any]]:
        """The items of an array, or of a stream of objects; ``alone``: the array is no member of an object."""
        yield from self.handed_on(closed, alone)
        yield from self.released()

    def released(self) -> Iterator[tuple[int, Any]]:
        """Those that wait."""
        waiting, self.waiting = self.waiting, []
        yield from waiting

    def handed_on(self, closed: bool, alone: bool = False) -> Iterator[tuple[int, Any]]:
        """``items``, but for those that wait at the end.

        Where a list within an item has lost its beginning, the item ends with the first element of that list, and the
        others seem to be items. So an item waits for the next. If the members of that are none that an item has had, it
        waits, too, and so do those behind it, until the list goes on as before, or has ended well.
        """
        around, self.names = self.names, set()
        shapes, sure, since = set[tuple[str, ...]](), set[tuple[str, ...]](), 0
        last: tuple[str, ...] | None = None
        for item in self._items(closed, alone):
            names = tuple(item[1]) if isinstance(item[1], dict) else ()
            if names == last and len(self.waiting) == 1:  # as nearly always
                yield from self.waiting
                self.waiting = [item]
                continue
            last, is_new = names, names not in shapes and len(shapes) < SHAPES
            if is_new and len(self.waiting) == 1:
                sure, since = set(shapes), self.before + self.begun
            elif len(self.waiting) < 2 or names in sure or self.before + self.at - since > DOUBTED:
                yield from self.waiting
                self.waiting = []
            if is_new:
                shapes.add(names)
                self.names = {*self.names, *names[:1]} if len(self.names) < NAMES else self.names
            self.waiting.append(item)
        if closed and self.text[self.at - 1 : self.at] == "]":
            self.begun = self.at
            if not ends(self.look_ahead(), self.at, alone):
                self.doubt()
        self.names, self.listed = around, self.names

    def doubt(self, least: int = 1) -> None:
        """Count those away that wait, if they are so many: there is a bracket too many behind them."""
        if len(self.waiting) >= least:
            for _ in self.waiting if self.count else ():
                self.context.skip("no JSON")
            self.waiting = []
            self.not_read(LOST)

    def _items(self, closed: bool, alone: bool) -> Iterator[tuple[int, Any]]:
        any_item = False
        while (first := self.blank()) and not (closed and first == "]"):
            if self.commas > 1 or (closed and self.commas < any_item):
                self.not_read(LOST)
            any_item = True
            if first in "}]" and not (self.unwrapped or self.lines):
                self.doubt(2 if closed else 1)
            if self.count:
                self.context.seen()
            long_list = closed and first == "[" and self.unfolded < UNFOLDED
            try:
                value = self.value()
            except ValueError as error:
                heavy = isinstance(error, TooHeavyError)
                if long_list and self._is_long(heavy, closed):
                    yield from self._part_by_part()
                    continue
                value = self.broken(closed, heavy)
            if value is not NO_ITEM and not (_NEXT_LINE if self.lines else _NEXT).match(self.text, self.at):
                value = self._if_well_followed(value, closed, alone)
            if value is not NO_ITEM:
                yield self.number, value
                self.number += 1
        if closed and not first:
            self.not_read(CUT)
        self.at += 1

    def _if_well_followed(self, value: Any, closed: bool, alone: bool) -> Any:
        """An item, if what follows it may follow it; if not, it has ended too early, and is counted away."""
        joined = self.lines and _JOINED.match(self.look_ahead(), self.at)
        if not joined and follows(self.look_ahead(), self.at, closed or self.unwrapped, alone):
            return value
        self.doubt(2)
        length, self.at = self.at - self.begun, self.begun
        return self.broken(closed, early=length)

    def _part_by_part(self) -> Iterator[tuple[int, Any]]:
        """The items of a list that is too long to be one."""
        self._no_item(UNFOLDED_LIST)
        self.at, self.unfolded = self.at + 1, self.unfolded + 1
        yield from self._items(closed=True, alone=False)
        self.unfolded -= 1

    def broken(self, closed: bool, heavy: bool = False, early: int = 0) -> Any:
        """Go to where the item behind the broken one here may begin.

        Args:
            closed: whether it is one of a list, which has an end of its own.
            heavy: whether it is too long.
            early: so long it is by its brackets, which have closed it too early.

        Returns:
            What can be read of the broken one; where that is nothing it is counted away, and this is ``NO_ITEM``.
        """
        if self._is_long(heavy, closed):
            self._behind_long()
            self.not_read(LOST)
            return self._no_item(TOO_LONG)
        while isinstance(found := self._read_or_passed(closed, early), bool):
            if found:
                continue
            self.not_read(CUT if self.ended else LOST)
            torn = self.ended
            self._to_next()
            return self._no_item("torn at the end of the file" if torn else "no JSON")
        if isinstance(found, int):
            within = members_within(self.text, self.at, found, self.within, self.series) if self.within else {}
            found = Part(found, within or None, 1)
        opened = self.text.startswith(("{", "["), self.at)
        self.begun, self.at = self.at, found.end
        if found.value is None:
            if opened or not closed:
                self.not_read(LOST)
            return self._no_item("no JSON")
        if self.ended and found.end == len(self.text):
            self.not_read(CUT)
        if self.count:
            self.context.tally.note("a part of an item was no JSON, and was left out", found.parts)
        return found.value

    def _read_or_passed(self, closed: bool, early: int) -> Part | int | bool:
        """What is whole of the broken item here, or where the next may begin; True: look again, as more was read."""
        place = self.at + early
        if not early and self.text.startswith(("{", "["), self.at):
            found = whole_parts(self.text, self.at, self.series, torn=False)
            if isinstance(found, Part):
                return found
            if not self.ended and len(self.text) - found < TEXT:
                self.more()
                return True
            place = found
        end = behind_item(self.text, self.at, place, self._names_of(self.text, self.at), closed)
        if end is not None:
            return end
        if self.ended and place > self.at and not early:
            found = whole_parts(self.text, self.at, self.series, torn=True)
            if isinstance(found, Part):
                return found
        self.vain += len(self.text) - self.at
        return self.vain < VAIN and (self.more() or not self.ended)

    def _to_next(self) -> None:
        """Go to the next object that begins as those before it do, without keeping what is between."""
        pattern = next_pattern(tuple(sorted(self._names_of(self.text, self.at))))
        self.at = min(self.at + 1, len(self.text))
        while (found := pattern.search(self.text, self.at)) is None:
            self.at = max(self.at, len(self.text) - AHEAD)
            if not self.more():
                self.at = len(self.text)
                return
        self.at = found.end()

    def not_read(self, why: str) -> None:
        """Have the account say that the file was not read, or not to its end."""
        if self.count:
            self.context.tally.error = self.context.tally.error or why

    def _no_item(self, reason: str) -> Any:
        self.number += 1
        if self.count:
            self.context.skip(reason)
        return NO_ITEM

    def _is_long(self, heavy: bool, closed: bool) -> bool:
        """Whether the item is longer, or would be larger, than may be; and not one that is torn before others."""
        if not heavy and len(self.text) - self.at <= ITEM:
            return False
        head = self.text[self.at : self.at + VAIN]
        place = whole_parts(head, 0, NO_SERIES, torn=False) if head.startswith(("{", "[")) else 0
        return isinstance(place, Part) or behind_item(head, 0, place, self._names_of(head, 0), closed) is None

    def _names_of(self, text: str, at: int) -> set[str]:
        """Of first members of the list's objects, and of the broken one here, in their quotes."""
        known = {json.dumps(name, ensure_ascii=False) for name in self.names}
        return known | {name for name in [first_name(text, at)] if name}

    def _behind_long(self) -> None:
        """Go behind an item by its brackets, without keeping it."""
        depth, inside = 0, False
        while True:
            self.at, depth, inside = passed(self.text, self.at, depth, inside)
            if depth <= 0:
                return
            if not self.more():
                self.at = len(self.text)
                return

    def in_lines(self) -> bool:
        """Whether objects stand a line each: of the lines that have been read whole, one is an object and ends so.

        So one that is torn, the first too, ends with its line.
        """
        lines = self.text[self.at :].split("\n", LINES)
        return has_lines(lines if len(self.text) < CHUNK else lines[:-1])

    def counted_away(self, reason: str) -> None:
        """Count what is given up without a search."""
        if self.count:
            self.context.seen()
            self.context.skip(reason)
