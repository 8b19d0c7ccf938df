"""Where broken items of JSON end, and how much memory items take: told from their text, before they are built."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from metapulse.record.readers.json_doubt import decoded
from metapulse.record.readers.json_next import GOES_ON, behind_broken, first_name
from metapulse.record.readers.json_parts import Part, Series, whole_parts

_NEXT_LINE = re.compile(r"[\r\n](?=[{\[])")
_BARE = re.compile(r'[^{}\[\]",:\r\n]*+(?=[,\]\r\n])')  # a word or a number, or nothing
_ANYTHING = re.compile("")
_BOUND = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class TooHeavyError(ValueError):
    """An item that would take too much memory."""


def weight_of(text: str, at: int) -> int:
    """About the bytes that the values take whose JSON begins at a place, as Python keeps them.

    An object and a list take 64 bytes and 56 when they are empty, more than 100 as soon as there is something in them;
    a number 32 and a place in what it is in, a text 56 beside its characters.
    """
    objects, lists = text.count("{", at), text.count("[", at)
    members, parts, texts = text.count(":", at), text.count(",", at), text.count('"', at) // 2
    return 64 * objects + 56 * lists + 120 * min(objects, members) + 32 * min(lists, parts) + 40 * parts + 60 * texts


def behind_item(text: str, at: int, broken: int, names: Collection[str], closed: bool) -> int | None:
    """Where the next item may begin behind one that is broken; None if that is not within the text.

    Args:
        text: JSON, or what should be.
        at: where the broken item begins.
        broken: the place of its break.
        names: as of ``behind_broken``.
        closed: whether it is an item of a list, which has an end of its own; others may stand a line each, so that a
            line that begins with a bracket is another.
    """
    line = None if closed else _NEXT_LINE.search(text, at + 1)
    if line:
        text, before = text[at : line.end()], at
        at, broken = 0, broken - before
    else:
        before = 0
    if not text.startswith(("{", "["), at) and (bare := _BARE.match(text, at)):
        return before + max(bare.end(), at + 1)
    if broken >= len(text):  # it has no end: one that begins as it does may have begun within it
        broken, names = at + 1, {name for name in [first_name(text, at)] if name} or names
    found = behind_broken(text, at, broken, names, GOES_ON if closed else _ANYTHING)
    return before + found[0] if found else before + len(text) if line else None


def passed(text: str, at: int, depth: int, inside: bool) -> tuple[int, int, bool]:
    """(where it goes on, open brackets, whether within a string) behind an item, or at the end of the text."""
    end = len(text)
    for match in _BOUND.finditer(text, at):
        token = match[0]
        if token == '"':
            inside = not inside
        elif token[0] == "\\":
            end = match.start() if len(token) == 1 else end  # what it escapes has not been read yet
        elif not inside:
            depth += 1 if token in "{[" else -1
            if depth <= 0:
                return match.end(), 0, inside
    return end, max(depth, 1), inside


def members_within(text: str, at: int, end: int, names: Iterable[str], series: Series) -> dict[str, Any]:
    """Those members of a broken object that hold an object or an array, as far as they can be read.

    Args:
        text: JSON, or what should be.
        at: where the object begins.
        end: where it ends.
        names: of members.
        series: as of ``whole_parts``.
    """
    found: dict[str, Any] = {}
    for name in names:
        begun = re.compile(rf'[{{,]\s*+"{re.escape(name)}"\s*+:\s*+(?=[{{\[])').search(text, at, end)
        if begun is None:
            continue
        try:
            found[name], _ = decoded(text, begun.end(), foreign=True)
        except (ValueError, RecursionError):
            part = whole_parts(text[:end], begun.end(), series, torn=True)
            if isinstance(part, Part) and part.value is not None:
                found[name] = part.value
    return found
