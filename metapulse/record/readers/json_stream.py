"""JSON values one after another from a stream of text, whatever is broken between them.

After a broken item reading goes on where its brackets end; the scan for that forgives what is missing.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from metapulse.record.readers.base import Context
from metapulse.record.readers.json_bounds import (
    TooHeavyError,
    after_broken,
    members_within,
    next_object,
    passed,
    weight_of,
)
from metapulse.record.readers.json_doubt import AHEAD, closed_early, decoded, has_lines, written
from metapulse.record.readers.json_mend import Mended, mended

CHUNK = 2**18  # characters read at a time
ITEM = 2**24  # characters of one JSON item
HEAVY = 2**27  # bytes that an item may take in memory, with its text
UNFOLDED = 4  # lists within each other that are read item by item, because they are too long
LINES = 50  # of a file by which it is told whether objects stand a line each
VAIN = 2**21  # characters in which ends of broken items are sought in vain, until the search is a rougher one
LITERAL = 16  # characters: a true or an escape that is cut off is shorter
_SOLID = re.compile(r"[^\s,\x00-\x1f]")
_NEXT = re.compile(r",?\s*+\{")  # a sound item is followed by this, mostly
_VALUE = re.compile(r"[^\s\x00-\x1f]")  # a comma after a colon stands for a value that is missing
#: What may follow a text; another character shows that it was the end of a torn one and the beginning of the next.
_AFTER_TEXT = re.compile(r"\s*(?:[,:\]}\r\n]|\Z)")
_BEGINS = re.compile(r'[{\["0-9tfnNI-]')  # a value
_KEY = re.compile(r'"(?:[^"\\]|\\.)*+"\s*+:', re.DOTALL)
_OPENED = re.compile(r'\{\s*+"([^"\\]{1,60})"\s*+:\s*+\[')
_HOLDERS = (dict, list)
NO_ITEM = object()
CUT = "cut off: its JSON does not come to its end"
LOST = "a part of it is no JSON and could not be read"
TOO_LONG = f"an item of more than {ITEM // 2**20} MiB, or of too many parts"
UNFOLDED_LIST = f"a list of more than {ITEM // 2**20} MiB, whose items were read one by one"


class Scanner:
    """JSON values one after another from a stream of text."""

    def __init__(self, stream: io.TextIOWrapper, context: Context, count: bool, within: Sequence[str] = ()) -> None:
        self.stream, self.context, self.count, self.within = stream, context, count, within
        self.text, self.at, self.begun, self.number, self.ended = "", 0, 0, 0, False  # ``begun``: the last value
        self.held: list[tuple[str, int]] = []  # what has been read and is not in ``text`` now, from a place on
        self.unfolded = 0  # lists that are read item by item because they are too long
        self.vain = 0  # characters in which the end of a broken item was sought and not found
        self.foreign = stream.encoding == "cp1252"  # as no bytes of UTF-8 were found, or damaged ones

    def more(self) -> bool:
        """Read on; False at the end. As much again as there is, so that a long item is not looked at too often."""
        there = len(self.text) - self.at
        wanted = max(CHUNK, min(there, ITEM + CHUNK - there))
        block = self._taken_back(wanted) or ("" if self.ended else self.stream.read(wanted))
        self.ended = not block
        self.text, self.at = self.text[self.at :] + block.replace("\ufeff", ""), 0
        return bool(block)

    def _taken_back(self, wanted: int) -> str:
        if not self.held:
            return ""
        text, at = self.held.pop()
        if at + wanted < len(text):
            self.held.append((text, at + wanted))
        return text[at : at + wanted]

    def _hold(self) -> None:
        """Have little in ``text`` when an item begins, so that a long one is weighed before it is built."""
        if len(self.text) - self.at > 4 * CHUNK:
            self.held.append((self.text, self.at + CHUNK))
            self.text, self.at, self.ended = self.text[self.at : self.at + CHUNK], 0, False

    def blank(self, pattern: re.Pattern[str] = _SOLID) -> str:
        """Skip blanks and commas, or all but the pattern; the character that follows, "" at the end."""
        while True:
            found = pattern.search(self.text, self.at)
            if found:
                self.at = found.start()
                return found[0]
            self.at = len(self.text)
            if not self.more():
                return ""

    def value(self) -> Any:
        """The value here. Raises: ValueError: there is none."""
        self._hold()
        if not _BEGINS.match(self.text, self.at):
            raise ValueError("no JSON")
        weighed, weight = 0, 0
        if self.at > CHUNK:  # an error counts the lines before it, which would be all that has been read
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

    def items(self, closed: bool) -> Iterator[tuple[int, Any]]:
        """The items of an array, or of a stream of objects."""
        while (first := self.blank()) and not (closed and first == "]"):
            if self.count:
                self.context.seen()
            try:
                value = self.value()
                if not _NEXT.match(self.text, self.at) and self._closed_early(value, closed):
                    self.at = self.begun
                    raise ValueError("no JSON")
            except ValueError as error:
                heavy = isinstance(error, TooHeavyError)
                if closed and first == "[" and self.unfolded < UNFOLDED and self._is_long(heavy, lines=False):
                    yield from self._part_by_part()
                    continue
                value = self.broken(lines=not closed, heavy=heavy, listed=True)
                if self._closed_early(value, closed):
                    self.not_read(LOST)
                    value = self._no_item("no JSON")
                if value is NO_ITEM:
                    continue
            if closed and first == "[" and isinstance(value, list) and self._took_the_end(value):
                yield from self._unfolded(value)
                continue
            yield self.number, value
            self.number += 1
        if closed and not first:
            self.not_read(CUT)
        self.at += 1

    def _closed_early(self, value: Any, closed: bool) -> bool:
        """Whether an item has ended too early, by what follows it."""
        more = isinstance(value, dict)
        while more:
            found = _SOLID.search(self.text, self.at)
            if found and (self.ended or len(self.text) - found.start() > AHEAD):
                return closed_early(value, self.text, self.at, not closed)
            length, self.at = self.at - self.begun, self.begun  # which is kept
            more, self.begun, self.at = self.more() or found is not None, 0, length
        return False

    def _took_the_end(self, value: list[Any]) -> bool:
        """Whether a list of numbers and then objects has lost its end: what follows is not in an array any more."""
        mixed = any(isinstance(part, _HOLDERS) for part in value) and not isinstance(value[0], _HOLDERS)
        return mixed and (self.blank() in ("", "}") or _KEY.match(self.text, self.at) is not None)

    def _unfolded(self, value: list[Any]) -> Iterator[tuple[int, Any]]:
        """The items that a list without its end took for its own."""
        self._no_item("no JSON")
        for part in value:
            if isinstance(part, _HOLDERS):
                if self.count:
                    self.context.seen()
                yield self.number, part
                self.number += 1

    def _part_by_part(self) -> Iterator[tuple[int, Any]]:
        """The items of a list that is too long to be one."""
        self._no_item(UNFOLDED_LIST)
        self.at, self.unfolded = self.at + 1, self.unfolded + 1
        yield from self.items(closed=True)
        self.unfolded -= 1

    def broken(self, lines: bool = False, heavy: bool = False, listed: bool = False) -> Any:
        """Go to where the next item may begin; with ``lines`` that may be the next line; ``heavy``: it is too long.

        ``listed``: no member can follow it.

        Returns:
            What can be read of the broken one; where that is nothing it is counted away, and this is ``NO_ITEM``.
        """
        if self._is_long(heavy, lines):
            self._behind_long()
            self.not_read(LOST)
            return self._no_item(TOO_LONG)
        while (found := self._ended(lines, listed)) is None and self.vain < VAIN and self.more():
            pass
        opened = self.text.startswith(("{", "["), self.at)
        if found is None and self.ended and opened:
            found = mended(self.text, self.at, len(self.text), torn=True, listed=listed)
            if found is not None:
                self.not_read(CUT)
        if found is None:
            place = next_object(self.text, self.at)
            self.not_read(CUT if place is None else LOST)
            self.at = len(self.text) if place is None else place
            return self._no_item("torn at the end of the file" if place is None else "no JSON")
        if found.value is None and (parts := members_within(self.text, self.at, found.end, self.within)):
            found = Mended(found.end, parts, 1)
        self.begun, self.at = self.at, found.end
        if found.value is None:
            if opened:
                self.not_read(LOST)
            return self._no_item("no JSON")
        if self.count:
            self.context.tally.note("a part of an item was no JSON, and was left out", found.parts)
        return found.value

    def not_read(self, why: str) -> None:
        """Have the account say that the file was not read, or not to its end."""
        if self.count:
            self.context.tally.error = self.context.tally.error or why

    def _no_item(self, reason: str) -> Any:
        self.number += 1
        if self.count:
            self.context.skip(reason)
        return NO_ITEM

    def _ended(self, lines: bool, listed: bool) -> Mended | None:
        if self.vain >= VAIN:
            return None
        if (found := after_broken(self.text, self.at, lines, listed)) is None:
            self.vain += len(self.text) - self.at
        return found

    def _is_long(self, heavy: bool, lines: bool) -> bool:
        """Whether the item is longer, or would be larger, than may be; and not one that is torn before others."""
        if not heavy and len(self.text) - self.at <= ITEM:
            return False
        return after_broken(self.text[self.at : self.at + VAIN], 0, lines) is None

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

    def opened_items(self, keys: Iterable[str], above: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """``items`` of a stream of objects, and of those that have one of the arrays the items in these."""
        for number, item in self.items(closed=False):
            arrays = [key for key in keys if isinstance(item, dict) and isinstance(item.get(key), list)]
            if not arrays:
                yield number, item
                continue
            above.update((key, value) for key, value in item.items() if key not in arrays)
            above = {}  # those of the first object
            parts = [part for key in arrays for part in item[key]]
            if self.count:
                self.context.seen(len(parts) - 1)
            for part in parts:
                yield self.number, part
                self.number += 1

    def members(self, keys: Iterable[str], above: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """The items of the arrays under ``keys`` in the object here."""
        self.at += 1
        any_array = False
        while (first := self.blank()) and first != "}":
            if first == "{":  # where a key belongs: this object has no end, and the next of several begins
                self.counted_away("no JSON")
                self.not_read(LOST)
                return
            try:
                key = self.value()
                if self.blank() != ":":
                    raise ValueError("no member")
                self.at += 1
                if self.blank(_VALUE) == "[" and (key in keys or "*" in keys):
                    any_array = True
                    if "*" in keys:
                        above[""] = str(key)
                    self.at += 1
                    yield from self.items(closed=True)
                else:
                    try:
                        above[str(key)] = self.value()
                    except ValueError:
                        if (part := self.strange()) is not NO_ITEM:
                            above[str(key)] = part
            except ValueError:
                self.strange()
        if not first:
            self.not_read(CUT)
        self.at += 1
        if not any_array:
            if self.count:
                self.context.seen()
            yield self.number, dict(above)
            self.number += 1

    def begins_with(self, keys: Iterable[str]) -> bool:
        """Whether an object is here whose first member is an array under one of the keys."""
        self.blank()
        opened = _OPENED.match(self.text, self.at)
        return opened is not None and opened[1] in keys

    def wrapped(self, keys: Iterable[str], above: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """``members`` of each object of an array, so that none of them has to be in memory as a whole."""
        while (first := self.blank()) and first != "]":
            if first == "{":
                yield from self.members(keys, above)
            else:
                self.strange()
        if not first:
            self.not_read(CUT)
        self.at += 1

    def strange(self) -> Any:
        """What can be read of what stands where a member or an object belongs and is none; as of ``broken``."""
        value = self.broken()
        if self.count and value is NO_ITEM:
            self.context.seen()
        return value

    def counted_away(self, reason: str) -> None:
        """Count what is given up without a search."""
        if self.count:
            self.context.seen()
            self.context.skip(reason)
