"""Which files tell of the same account, so that a row of one may be a row of another that is there already.

Later exports of an account share their name but for folders, numbers and punctuation. Copies of one content are of one
account whatever they are called, and what is known of a name holds for all names that are linked so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

KNOWN = 2**14  # names that are remembered


class Lineage:
    """The account that each file is of.

    More links only join accounts, never part them: what was joined before holds when a record grows.

    Args:
        copies: names of one content, of each that has several.
    """

    def __init__(self, copies: Iterable[Sequence[str]] = ()) -> None:
        self._above: dict[str, str] = {}
        self._known: dict[str, str] = {}
        for names in copies:
            first, *others = sorted({self._top(bare_name(name)) for name in names})
            self._above |= dict.fromkeys(others, first)

    def of(self, file: str) -> str:
        """What all files of the account have in common, as a word."""
        if file not in self._known:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[file] = self._top(bare_name(file))
        return self._known[file]

    def _top(self, name: str) -> str:
        while name in self._above:
            name = self._above[name]
        return name


def bare_name(file: str) -> str:
    """A file's name without folders, numbers and punctuation."""
    return re.sub(r"[\W\d_]+", "", file.rsplit("/", 1)[-1]).casefold()


@lru_cache(1024)
def later_file(file: str) -> tuple[tuple[int, ...], str]:
    """By what the files of two exports are in order, the earlier first; of the names of one content the first counts.

    A copy is called as it may be, but before it was made there was what it is a copy of.

    Args:
        file: its name.
    """
    return tuple(int(digits) for digits in re.findall(r"\d{1,18}", file)), file
