"""What can be read of a broken item of JSON.

Nothing is guessed. An item that holds a break is given up, but for its lists whose elements stand for themselves, a
time and a value each, as a reader names them: of these the elements are kept that are whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Any, NamedTuple

from metapulse.record.readers.json_doubt import is_damaged_name, is_damaged_word, is_zeroed
from metapulse.record.readers.json_next import BLANKS, CLOSER, TOKEN, behind_broken, first_name, is_later

_SCALAR = re.compile(r"null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NAME_FOLLOWS = re.compile(r"\s*+:")
_FOLLOWING = re.compile(r"[\s,]*+(?=[{\[])")
_WORD = re.compile(r'[^{}\[\]",:]*+,\s*+([{\[])')  # a word or a number before another element
_LIST_ENDS = re.compile(r'[^{}\[\]]*+\](?=\s*+(?:,\s*+"[^"\\]*+"\s*+:|\}))')  # before a member, or what it is in
#: Names, brackets, commas, quotes that stand alone; and whole texts.
_SHAPE = re.compile(r'("(?:[^"\\]|\\.)*+"(?=\s*+:)|[{}\[\],])|("(?:[^"\\]|\\.)*+")(?=\s*+[,\]}])|(")', re.DOTALL)
DEEP = 1000  # brackets within each other
BREAKS = 64  # in one item, of which parts are read all the same


class Part(NamedTuple):
    """Where an item ends, its value (None: nothing of it is kept), and how many parts were left out."""

    end: int
    value: Any = None
    parts: int = 0


class _Open:
    """A bracket that is open. ``wants`` is what may follow: a key, a colon, a value, or a separator."""

    __slots__ = ("at", "before", "empty", "first", "key", "kind", "last", "wants")

    def __init__(self, kind: str, at: int, key: str) -> None:
        self.kind, self.at, self.key = kind, at, key  # ``key``: of the member that it is, and then of its own last one
        self.wants = "key" if kind == "{" else "value"
        self.empty = True
        self.last = -1  # where the last element of a list begins
        self.before = -1  # and the one before it
        self.first = ""  # how its elements begin: the first member's name, or a character


class Series(NamedTuple):
    """Names of members that are lists whose elements stand for themselves, a time and a value each.

    Where they are lists, or do not say by themselves of which day or what they are (``bare``), what follows a break may
    be of another list, whose beginning was lost: there only a value may be broken, and no name or bracket be missing.
    """

    names: Container[str] = ()
    bare: Container[str] = ()


NO_SERIES = Series()


def whole_parts(text: str, at: int, series: Series, torn: bool) -> Part | int:
    """What is whole of an item that is broken, or the place of its first break if nothing of it may be kept.

    Args:
        text: JSON, or what should be; the item is whole, or the text ends within it.
        at: where the item begins, with a bracket.
        series: lists whose elements are kept.
        torn: whether the text ends where the file ends.
    """
    walk = _Walk(text, at, series)
    place = at
    while True:
        broken = walk.until_break(place)
        if isinstance(broken, Part):
            return broken
        place = walk.resumed(broken) if broken < len(text) else -1
        if place < 0:
            return walk.torn(broken) if torn else broken


class _Walk:
    """State while the tokens of an item go by."""

    def __init__(self, text: str, at: int, series: Series) -> None:
        self.text, self.at, self.series = text, at, series
        self.open: list[_Open] = []
        self.edits: list[tuple[int, int, str]] = []  # from, to, what stands there instead
        self.break_at = -1  # the last place from which reading was to go on
        self.closed = (0, "")  # behind the last list whose elements stand for themselves, and what closes all around it

    def until_break(self, place: int) -> Part | int:
        """The item, if it ends before the next break; else the place of that, which is the end if there is none."""
        for match in TOKEN.finditer(self.text, place):
            if not self.take(match[0], match.start(), match.end()):
                return match.start()
            if not self.open:
                return self.read(match.end())
        return len(self.text)

    def take(self, token: str, place: int, behind: int) -> bool:
        """One token more; whether it is right here."""
        inner = self.open[-1] if self.open else None
        if token in ("{", "["):
            deep = len(self.open) > DEEP or (len(self.open) > 2 and self.open[-2].first == "[")  # elements are flat
            if inner is not None and (deep or inner.wants != "value" or not self.value_begins(inner, place)):
                return False
            self.open.append(_Open(token, place, inner.key if inner and inner.kind == "{" else ""))
            return True
        assert inner is not None
        if token in ("}", "]"):
            right = CLOSER[inner.kind] == token and (inner.wants == "separator" or inner.empty)
            if right:
                self.open.pop()
                if inner.kind == "[" and inner.key in self.series.names:
                    self.closed = behind, self.closers(len(self.open))
            return right
        if token == ",":
            right, inner.wants = inner.wants == "separator", "key" if inner.kind == "{" else "value"
            return right
        if token == ":":
            right, inner.wants = inner.wants == "colon", "value"
            return right
        is_text = len(token) > 1 and token[0] == '"'
        if inner.wants == "key":
            inner.wants, inner.key, inner.empty = "colon", token[1:-1], False
            return is_text and not is_damaged_name(token)
        if inner.wants != "value" or not (is_text or _SCALAR.fullmatch(token)):
            return False
        if inner.kind == "[" and _NAME_FOLLOWS.match(self.text, behind):
            return False  # of a member, of which the object has lost its bracket
        fits = self.value_begins(inner, place)
        damaged = is_text and (
            is_zeroed(inner.key, token) or (inner.kind == "{" and is_damaged_word(inner.key, token[1:-1]))
        )
        return fits and not damaged

    def value_begins(self, inner: _Open, place: int) -> bool:
        """A value begins; False: it is another than the elements before it, in a list that goes on behind a break."""
        inner.wants, inner.empty = "separator", False
        if inner.kind == "{":
            return True
        begins = first_name(self.text, place) or self.text[place] if inner.key in self.series.names else ""
        inner.first = inner.first or begins
        if begins == inner.first or (self.text[place] == "{" and inner.first[0] == '"'):
            inner.before, inner.last = inner.last, place  # else the one before may have ended too early
        return begins == inner.first

    def resumed(self, broken: int) -> int:
        """Leave out the element that holds a break, and the one before it if it is between two; where it goes on.

        -1: the break is in no list whose elements stand for themselves, or no sound element follows.
        """
        depth = self._series_around()
        if depth < 0 or len(self.edits) >= BREAKS or broken == self.break_at:  # where it went on to no avail
            return -1
        self.break_at = broken
        array = self.open[depth]
        # A word or a number between two elements, or before the end, is nothing that the one before it has lost.
        between = depth + 1 == len(self.open) and self.text[array.at : broken].rstrip(BLANKS)[-1] in ",["
        word = _WORD.match(self.text, broken) if between else None
        ends = _LIST_ENDS.match(self.text, broken)
        found: tuple[int, bool] | None = None
        if between and ends and array.first[:1] in ('"', "["):
            start = broken
        elif word and array.first[:1] in ("", '"' if word[1] == "{" else "["):
            start, found = broken, (word.end() - 1, True)
        elif array.first[:1] in ('"', "["):
            start, names = array.last, [array.first] if array.first != "[" else []
            found = behind_broken(self.text, start, broken, names)
        else:  # of no element it is known how it begins
            return -1
        if found is None and ends:
            found = ends.end() - 1, False
        if found is None:
            return -1
        place, is_next = found
        if re.search(rf'"{re.escape(array.key)}"\s*+:\s*+\[', self.text[broken:place]):  # another list has begun
            return -1
        bare = array.first == "[" or array.key in self.series.bare
        if bare and (start < broken or self.text[broken] in "{[") and not self._is_like(start, place, array.before):
            return -1
        self._leave_out(start, place, "null," if is_next else "null")
        del self.open[depth + 1 :]
        array.wants, array.last = "value" if is_next else "separator", start
        return place

    def _series_around(self) -> int:
        series = (n for n in reversed(range(len(self.open))) if self.open[n].kind == "[")
        return next((n for n in series if self.open[n].key in self.series.names), -1)

    def _is_like(self, start: int, end: int, before: int) -> bool:
        """Whether what is left out, one element or two, has the names and brackets of the one before, or the next."""
        shape, commas, texts = self._shape(start, end)
        if self.text[end] in "{[" and not self.text[start:end].rstrip(BLANKS).endswith(","):
            return False
        if not shape or shape[-1] not in "}]" or "\0\0\0\0" in self.text[start:end]:
            return False
        if before < 0:
            return shape == self._shape(end, min(end + 2 * (end - start), len(self.text)))[0][: len(shape)]
        sound, between, known = self._shape(before, start)
        following = _FOLLOWING.match(self.text, end)
        if following and not all(is_later(self.text, at, following.end()) for at in (before, start)):
            return False
        return (shape == sound and texts <= known) or (shape == 2 * sound and commas == 2 * between)

    def _shape(self, start: int, end: int) -> tuple[list[str], int, int]:
        """Names, brackets and single quotes here, and the numbers of commas and of texts."""
        found = _SHAPE.findall(self.text, start, end)
        parts = [part for name, _, quote in found if (part := name or quote)]
        return [part for part in parts if part != ","], parts.count(","), sum(bool(text) for _, text, _ in found)

    def _leave_out(self, start: int, end: int, instead: str) -> None:
        while self.edits and self.edits[-1][0] >= start:
            self.edits.pop()
        self.edits.append((start, end, instead))

    def torn(self, broken: int) -> Part | int:
        """The item where the file ends within it: if a list is open whose elements stand for themselves, these."""
        if (depth := self._series_around()) < 0:
            behind, closers = self.closed
            return self.read(behind, closers)._replace(end=len(self.text)) if behind else broken
        array = self.open[depth]
        if array.wants == "value" and depth + 1 == len(self.open) and broken == len(self.text):
            self.edits.append((broken, broken, "null"))
        else:  # also an element of which no comma shows that it ended there
            self._leave_out(array.last if array.last >= 0 else array.at + 1, broken, "null")
        return self.read(broken, self.closers(depth + 1))._replace(end=len(self.text))

    def closers(self, depth: int) -> str:
        """What closes so many of the brackets that are open, from the outermost on."""
        return "".join(CLOSER[bracket.kind] for bracket in reversed(self.open[:depth]))

    def read(self, end: int, closers: str = "") -> Part:
        """The item up to its end, with what stands in the place of its broken parts."""
        pieces, before = list[str](), self.at
        for start, behind, instead in self.edits:
            pieces += [self.text[before:start], instead]
            before = behind
        try:
            value = json.loads("".join([*pieces, self.text[before:end], closers]), strict=False)
        except (ValueError, RecursionError):
            return Part(end)
        return Part(end, value, max(1, len(self.edits)))
