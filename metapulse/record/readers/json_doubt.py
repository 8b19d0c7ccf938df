"""What shows that an object of JSON is not as it was written, although it can be read: a lost member may mislead."""

from __future__ import annotations

import json
import re
from typing import Any

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
