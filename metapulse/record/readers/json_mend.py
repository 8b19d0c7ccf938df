"""Where a broken item of JSON ends, and what of it can be read all the same.

The smallest element of an array that holds the break reads as null. So the element keeps its place among its
neighbours, and an object that lacks a member, such as its unit, is never taken for a whole one.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

#: A quote opens a string only if what follows its end can follow a string; else it stands alone, as in a torn text.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(?=\s*+[,:\]}])|[{}\[\],:]|[^\s{}\[\],:"]++|"', re.DOTALL)
_SCALAR = re.compile(r"null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BEGINNING = re.compile(r'\{\s*+("[^"\\]*+")')
_TIME = re.compile(r"[0-9TZ:.+-]+")  # as a key: one of many alike, as elements of an array are
DEEP = 10_000  # brackets within each other
_CLOSER = {"{": "}", "[": "]"}


class Mended(NamedTuple):
    """What was found: where the item ends, its value (None: nothing of it can be read), how many parts are null."""

    end: int
    value: Any = None
    parts: int = 0


class _Open:
    """A bracket that is open. ``wants`` is what may follow: a key, a colon, a value, or a separator."""

    __slots__ = ("at", "broken", "comma", "flat", "key", "kind", "part", "sound", "wants")

    def __init__(self, kind: str, at: int, part: bool) -> None:
        self.kind, self.at, self.part = kind, at, part
        self.wants = "key" if kind == "{" else "value"
        self.key = ""
        self.comma = -1
        self.sound, self.broken = True, False  # up to the last comma; anywhere
        self.flat: bool | None = None  # whether an array has numbers and texts alone; None: nothing yet


def mended(text: str, at: int, end: int, torn: bool = False) -> Mended | None:
    """Read a broken object or array as far as it can be.

    Brackets that are missing show themselves: an object ends before another one that stands where a key belongs, a
    list of numbers before an object or list, and the item before an object that begins with the same member as it.

    Args:
        text: JSON, or what should be.
        at: where the item begins, with a bracket.
        end: where it is over at the latest.
        torn: whether the file ends there; of an item that does not, what it holds up to there is read.

    Returns:
        None if the end is not before ``end``, or brackets are too deep.
    """
    item = _Item(text, at)
    for match in TOKEN.finditer(text, at, end):
        if (over := item.take(match[0], match.start(), match.end())) is not None:
            return over
        if len(item.open) > DEEP:
            return None
    return item.torn(end) if torn else None


class _Item:
    """State while the tokens of an item go by."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at
        self.open: list[_Open] = []
        self.edits: list[tuple[int, int, str]] = []  # from, to, what stands there instead
        self.parts = 0  # that are whole
        found = _BEGINNING.match(text, at)
        self.first = found and found[1]

    def take(self, token: str, place: int, behind: int) -> Mended | None:
        """One token more; the item if that was its end."""
        if token in ("{", "["):
            return self.opened(token, place)
        if token in ("}", "]"):
            return self.closed(token, place, behind)
        inner = self.open[-1]
        if token == ",":
            if inner.wants == "value" and inner.kind == "[":
                self.edits.append((place, place, "null"))
            else:
                inner.broken |= inner.wants != "separator"
            inner.wants, inner.comma = "key" if inner.kind == "{" else "value", place
            inner.sound = not inner.broken
        elif token == ":":
            if inner.kind == "[" and inner.comma >= 0 and self.open[-2:-1] and not inner.flat:
                self.drop(inner.comma)  # the key has been taken for an element
                self.pop(inner.comma, broken=False, closer="]")
                inner = self.open[-1]
                inner.wants = "colon"
            inner.broken |= inner.wants != "colon"
            inner.wants = "value"
        elif inner.wants == "key":
            inner.broken |= not self.string(token)
            inner.wants, inner.key = "colon", token[1:-1]
        else:
            self.scalar(inner, token, place, behind)
        return None

    def scalar(self, inner: _Open, token: str, place: int, behind: int) -> None:
        """A text, a number or a word where a value belongs."""
        good = self.string(token) or _SCALAR.fullmatch(token) is not None
        if inner.kind == "[" and inner.wants == "value" and not good:
            self.edits.append((place, behind, "null"))
        elif inner.wants != "value" and inner.kind == "[" and self.edits and self.edits[-1][1] >= self.solid(place):
            self.edits[-1] = (self.edits[-1][0], behind, "null")  # more of what was no value
        else:
            inner.broken |= not good or inner.wants != "value"
        if good:
            inner.flat = inner.flat is not False
        inner.wants = "separator"

    def string(self, token: str) -> bool:
        return len(token) > 1 and token[0] == '"' == token[-1]

    def solid(self, place: int) -> int:
        """Behind the last character before ``place`` that is not blank."""
        while place > self.at and self.text[place - 1].isspace():
            place -= 1
        return place

    def opened(self, token: str, place: int) -> Mended | None:
        while self.open:
            inner = self.open[-1]
            torn = inner.flat if inner.kind == "[" else inner.wants != "value"
            if not torn:
                break
            if not any(outer.kind == "[" for outer in self.open[:-1]):
                return Mended(place)
            self.pop(place, broken=True)
        if self.open:
            inner = self.open[-1]
            if token == "{" and inner.kind == "[" and self.first:
                found = _BEGINNING.match(self.text, place)
                if found and found[1] == self.first:
                    return Mended(place)
            if inner.wants != "value":  # a comma is missing
                self.edits.append((place, place, ","))
            inner.wants, inner.flat = "separator", False
            part = inner.kind == "[" or _TIME.fullmatch(inner.key) is not None
        else:
            part = False
        self.open.append(_Open(token, place, part))
        return None

    def closed(self, token: str, place: int, behind: int) -> Mended | None:
        if not any(_CLOSER[o.kind] == token for o in self.open):
            return Mended(max(place, self.at + 1))
        while _CLOSER[(inner := self.open[-1]).kind] != token:
            whole = inner.kind == "[" and inner.flat is False
            self.pop(self.solid(place), broken=not whole, closer="]")
        inner = self.open[-1]
        self.cut(inner)
        self.pop(behind, broken=token == "}" and inner.wants in ("colon", "value"))
        return None if self.open else self.finished(behind, inner.broken)

    def torn(self, end: int) -> Mended | None:
        """The item where the file ends within it, if it holds parts that are whole."""
        if not self.parts:
            return None
        end_is_whole = self.text[self.solid(end) - 1] in "}]"
        while any(inner.part for inner in self.open):
            inner = self.open[-1]
            if inner.kind == "[" and not inner.part and inner.flat is False:
                break
            self.pop(end, broken=True)
            end_is_whole = True
        inner = self.open[-1]
        if not end_is_whole:  # without its last member, which may be cut off
            last = inner.comma if inner.comma >= 0 else inner.at + 1
            self.drop(last)
            self.edits.append((last, end, ""))
            inner.wants, inner.comma, inner.broken = "separator", -1, not inner.sound
        while self.open:
            inner = self.open[-1]
            self.cut(inner)
            self.pop(end, broken=inner.wants in ("colon", "value") and inner.kind == "{", closer=_CLOSER[inner.kind])
        return self.finished(end, inner.broken)

    def drop(self, place: int) -> None:
        """Forget the edits from a place on."""
        while self.edits and self.edits[-1][0] >= place:
            self.edits.pop()

    def cut(self, inner: _Open) -> None:
        """Take away a comma before the bracket's end."""
        if inner.comma >= 0 and inner.wants == ("key" if inner.kind == "{" else "value"):
            self.edits.append((inner.comma, inner.comma + 1, ""))

    def pop(self, end: int, broken: bool, closer: str = "") -> None:
        """Close the innermost bracket; if it is broken, so is what it is a member of, up to an element of an array."""
        inner = self.open.pop()
        inner.broken |= broken
        self.parts += inner.part and not inner.broken
        if closer and not inner.broken:
            self.edits.append((end, end, closer))
        if inner.broken and inner.part:
            self.drop(inner.at)
            self.edits.append((inner.at, self.solid(end), "null"))
        elif inner.broken and self.open:
            self.open[-1].broken = True

    def finished(self, end: int, broken: bool) -> Mended:
        if broken:
            return Mended(end)
        pieces, before = list[str](), self.at
        for start, behind, instead in self.edits:
            pieces += [self.text[before:start], instead]
            before = behind
        whole = "".join([*pieces, self.text[before:end]])
        try:
            return Mended(
                end, json.loads(whole, strict=False), max(1, sum(instead == "null" for *_, instead in self.edits))
            )
        except (ValueError, RecursionError):
            return Mended(end)
