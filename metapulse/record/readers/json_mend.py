"""Where a broken item of JSON ends, and what of it can be read all the same.

The smallest element of an array that holds the break reads as null. So the element keeps its place among its
neighbours, and an object that lacks a member, such as its unit, is never taken for a whole one.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any, NamedTuple

from metapulse.record.readers.json_doubt import is_damaged_name, is_damaged_word
from metapulse.record.readers.json_resume import (
    BLANKS,
    CLOSER,
    Open,
    begins_anew,
    continues,
    edited,
    element_of,
    first_member,
    is_stray,
    opening,
)

#: A quote opens a string only if what follows its end can follow a string; else it stands alone, as in a torn text.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(?=\s*+[,:\]}])|[{}\[\],:]|[^ \t\r\n{}\[\],:"]++|"', re.DOTALL)
_SCALAR = re.compile(r"null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TIME = re.compile(r"[0-9TZ:.+-]+")  # as a key: one of many alike, as elements of an array are
_ALONE = re.compile(rf"(?:{_SCALAR.pattern})[ \t\r\n]*+")
WIDE = 64  # characters that a number takes at most, with blanks behind it
DEEP = 10_000  # brackets within each other


class Mended(NamedTuple):
    """What was found: where the item ends, its value (None: nothing of it can be read), how many parts are null."""

    end: int
    value: Any = None
    parts: int = 0


def mended(text: str, at: int, end: int, torn: bool = False, listed: bool = False) -> Mended | None:
    """Read a broken object or array as far as it can be.

    Brackets that are missing show themselves: an object ends before another one that stands where a key belongs, a
    list of numbers before an object or list, and the item before an object that begins with the same member as it.
    So do those that are one too many (``json_resume.py``), and one character by itself where no value belongs.

    Args:
        text: JSON, or what should be.
        at: where the item begins, with a bracket.
        end: where it is over at the latest.
        torn: whether the file ends there; of an item that does not, what it holds up to there is read.
        listed: whether it is an item of a list, so that a member behind it shows that it was closed too early.

    Returns:
        None if the end is not before ``end``, or brackets are too deep.
    """
    item = _Item(text, at, listed)
    for match in TOKEN.finditer(text, at, end):
        if (over := item.take(match[0], match.start(), match.end())) is not None:
            return over
        if len(item.open) > DEEP:
            return None
    return item.torn(end) if torn else None


class _Item:
    """State while the tokens of an item go by."""

    def __init__(self, text: str, at: int, listed: bool) -> None:
        self.text, self.at, self.listed = text, at, listed
        self.open: list[Open] = []
        self.edits: list[tuple[int, int, str]] = []  # from, to, what stands there instead
        self.parts = 0  # that are whole
        self.strays = 0  # pieces of text that were left out between others
        self.first = first_member(text, at)
        self.before = (0, 0)  # a place, and what is the last before it that is not blank

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
                inner.element(place)
                inner.uneven = True
            else:
                inner.broken |= inner.wants != "separator"
            inner.wants, inner.comma = "key" if inner.kind == "{" else "value", place
            inner.sound = not inner.broken
        elif token == ":":
            self.colon(inner, place, behind)
        elif inner.kind == "[":
            self.element(inner, token, place, behind)
        elif inner.wants != "value" and is_stray(token):
            self.leave_out(place, behind)
        elif inner.wants == "key":
            inner.broken |= not self.string(token) or is_damaged_name(token)
            inner.wants, inner.key = "colon", token[1:-1]
            inner.moved |= inner.objects
        else:
            good = self.string(token) or _SCALAR.fullmatch(token)
            inner.broken |= inner.wants != "value" or not good or is_damaged_word(inner.key, token[1:-1])
            inner.wants = "separator"
        return None

    def leave_out(self, place: int, behind: int) -> None:
        """A piece of text that belongs to nothing."""
        self.edits.append((place, behind, ""))
        self.strays += 1

    def colon(self, inner: Open, place: int, behind: int) -> None:
        """A colon; in an array it shows that the text before it is the key of a member."""
        if inner.kind == "[" and inner.wants == "separator" and (start := element_of(self.text, behind, inner)) >= 0:
            self.drop(start)
            self.open.append(Open("{", start, part=True))
            inner = self.open[-1]
            inner.broken, inner.wants = True, "colon"
        elif inner.kind == "[" and inner.comma >= 0 and self.open[-2:-1] and inner.key and not inner.flat:
            self.drop(inner.comma)  # the key has been taken for an element
            self.pop(inner.comma, broken=False, closer="]")
            inner = self.open[-1]
            inner.wants = "colon"
        if inner.kind == "[":
            self.element(inner, ":", place, behind)
            return
        inner.broken |= inner.wants != "colon"
        inner.wants = "value"

    def element(self, inner: Open, token: str, place: int, behind: int) -> None:
        """A text, a number or a word in an array."""
        good = self.string(token) or _SCALAR.fullmatch(token) is not None
        if inner.wants == "value":
            inner.element(place, token[1:-1] if token[0] == '"' else "")
            if not good:
                self.edits.append((place, behind, "null"))
            else:
                inner.flat = inner.flat is not False
        elif self.text[inner.last] in "{[":
            self.leave_out(place, behind)
            inner.key = token[1:-1] if good else ""
        else:  # more of what was no value, or another value without a comma before it
            inner.uneven |= (
                good and place - inner.last < WIDE and _ALONE.fullmatch(self.text, inner.last, place) is not None
            )
            self.drop(inner.last)
            self.edits.append((inner.last, behind, "null"))
            inner.key = token[1:-1] if token[0] == '"' else ""
        inner.wants = "separator"

    def string(self, token: str) -> bool:
        return len(token) > 1 and token[0] == '"' == token[-1]

    def solid(self, place: int) -> int:
        """Behind the last character before ``place`` that is not blank."""
        if self.before[0] != place:
            at = place
            while at > self.at and self.text[at - 1] in BLANKS:
                at -= 1
            self.before = (place, at)
        return self.before[1]

    def opened(self, token: str, place: int) -> Mended | None:
        while self.open:
            inner = self.open[-1]
            shown = opening(self.text, place, self.open)
            inner.broken |= inner.kind == "{" and shown in ("stray", "broken")
            if shown == "stray" and inner.kind == "[":
                self.element(inner, token, place, place + 1)
            elif shown == "stray":
                self.leave_out(place, place + 1)
            if shown == "stray":
                return None
            if shown != "torn":
                break
            if not any(outer.kind == "[" for outer in islice(self.open, len(self.open) - 1)):
                return Mended(place)
            self.pop(place, broken=True)
        part = False
        if self.open:
            inner = self.open[-1]
            if token == "{" and inner.kind == "[" and self.first and first_member(self.text, place) == self.first:
                return Mended(place)
            if token == "[" and inner.kind == "[" and begins_anew(self.text, place, inner):
                self.leave_out(place, place + 1)
                return None
            part = inner.kind == "[" or _TIME.fullmatch(inner.key) is not None
            if (
                inner.wants != "value"
                and self.edits
                and self.edits[-1][::2] == (inner.last, "null")
                and (self.edits[-1][1] >= self.solid(place) and self.text[inner.last] not in "{[")
            ):  # what stands before the element
                self.leave_out(*self.edits.pop()[:2])
                inner.last = place
            elif inner.wants != "value":  # a comma is missing
                self.edits.append((place, place, ","))
                inner.element(place)
            else:
                inner.element(place)
            if token == "{" and not inner.begins:
                inner.begins = first_member(self.text, place)
            inner.wants, inner.flat = "separator", False
        self.open.append(Open(token, place, part))
        return None

    def closed(self, token: str, place: int, behind: int) -> Mended | None:
        if (array := continues(self.text, behind, self.open, token, self.listed)) is not None:
            if self.open[-1] is array:
                self.doubt(array, token, place)
                self.leave_out(place, behind)
                array.broken |= array.kind == "{" and (array.moved or self.text[self.solid(place) - 1] not in "}]")
            while self.open[-1] is not array:
                self.pop(behind, broken=True)
            return None
        if not any(CLOSER[o.kind] == token for o in reversed(self.open)):
            return Mended(max(place, self.at + 1))
        while CLOSER[(inner := self.open[-1]).kind] != token:
            whole = inner.kind == "[" and inner.flat is False
            self.pop(self.solid(place), broken=not whole, closer="]")
        inner = self.open[-1]
        self.cut(inner)
        self.pop(behind, broken=token == "}" and inner.wants in ("colon", "value"))
        return None if self.open else self.finished(behind, inner.broken)

    def doubt(self, array: Open, token: str, place: int) -> None:
        """Give up the object before a bracket too many, if the bracket that belongs to it may be an earlier one."""
        start = array.last
        if array.kind == "{" or token == "]" or start < 0:
            return
        if self.text[start] not in "{[" and array.before >= 0:  # a value between, which was a member's
            start = array.before
        if self.text[start] == "{" and (array.moved or start != array.last):
            self.drop(start)
            self.edits.append((start, self.solid(place), "null"))

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
            self.pop(end, broken=inner.wants in ("colon", "value") and inner.kind == "{", closer=CLOSER[inner.kind])
        return self.finished(end, inner.broken)

    def drop(self, place: int) -> None:
        """Forget the edits from a place on."""
        while self.edits and self.edits[-1][0] >= place:
            self.edits.pop()

    def cut(self, inner: Open) -> None:
        """Take away a comma before the bracket's end."""
        if inner.comma >= 0 and inner.wants == ("key" if inner.kind == "{" else "value"):
            self.edits.append((inner.comma, inner.comma + 1, ""))

    def pop(self, end: int, broken: bool, closer: str = "") -> None:
        """Close the innermost bracket; if it is broken, so is what it is a member of, up to an element of an array."""
        inner = self.open.pop()
        inner.broken |= broken
        if inner.part and not inner.broken:
            self.parts += 1
            around = self.open[-1]
            around.sample = around.sample or (inner.at, end)
        if self.open:
            self.open[-1].objects |= inner.kind == "{"
            if inner.kind == "{":
                self.open[-1].moved = inner.moved or (self.open[-1].moved and self.open[-1].kind == "{")
        if closer and not inner.broken:
            self.edits.append((end, end, closer))
        if inner.flat and inner.uneven and not self.open:
            inner.broken = True
        elif inner.flat and inner.uneven and not inner.broken:  # its numbers are at no known place
            self.drop(inner.at)
            self.edits.append((inner.at, self.solid(end), "null"))
        if inner.broken and inner.part:
            self.drop(inner.at)
            self.edits.append((inner.at, self.solid(end), "null"))
        elif inner.broken and self.open:
            self.open[-1].broken = True

    def finished(self, end: int, broken: bool) -> Mended:
        if broken:
            return Mended(end)
        parts = self.strays + sum(instead == "null" for *_, instead in self.edits)
        try:
            return Mended(end, json.loads(edited(self.text, self.at, end, self.edits), strict=False), max(1, parts))
        except (ValueError, RecursionError):
            return Mended(end)
