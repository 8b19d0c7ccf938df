"""The line of a CSV with the names of its columns, made whole where it is broken: without it no row can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

HEADS = 5  # lines of a file among which the names of columns may be
LONGEST = 2**14  # characters of such a line
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x1d-\x1f\x7f]")
_BREAK = re.compile(r"(\r\n|\r|\n)")


def mended_head(lines: Sequence[str]) -> list[str]:
    """The first lines of a file, of which those that name columns are whole.

    Such a line has no control characters, and quotes in pairs: control characters are taken out, and all quotes where
    one is left over. A line of values, of JSON or of XML stays as it is, and so does a cell over two lines.
    """
    pairs = zip_longest(lines, lines[1:], fillvalue="")
    return [
        _mended(line, following) if _names_columns(line, first=not at) else line
        for at, (line, following) in enumerate(pairs)
    ]


def mended_text(text: str) -> str:
    """The beginning of a file with its first lines so."""
    parts = _BREAK.split(text, maxsplit=HEADS)
    rest = parts.pop() if len(parts) > 2 * HEADS else ""
    parts[::2] = mended_head(parts[::2])
    return "".join(parts) + rest


def names_columns(cells: Sequence[str]) -> bool:
    """Whether a row below the header may be one too, as where two exports were joined: no cell begins with a digit."""
    return len(cells) > 1 and not any(cell[:1].isdigit() for cell in cells)


def _mended(line: str, following: str) -> str:
    left_over = line.count('"') % 2 == 1 and following.count('"') % 2 == 0
    return _CONTROL.sub("", line.replace('"', "") if left_over else line)


def _names_columns(line: str, first: bool) -> bool:
    """Whether it may: its first cell begins with a letter, and none but in the first line of a file with a digit."""
    cells = [cell.lstrip('" ') for cell in re.split(r"[,;\t]", _CONTROL.sub("", line[:LONGEST]))]
    if len(cells) < 2 or len(line) > LONGEST or not cells[0][:1].isalpha():
        return False
    return first or not any(cell[:1].isdigit() for cell in cells)
