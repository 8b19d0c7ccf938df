"""Documents of JSON that hold the items: objects with arrays of them, one after another or in an array."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from metapulse.record.readers.json_bounds import passed
from metapulse.record.readers.json_doubt import AHEAD, follows
from metapulse.record.readers.json_stream import CUT, LOST, VAIN, VALUE, Scanner

_OPENED = re.compile(r'\{\s*+"([^"\\]{1,60})"\s*+:\s*+\[')
_MEMBER = re.compile(r'[^{}\[\]",:]*+(?=[,}])')  # the rest of one that is broken, a word or a number
_THEN = re.compile(r'\s*+,\s*+\{\s*+"([^"\\]{1,200})"\s*+:')
_CLOSERS = re.compile(r"\s*+[}\]]")
_MEMBERS_END = re.compile(r'\s*+(?:,\s*+"|\})')  # what may follow it


class Documents(Scanner):
    """Items of documents, one after another."""

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

    def members(self, keys: Collection[str], above: dict[str, Any], wrapped: bool = False) -> Iterator[tuple[int, Any]]:
        """The items of the arrays under ``keys`` in the object here; ``wrapped``: it is one of an array.

        Behind a member that is broken only the arrays are read: others may be those of an object within it.
        """
        self.at += 1
        any_array, sound, mine = False, True, dict[str, Any]()
        behind: dict[str, Any] = {}  # members behind a list of which items wait
        own = ""  # name of the first member
        commas: int | None = 0  # before the next member; None: it is not known
        while (first := self.blank()) and first != "}":
            if self.zeroed or (commas is not None and self.commas != commas):  # members were lost
                sound = False
                self.counted_away("no JSON")
                self.not_read(LOST)
            if first == "{":  # where a key belongs: this object has no end, and the next of several begins
                yield from self.released()
                self.counted_away("no JSON")
                self.not_read(LOST)
                self.unwrapped = True
                return
            commas = 1
            try:
                key = self.value()
                own = own or str(key)
                if self.blank() != ":":
                    raise ValueError("no member")
                self.at += 1
                if self.blank(VALUE) == "[" and (key in keys or "*" in keys):
                    any_array = True
                    yield from self.released()
                    above.update(behind)
                    behind = {}
                    if "*" in keys:
                        above[""] = str(key)
                    self.at += 1
                    yield from self.handed_on(closed=True)
                    continue
                value = self.value()
                if sound:
                    behind[str(key)] = mine[str(key)] = value
            except ValueError:
                sound = False
                self.counted_away("no JSON")
                self.not_read(LOST)
                self._to_next_member(keys)
                commas = None
        self.at += 1
        self.begun = self.at
        if not first:
            if sound and not any_array:
                self.counted_away("torn at the end of the file")
            sound = False
            self.not_read(CUT)
        elif not self._is_whole(own, wrapped):
            sound, behind = False, {}
            above.pop("", None)  # what follows is of no list that is known
            self.doubt()
            self.counted_away("no JSON")
            self.not_read(LOST)
        yield from self.released()
        above.update(behind)
        if not any_array and sound:
            if self.count:
                self.context.seen()
            yield self.number, mine
            self.number += 1

    def _is_whole(self, own: str, wrapped: bool) -> bool:
        """Whether what follows the object that ends here may follow it; an item shows that it has ended too early."""
        following = _THEN.match(self.look_ahead(), self.at)
        if following and following[1] != own and (not wrapped or following[1] in self.listed):
            self.unwrapped = True
            return False
        closers = not wrapped and not self.unwrapped and _CLOSERS.match(self.text, self.at)
        return not closers and follows(self.text, self.at, closed=False)

    def _to_next_member(self, keys: Collection[str]) -> None:
        """Behind a member that is broken: at the next, or at the next array under one of the keys."""
        names = r'[^"\\]{1,200}' if "*" in keys else "|".join(map(re.escape, keys))
        array = re.compile(rf'(?:,|\{{)\s*+(?="(?:{names})"\s*+:\s*+\[)')
        bare = _MEMBER.match(self.text, self.at)
        if bare and (not self.ended or bare.end() < len(self.text)):
            self.at = bare.end()
            return
        while (found := self._member_ends(array)) is None:
            if len(self.text) - self.at > VAIN:
                self.at = len(self.text) - AHEAD
            if not self.more():
                self.at = len(self.text)
                return
        self.at = found

    def _member_ends(self, array: re.Pattern[str]) -> int | None:
        if self.text.startswith(("{", "["), self.at):
            end, depth, _ = passed(self.text, self.at, 0, inside=False)
            if depth == 0 and _MEMBERS_END.match(self.text, end):
                return end
        found = array.search(self.text, self.at)
        return found and found.end()

    def begins_with(self, keys: Iterable[str]) -> bool:
        """Whether an object is here whose first member is an array under one of the keys."""
        self.blank()
        opened = _OPENED.match(self.text, self.at)
        return opened is not None and opened[1] in keys

    def wrapped(self, keys: Collection[str], above: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """``members`` of each object of an array, so that none of them has to be in memory as a whole."""
        while (first := self.blank()) and first != "]":
            if first == "{":
                yield from self.members(keys, above, wrapped=True)
            else:
                self.strange()
        if not first:
            self.not_read(CUT)
        self.at += 1

    def strange(self) -> None:
        """Pass what stands where an object belongs and is none."""
        if self.count:
            self.context.seen()
        self.broken(closed=True)
