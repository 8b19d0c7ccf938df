"""Where a list of JSON goes on behind an element that is broken."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A quote opens a string only if what follows its end can follow a string; else it stands alone, as in a torn text.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(?=\s*+[,:\]}])|[{}\[\],:]|[^ \t\r\n{}\[\],:"]++|"', re.DOTALL)
_FIRST = re.compile(r'\{\s*+("[^"\\]{1,200}+")\s*+:')
#: Behind an element: the end, or another one, which is no member.
GOES_ON = re.compile(r'\s*+(?:\]|,\s*+(?:[{\[\w-]|"(?:[^"\\]|\\.)*+"\s*+[,\]]))', re.DOTALL)
#: The first number of a list, or the first member that is a time.
_TIME = re.compile(
    r'\[\s*+(\d++|"[^"\\]*")|\{[^{}\[\]]*?"[^"\\]*(?:[tT]ime|[dD]ate|[sS]econd|GMT)[^"\\]*"\s*+:\s*+(\d++|"[^"\\]*")'
)
CLOSER = {"{": "}", "[": "]"}
BLANKS = " \t\r\n"  # of JSON; what else languages have for blanks is none


def first_name(text: str, at: int) -> str:
    """The name, in its quotes, of the first member of the object here; "" if there is none."""
    found = _FIRST.match(text, at)
    return found[1] if found else ""


def is_later(text: str, before: int, after: int) -> bool:
    """Whether the element here has a later time than another before it, if both say one in the same way."""
    found = _TIME.match(text, before), _TIME.match(text, after)
    first, second = ((match[1] or match[2]) if match else "" for match in found)
    return len(first) != len(second) or first < second or not first


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
            if not open_ones or CLOSER[open_ones.pop()] != token:
                return None
            if not open_ones:
                end = match.end()
                return end if end > broken and goes_on.match(text, end) else None
        elif not open_ones:
            return None
    return None
