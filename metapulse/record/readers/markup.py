"""XML as people have it: a broken DTD, control characters, a torn tail, an element whose quotes do not match.

Not a parser: start and end tags are taken one after another, and everything else is passed over, with what stands in a
comment, a CDATA section or a processing instruction; so nothing is declared, no entity is expanded beyond the five of
XML and character numbers, and a broken tag costs that tag.

An export has millions of tags and a few dozen shapes of them: what stands outside the quotes is parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from typing import NamedTuple

from metapulse.record.containers import File
from metapulse.record.readers.base import Context
from metapulse.record.readers.text import text_stream

CHUNK = 2**18  # characters read at a time
REMEMBERED = 1024  # characters of a text that is kept in case it comes again
TAG = 2**20  # characters of one tag, or of what lies between two
SHAPES, SHAPED = 512, 4096  # shapes of tags that are kept, and the characters that a tag of a kept shape may have
#: What holds no tags, whatever it looks like: how it begins and ends. One that is not closed ends where it began.
PASSED = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_PASSED = r"!--(?:(?:(?!<!--).)*?-->)?|!\[CDATA\[(?:(?:(?!<!\[CDATA\[).)*?\]\]>)?|\?(?:(?:(?!<\?).)*?\?>)?"
_COVER = re.compile(f"<(?:{_PASSED})", re.DOTALL)
_TAG = re.compile(
    r"""<(?:(/?)([^\W\d][\w.:-]*+)((?:\s++[\w.:-]++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'))*+)\s*+(/?)>"""
    rf"""|{_PASSED}|[\w/][^<]*+)([^<]*+)""",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([\w.:-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
_PLAIN = re.compile(r'([\w.:-]++)="([^"]*+)"')
_NAME = re.compile(r"([\w.:-]++)\s*+=")


class Tag(NamedTuple):
    """A start or end tag.

    Args:
        name: of the element, with its prefix.
        attributes: by name.
        opens: a start tag, also of an element without content.
        closes: an end tag, or an element without content.
        text: what follows up to the next tag.
    """

    name: str
    attributes: dict[str, str]
    opens: bool
    closes: bool
    text: str


def tags(context: Context, file: File | None = None) -> Iterator[Tag]:
    """Every tag of a file in its order; a broken one is counted as a row without a record."""
    with text_stream(context, file) as stream:
        rest = ""
        while block := stream.read(CHUNK):
            text = rest + block
            places = (_unclosed(text), text.rfind("<"))
            cut = next((place for place in places if place >= 0 and len(text) - place <= TAG), len(text))
            rest = text[cut:]
            yield from _tags(context, text[:cut])
        yield from _tags(context, rest, last=True)


def _unclosed(text: str) -> int:
    """Where the first of what is passed over begins that may end in the file's next piece; −1: nowhere."""
    if "<!" not in text and "<?" not in text:
        return -1
    opened: dict[str, int] = {}
    for match in _COVER.finditer(text):
        begin = _begin(match[0])
        opened.pop(begin, None)  # no other of its kind begins within one
        if match[0] == begin:
            opened[begin] = match.start()
    return min(opened.values(), default=-1)


def _begin(text: str) -> str:
    """How what is passed over begins; "" of a tag."""
    return next((begin for begin in PASSED if text.startswith(begin)), "")


def _tags(context: Context, text: str, last: bool = False) -> Iterator[Tag]:
    if last or any(begin in text for begin in PASSED):
        yield from _parsed(context, text, last)
        return
    for piece in text.split("<")[1:]:  # a tag and what follows it: no tag has a "<" inside
        head, closed, following = piece.rpartition(">")
        parts = head.split('"')
        whole = closed and len(parts) % 2 and len(head) <= SHAPED
        shape = _shape(tuple(parts[::2])) if whole else None
        if shape is None:
            yield from _parsed(context, "<" + piece)
            continue
        name, names, opens, closes = shape
        attributes = dict(zip(names, parts[1::2], strict=True))
        yield Tag(name, _plain(attributes) if "&" in head else attributes, opens, closes, following)


@lru_cache(SHAPES)
def _shape(outside: tuple[str, ...]) -> tuple[str, list[str], bool, bool] | None:
    """Name, names of attributes, whether it opens and closes, by what of a tag stands outside of its double quotes.

    None where it is no tag, or has other quotes.
    """
    found = _TAG.fullmatch("<" + '""'.join(outside) + ">")
    if found is None or found[2] is None or found[5] or "'" in found[3]:
        return None
    end, name, attributes, single, _ = found.groups()
    names = _NAME.findall(attributes)
    return (name, names, not end, bool(end or single)) if len(names) == len(outside) - 1 else None


def _parsed(context: Context, text: str, last: bool = False) -> Iterator[Tag]:
    for match in _TAG.finditer(text):
        end, name, attributes, single, following = match.groups()
        if name is None:
            begin = _begin(match[0])
            if not begin or PASSED[begin] not in match[0]:
                context.seen()
                torn = last and match.end() == len(text)
                context.skip("torn at the end of the file" if torn else "a tag that is not well formed")
            continue
        yield Tag(name, _attributes(attributes), not end, bool(end or single), following)


def _attributes(text: str) -> dict[str, str]:
    if not text:
        return {}
    if "'" in text or " =" in text or "= " in text:
        found = {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}
    else:
        found = dict(_PLAIN.findall(text))
    return _plain(found) if "&" in text else found


def _plain(attributes: dict[str, str]) -> dict[str, str]:
    """The same without entities."""
    for name, value in attributes.items():
        if "&" in value:
            attributes[name] = _unescaped(value) if len(value) < REMEMBERED else unescape(value)
    return attributes


@lru_cache(4096)
def _unescaped(text: str) -> str:
    return unescape(text)
