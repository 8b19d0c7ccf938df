"""What shows that an object of JSON is not as it was written, although it can be read: a lost member may mislead."""

from __future__ import annotations

import json
import re
from typing import Any

_LENIENT, _STRICT = json.JSONDecoder(strict=False), json.JSONDecoder()
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*+)"(\s*+:)?', re.DOTALL)
_ZEROED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # characters that no text of a vendor has
_LOST = re.compile(r"[\x00-\x1f\ufffd]")  # characters that no name has
_LOST_OR_FOREIGN = re.compile(r"[^ -~]")  # so also what a byte became in a text that is no UTF-8
_ZEROS = "\0" * 8  # of a block that was lost: another text may end behind it
_WORD = re.compile(r"(?=[^ -~])[^ -~\t\r\n]{1,3}[\w-]{2,39}|[\w-]{1,38}[^ -~\t\r\n]{1,3}[\w-]{0,38}", re.ASCII)
#: Members whose words are a person's or a vendor's own: they change no value.
_FREE = re.compile(
    "device|enteredby|(?<!metric)name|model|manufactur|maker|app|source|title|note|comment|descr|label|text", re.I
)
AHEAD = 256  # characters behind an item that tell whether it ended there
_NAME = r'"(?:[^"\\]|\\.){0,200}+"\s*+:'
_SKIPPED = r"[\s,\x00-\x1f]*+"
#: An item of another kind, or a word that is none, before others; not the name of a member.
_BARE = r'\s*+,[\s,]*+(?:"(?:(?:[^"\\]|\\.){0,200}+"\s*+[,\]]|(?:[^"\\]|\\.){200})|[\w.+-]{1,60}+\s*+[,\]])'
#: What may follow an item of a list, and one that is not in a list.
_ITEM = re.compile(rf"(?![}}\]]*+[\d.]){_SKIPPED}(?:[{{\[]|\]\s*+(?:[,{{}}\[\]]|\Z)|(?<=,)\Z)|{_BARE}", re.DOTALL)
_MEMBER_BEHIND_LIST = re.compile(rf"\s*+\]\s*+,\s*+{_NAME}", re.DOTALL)
#: Behind a list that is no member of an object, and behind one that is: there is a bracket too many, or a member.
_NO_END_ALONE = re.compile(rf"\s*+(?:[}}\]]\s*+[^\s\x00-\x1f]|,\s*+{_NAME})", re.DOTALL)
_NO_END = re.compile(r"\s*+(?:\]|\Z|\}\s*+\}\s*+[^\s\x00-\x1f])")
_LINE = re.compile(
    rf"(?![}}\]]*+[\d.])(?!\s*+,\s*+{_NAME})[^\S\r\n]*+,?[^\S\r\n]*+(?:[\r\n{{\[]|\][^\S\r\n]*+(?:[\r\n{{\[]|\Z)|\Z)",
    re.DOTALL,
)


def follows(text: str, behind: int, closed: bool, alone: bool = False) -> bool:
    """Whether what stands behind an item may stand there; a member, say, shows that a bracket too many has ended it.

    Args:
        text: what the item is in.
        behind: where it ends.
        closed: whether it is one of a list, which has an end of its own.
        alone: whether this list is no member of an object, so that no other can follow it.
    """
    if alone and _MEMBER_BEHIND_LIST.match(text, behind):
        return False
    return (_ITEM if closed else _LINE).match(text, behind) is not None


def ends(text: str, behind: int, alone: bool) -> bool:
    """Whether a list may end here; if not, one within its last items has lost its beginning, and this is its end.

    Args:
        text: what the list is in.
        behind: where it ends.
        alone: as of ``follows``.
    """
    return (_NO_END_ALONE if alone else _NO_END).match(text, behind) is None


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
        elif is_zeroed(key, match[1]):
            raise ValueError("a damaged text")
    return value, end


def is_damaged_name(name: str) -> bool:
    """Whether a member of a broken object has a name that it cannot have had."""
    return not name.isascii() or _LOST.search(name) is not None


def is_damaged_word(key: str, text: str) -> bool:
    """Whether a member's value is a word, as of a code, with a character in it that words do not have."""
    return len(text) <= 40 and _WORD.fullmatch(text) is not None and not _FREE.search(key)


def is_zeroed(key: str, text: str) -> bool:
    """Whether a member's value has characters as of a lost block; in a name, a title, a note one of them is passed."""
    return _ZEROED.search(text) is not None and (not _FREE.search(key) or _ZEROS in text)


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
