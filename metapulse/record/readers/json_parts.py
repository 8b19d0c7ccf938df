"""What can be read of a broken item of JSON, and where the next one may begin.

Nothing is guessed. An item that holds a break is given up, but for its lists whose elements stand for themselves, a
time and a value each, as a reader names them: of these the elements are kept that are whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from metapulse.record.readers.json_doubt import is_damaged_name, is_damaged_word

#: A quote opens a string only if what follows its end can follow a string; else it stands alone, as in a torn text.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(?=\s*+[,:\]}])|[{}\[\],:]|[^ \t\r\n{}\[\],:"]++|"', re.DOTALL)
_SCALAR = re.compile(r"null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FIRST = re.compile(r'\{\s*+("[^"\\]{1,200}+")\s*+:')
_NAME_FOLLOWS = re.compile(r"\s*+:")
#: Behind an element: the end, or another one, which is no member.
GOES_ON = re.compile(r'\s*+(?:\]|,\s*+(?:[{\[\w-]|"(?:[^"\\]|\\.)*+"\s*+[,\]]))', re.DOTALL)
_BARE = re.compile(r'[^{}\[\]",:]*+,\s*+([{\[])')  # a word or a number before another element
_LIST_ENDS = re.compile(r'[^{}\[\]]*+\](?=\s*+(?:,\s*+"[^"\\]*+"\s*+:|\}))')  # before a member, or what it is in
_CLOSER = {"{": "}", "[": "]"}
BLANKS = " \t\r\n"  # of JSON; what else languages have for blanks is none
DEEP = 1000  # brackets within each other
BREAKS = 64  # in one item, of which parts are read all the same


class Part(NamedTuple):
    """Where an item ends, its value (None: nothing of it is kept), and how many parts were left out."""

    end: int
    value: Any = None
    parts: int = 0


class _Open:
    """A bracket that is open. ``wants`` is what may follow: a key, a colon, a value, or a separator."""

    __slots__ = ("at", "empty", "first", "key", "kind", "last", "wants")

    def __init__(self, kind: str, at: int, key: str) -> None:
        self.kind, self.at, self.key = kind, at, key  # ``key``: of the member that it is, and then of its own last one
        self.wants = "key" if kind == "{" else "value"
        self.empty = True
        self.last = -1  # where the last element of a list begins
        self.first = ""  # how its elements begin: the first member's name, or a character


def first_name(text: str, at: int) -> str:
    """The name, in its quotes, of the first member of the object here; "" if there is none."""
    found = _FIRST.match(text, at)
    return found[1] if found else ""


def whole_parts(text: str, at: int, series: Container[str], torn: bool) -> Part | int:
    """What is whole of an item that is broken, or the place of its first break if nothing of it may be kept.

    Args:
        text: JSON, or what should be; the item is whole, or the text ends within it.
        at: where the item begins, with a bracket.
        series: names of members that are lists whose elements stand for themselves.
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

    def __init__(self, text: str, at: int, series: Container[str]) -> None:
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
            right = _CLOSER[inner.kind] == token and (inner.wants == "separator" or inner.empty)
            if right:
                self.open.pop()
                if inner.kind == "[" and inner.key in self.series:
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
        return fits and not (is_text and inner.kind == "{" and is_damaged_word(inner.key, token[1:-1]))

    def value_begins(self, inner: _Open, place: int) -> bool:
        """A value begins; False: it is another than the elements before it, in a list that goes on behind a break."""
        inner.wants, inner.empty = "separator", False
        if inner.kind == "{":
            return True
        begins = first_name(self.text, place) or self.text[place] if inner.key in self.series else ""
        inner.first = inner.first or begins
        if begins == inner.first or (self.text[place] == "{" and inner.first[0] == '"'):
            inner.last = place  # else the one before may have ended too early
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
        bare = _BARE.match(self.text, broken) if between else None
        ends = _LIST_ENDS.match(self.text, broken)
        found: tuple[int, bool] | None = None
        if between and ends and array.first[:1] in ('"', "["):
            start = broken
        elif bare and array.first[:1] in ("", '"' if bare[1] == "{" else "["):
            start, found = broken, (bare.end() - 1, True)
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
        if f'"{array.key}"' in self.text[broken:place]:  # another list has begun meanwhile
            return -1
        self._leave_out(start, place, "null," if is_next else "null")
        del self.open[depth + 1 :]
        array.wants, array.last = "value" if is_next else "separator", start
        return place

    def _series_around(self) -> int:
        series = (n for n in reversed(range(len(self.open))) if self.open[n].kind == "[")
        return next((n for n in series if self.open[n].key in self.series), -1)

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
        last = array.last
        if depth + 1 < len(self.open) or broken < len(self.text) or last < 0 or self.text[last] not in "{[":
            self._leave_out(last if last >= 0 else array.at + 1, broken, "null")
        elif array.wants == "value":
            self.edits.append((broken, broken, "null"))
        return self.read(broken, self.closers(depth + 1))._replace(end=len(self.text))

    def closers(self, depth: int) -> str:
        """What closes so many of the brackets that are open, from the outermost on."""
        return "".join(_CLOSER[bracket.kind] for bracket in reversed(self.open[:depth]))

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


def behind_broken(
    text: str, start: int, broken: int, names: Iterable[str], goes_on: re.Pattern[str] = GOES_ON
) -> tuple[int, bool] | None:
    """Where a list goes on behind an element that holds a break, and whether the next element begins there.

    That is behind the element's last bracket, if its brackets fit each other and a sound separator follows; or, where
    that comes first, an object that begins as the others do, or a list behind a list.

    Args:
        text: JSON, or what should be.
        start: where the element begins.
        broken: the place of its break.
        names: of first members, in their quotes, of the list's objects. None: any object behind a comma is the next.
        goes_on: what may follow the element.
    """
    end = _balanced(text, start, broken, goes_on)
    if end is not None and not names:
        return end, False
    pattern = next_pattern(tuple(sorted(names)), lists=text.startswith("[", start))
    before = min(broken, len(text)) - 1
    while before > start and text[before] in BLANKS:
        before -= 1
    lists = text.startswith("[", start)  # a bracket more may stand within the element
    if following := pattern.search(text, broken + 1 if lists else max(start + 1, before), end or len(text)):
        return following.end(), True
    return None if end is None else (end, False)


_PATTERNS: dict[tuple[tuple[str, ...], bool], re.Pattern[str]] = {}


def next_pattern(names: tuple[str, ...], lists: bool = False) -> re.Pattern[str]:
    """What leads to the next element of a list, behind one that is broken; see ``behind_broken``."""
    if (names, lists) not in _PATTERNS:
        if len(_PATTERNS) > 256:
            _PATTERNS.clear()
        known = "|".join(map(re.escape, names))
        if lists:
            pattern = r",\s*+(?=\[)"
        else:
            pattern = rf"(?:,|[}}\]])\s*+(?=\{{\s*+(?:{known})\s*+:)" if names else r",\s*+(?=\{)"
        _PATTERNS[names, lists] = re.compile(pattern)
    return _PATTERNS[names, lists]


def _balanced(text: str, start: int, broken: int, goes_on: re.Pattern[str]) -> int | None:
    """Behind the bracket that closes the element here, if all within fit and the break is before it."""
    open_ones: list[str] = []
    for match in TOKEN.finditer(text, start):
        token = match[0]
        if token in ("{", "["):
            open_ones.append(token)
        elif token in ("}", "]"):
            if not open_ones or _CLOSER[open_ones.pop()] != token:
                return None
            if not open_ones:
                end = match.end()
                return end if end > broken and goes_on.match(text, end) else None
        elif not open_ones:
            return None
    return None
