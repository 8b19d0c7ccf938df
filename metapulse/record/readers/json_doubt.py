"""What shows that an object of JSON is not as it was written, although it can be read: a lost member may mislead."""

from __future__ import annotations

import json
import re
from typing import Any

_LENIENT, _STRICT = json.JSONDecoder(strict=False), json.JSONDecoder()
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*+)"(\s*+:)?', re.DOTALL)
_LOST = re.compile(r"[\x00-\x1f\ufffd]")  # characters that no name has
_LOST_OR_FOREIGN = re.compile(r"[^ -~]")  # so also what a byte became in a text that is no UTF-8
_WORD = re.compile(r"(?=[^ -~])[^ -~\t\r\n]{1,3}[\w-]{2,39}|[\w-]{1,38}[^ -~\t\r\n]{1,3}[\w-]{0,38}", re.ASCII)
#: Members whose words are a person's or a vendor's own: they change no value.
_FREE = re.compile("device|enteredby|name|model|manufactur|maker|app|source|title|note|comment|descr|label|text", re.I)
AHEAD = 256  # characters behind an item that tell whether it ended there
_MEMBER = r'"(?:[^"\\]|\\.){0,200}+"\s*+:'
#: Behind an object: a member, the rest of a number, or a value before a bracket that closes an object.
_REST = r"[}\]]*+[\d.]|[\s,}\]]*+[\w.+-]++\s*+\}"
_IN_LIST = re.compile(rf"[\s,]*+{_MEMBER}|{_REST}", re.DOTALL)
_IN_LINES = re.compile(rf"[^\S\r\n]*+(?:,\s*+)?{_MEMBER}|{_REST}", re.DOTALL)  # a line may have lost its beginning
_BRACKET = re.compile(r"[\s,]*+\}")


def closed_early(value: Any, text: str, behind: int, lines: bool) -> bool:
    """Whether an item of a list has lost members to what follows it, as a bracket too many has closed it."""
    if not isinstance(value, dict):
        return False
    if (_IN_LINES if lines else _IN_LIST).match(text, behind):
        return True
    return _BRACKET.match(text, behind) is not None and _may_have_moved(value)


def _may_have_moved(value: Any) -> bool:
    """Whether a member stands behind an object that is a member itself: it may have been that one's."""
    while isinstance(value, dict) and value:
        *others, value = value.values()
        if any(isinstance(other, dict) for other in others):
            return True
    return False


def decoded(text: str, at: int, foreign: bool) -> tuple[Any, int]:
    """The value here, and where it ends. Raises: ValueError: there is none, or it has a name that is damaged.

    ``foreign``: the text is no UTF-8, so that a damaged byte is a letter of another alphabet.
    """
    try:
        value, end = _STRICT.raw_decode(text, at)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            raise
        value, end = _LENIENT.raw_decode(text, at)
    else:
        if text.isascii() or not (foreign or text.find("\ufffd", at, end) >= 0):
            return value, end
    key = ""
    for match in _TEXT.finditer(text, at, end):
        if match[2]:
            key = match[1]
            if (_LOST_OR_FOREIGN if foreign else _LOST).search(key):
                raise ValueError("a damaged name")
        elif is_damaged_word(key, match[1]) and (foreign or _LOST.search(match[1])):
            raise ValueError("a damaged word")
    return value, end


def is_damaged_name(name: str) -> bool:
    """Whether a member of a broken object has a name that it cannot have had."""
    return not name.isascii() or _LOST.search(name) is not None


def is_damaged_word(key: str, text: str) -> bool:
    """Whether a member's value is a word, as of a code, with a character in it that words do not have."""
    return len(text) <= 40 and _WORD.fullmatch(text) is not None and not _FREE.search(key)


def has_lines(lines: list[str]) -> bool:
    """Whether more than one of the lines begins as an object, none of these goes on, and one is whole."""
    objects = [line.strip() for line in lines if line.startswith("{")]
    return len(objects) > 1 and not any(o.endswith(",") for o in objects) and any(map(_is_object, objects))


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def written(value: Any) -> Any:
    """A value of JSON without halves of characters (surrogates), which no encoding can write."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), strict=False)
