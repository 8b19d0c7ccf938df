"""The texts of some rows as numbers in tables. No table ever has all texts of a record.

Tables are begun anew when they are full. Rows that were coded with several are coded anew where they come together:
``columns.joined``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from metapulse.record.schema import Device

FULL = 2**15  # texts in tables that are begun anew then
FULL_TEXT = 2**23  # characters, in the same way
CODED = ("code", "device", "file", "unit", "input", "quality")  # columns of numbers in tables
CONTROL = ("Cc", "Zl", "Zp")  # categories of Unicode: control characters, line and paragraph separators

Key = TypeVar("Key", bound=Hashable)


class Numbered(dict[Key, int]):
    """A table that gives every new key the next number, and counts their characters."""

    characters = 0

    def __missing__(self, key: Key) -> int:
        self[key] = number = len(self)
        self.characters += length_of(key)
        return number

    def ranks(self, order: Callable[[Any], Any] = lambda key: key) -> NDArray[np.int64]:
        """Rank of each number if the keys are sorted: what makes the record independent of the order of reading."""
        keys = [order(key) for key in self]
        ranks = np.empty(len(keys), np.int64)
        ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
        return ranks

    def lengths(self) -> NDArray[np.int64]:
        """Characters of each key."""
        return np.fromiter(map(length_of, self), np.int64, len(self))


def length_of(key: object) -> int:
    """Characters of a text, or of the texts in a tuple."""
    return len(key) if isinstance(key, str) else sum(map(length_of, key)) if isinstance(key, tuple) else 0


class _Devices(dict[Device, int]):
    """Numbers of devices however a file writes them: without control characters, which are no part of a name."""

    def __init__(self, table: Numbered[Device]) -> None:
        self.table = table

    def __missing__(self, device: Device) -> int:
        plain = Device(*(part if part is None or part.isprintable() else _printed(part) for part in device))
        self[device] = number = self.table[plain]
        return number


def _printed(text: str) -> str | None:
    """A blank for each run of control characters and line ends; others that are not printed, as in emojis, stay."""
    if all(category(c) not in CONTROL for c in text):
        return text
    return " ".join("".join(" " if category(c) in CONTROL else c for c in text).split()) or None


class Texts:
    """Tables of the texts of some rows."""

    def __init__(self) -> None:
        self.code: Numbered[str | None] = Numbered()
        self.device: Numbered[Device] = Numbered()
        self.file: Numbered[str] = Numbered()
        self.unit: Numbered[str] = Numbered()
        self.input: Numbered[tuple[int, str]] = Numbered()
        self.quality: Numbered[tuple[str, ...]] = Numbered()
        self.written = _Devices(self.device)

    @property
    def entries(self) -> int:
        """How many texts are in all tables."""
        return sum(len(getattr(self, name)) for name in CODED) + len(self.written)

    @property
    def characters(self) -> int:
        """And how long they are together."""
        return sum(getattr(self, name).characters for name in CODED)

    def having(self, block: Block, *marks: str) -> NDArray[np.bool_]:
        """Rows that have one of these marks."""
        found = np.array([not set(marks).isdisjoint(q) for q in self.quality], bool)
        rows: NDArray[np.bool_] = found[block["quality"]]
        return rows

    def mark(self, block: Block, rows: NDArray[np.bool_], *add: str, without: str = "") -> None:
        """Put marks on some rows, and take one away."""
        for number in np.unique(block["quality"][rows]):
            marks = {*list(self.quality)[number], *add} - {without}
            changed = self.quality[tuple(sorted(marks))]
            block["quality"][rows & (block["quality"] == number)] = changed

    def recode(self, block: Block) -> None:
        """Let a block have its numbers in these tables."""
        for name in CODED:
            keys, table, column = list(getattr(block.tables, name)), getattr(self, name), block[name]
            if len(keys) < len(column):
                numbers = np.fromiter(map(table.__getitem__, keys), np.int32, len(keys)) if len(keys) > 1 else None
                block[name] = np.full(len(column), table[keys[0]], np.int32) if numbers is None else numbers[column]
            else:  # those alone that are used
                used, places = np.unique(column, return_inverse=True)
                numbers = np.fromiter((table[keys[n]] for n in used), np.int32, len(used))
                block[name] = numbers[places]
        block.tables = self


class Block(dict[str, Any]):
    """Columns of some rows: arrays by ``columns.FIELDS``, and ``raw``, texts or nulls (a ``pyarrow.StringArray``).

    Args:
        tables: of the texts for which some columns have numbers.
        columns: by name.
    """

    def __init__(self, tables: Texts, columns: Mapping[str, Any]) -> None:
        super().__init__(columns)
        self.tables = tables

    @property
    def rows(self) -> int:
        """How many."""
        return len(self["start"])
