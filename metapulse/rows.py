"""Rows that show themselves as a table, in a terminal and in a notebook; otherwise a plain sequence of mappings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 140  # of the table as text, in characters


class Rows(Sequence[Mapping[str, Any]]):
    """One mapping per row, all with the same keys: ``polars.DataFrame(list(rows))`` is a data frame of them.

    Args:
        shown: keys that the table shows, in order; (): all of them.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], shown: Sequence[str] = ()) -> None:
        self._rows = tuple(rows)
        self._shown = tuple(shown) or tuple(self._rows[0] if self._rows else ())

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Rows:
        return Rows(self._rows[index], self._shown) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # rows are mappings, which have none

    def where(self, **values: Any) -> Rows:
        """The rows that have these values: ``result.scores.where(scenario="new_user", shots=5)``."""
        return Rows((row for row in self if all(row.get(k) == v for k, v in values.items())), self._shown)

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for name in self._shown:
            table.add_column(name, justify="right" if self._numbers(name) else "left", overflow="fold")
        for row in self:
            table.add_row(*(Text(_text(row[name])) for name in self._shown))
        return table

    def _numbers(self, name: str) -> bool:
        return all(isinstance(row[name], (int, float)) for row in self)

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(width=WIDTH, color_system=None)
        with console.capture() as text:
            console.print(self)
        return text.get()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self._shown)
        rows = ("".join(f"<td>{escape(_text(row[name]))}</td>" for name in self._shown) for row in self)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """A text with its control characters as escapes: what a file says must not steer a terminal. Line ends stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
