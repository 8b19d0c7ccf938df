"""Where broken items of JSON end, and how much memory items take: told from their text, before they are built."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from metapulse.record.readers.json_doubt import decoded
from metapulse.record.readers.json_mend import TOKEN, Mended, mended

#: A list of numbers or texts that goes on with an object or a list: it has lost its end.
_TORN_LIST = re.compile(r'\[(?:\s*+(?:"(?:[^"\\]|\\.)*+"|[-+.\w]++)\s*+(?:,|(?=[{\[])))++\s*+(?=[{\[])', re.DOTALL)
_NEXT_LINE = re.compile(r"[\r\n](?=[{\[])")
_NEXT_OBJECT = re.compile(r"[}\]]\s*+,?\s*+(?=\{)")
_BOUND = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
NEAR = 256  # characters
_OPENER = {"}": "{", "]": "["}


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


def after_broken(text: str, at: int, lines: bool, listed: bool = False) -> Mended | None:
    """Where the next item may begin, and what can be read of the broken one; None if that is not within the text.

    A missing bracket shows itself: an object that has another one where a key belongs has ended before it, and a
    bracket that closes nothing of the item belongs to what is around it.

    Args:
        text: JSON, or what should be.
        at: where the broken item begins.
        lines: whether items may stand a line each, so that a line that begins with a bracket is another item.
        listed: as of ``mended``.
    """
    if not text.startswith(("{", "["), at):  # most often the end is near: many of these are passed without a long look
        line = _NEXT_LINE.search(text, at + 1, at + 2 * NEAR) if lines else None
        place = _behind(text, at, line.end() if line else at + 2 * NEAR)
        if place is not None and place < at + NEAR:
            return Mended(place)
    line = _NEXT_LINE.search(text, at + 1) if lines else None
    end = line.end() if line else len(text)
    if torn := _TORN_LIST.match(text, at, end):
        return Mended(torn.end())
    found = mended(text, at, end, listed=listed) if text.startswith(("{", "["), at) else None
    if found is not None:
        return found
    place = _behind(text, at, end)
    return Mended(end) if place is None and line else None if place is None else Mended(place)


def next_object(text: str, at: int) -> int | None:
    """The first object behind another's end, whatever it belongs to: where ``after_broken`` finds nothing."""
    found = _NEXT_OBJECT.search(text, at)
    return found and found.end()


def _behind(text: str, at: int, end: int) -> int | None:
    """The place behind the item, by its brackets."""
    open_ones: list[str] = []
    before = ""
    for match in TOKEN.finditer(text, at, end):
        token, place = match[0], match.start()
        if token in ("{", "["):
            if place > at and token == "{" and before != ":" and open_ones[-1:] != ["["]:
                return place
            open_ones.append(token)
        elif token in ("}", "]"):
            if _OPENER[token] not in open_ones:
                return max(place, at + 1)
            while open_ones.pop() != _OPENER[token]:
                pass
            if not open_ones:
                return match.end()
        elif token == "," and not open_ones:
            return max(place, at + 1)
        before = token
    return None


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


def members_within(text: str, at: int, end: int, names: Sequence[str]) -> dict[str, Any]:
    """Those members of a broken object that hold an object or an array, as far as they can be read.

    Args:
        text: JSON, or what should be.
        at: where the object begins.
        end: where it ends.
        names: of members.
    """
    found: dict[str, Any] = {}
    for name in names:
        begun = re.compile(rf'[{{,]\s*+"{re.escape(name)}"\s*+:\s*+(?=[{{\[])').search(text, at, end)
        if begun is None:
            continue
        try:
            found[name], _ = decoded(text, begun.end(), foreign=True)
        except (ValueError, RecursionError):
            part = mended(text, begun.end(), end)
            if part is not None and part.value is not None:
                found[name] = part.value
    return found
