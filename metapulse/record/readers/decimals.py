"""Which sign of a file's numbers is the decimal one: told by all of its cells, where a single one does not show it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence

#: "72,500" is 72.5 or 72 500; no thousands begin with 0.
AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
#: "13.666" is 13 666 where points part thousands.
POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_UNCLEAR = re.compile(rf"{AMBIGUOUS.pattern}|{POINTED.pattern}")
_DECIMAL = re.compile(r"[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+|\d{1,3}(\.\d{3})+,\d+)")
_THOUSANDS = re.compile(r"[+-]?(\d{1,3}(,\d{3}){2,}|\d{1,3}(,\d{3})+\.\d+)")
_DECIMAL_POINT = re.compile(r"[+-]?(\d+\.(\d{1,2}|\d{4,})|0\d*\.\d+)")
ENOUGH = 50  # cells that agree
MANY = 10  # decimal commas, for each point that looks like a decimal one, as that of a version does


class Signs:
    """What commas and points are in a file's numbers; looked for when the first one does not show it itself.

    Args:
        rows: makes the cells of the whole file, row by row.
        delimiter: what separates them.
    """

    def __init__(self, rows: Callable[[], Iterable[Sequence[str]]], delimiter: str) -> None:
        self._rows, self._delimiter = rows, delimiter
        self._comma: bool | None = None
        self._point: bool | None = None

    @property
    def points_are_decimal(self) -> bool:
        """Whether it is known that no point of the file parts thousands."""
        return self._point is False

    def plain(self, cells: list[str], texts: Container[int] = ()) -> list[str]:
        """The cells, with a decimal point or none in numbers that do not show by themselves what their sign is.

        Args:
            cells: of a row.
            texts: places of cells that are no numbers, whatever they look like.
        """
        if not any(map(_UNCLEAR.fullmatch, cells)):
            return cells
        return [cell if at in texts else self.plain_cell(cell) for at, cell in enumerate(cells)]

    def plain_cell(self, cell: str) -> str:
        """The same of one cell."""
        if AMBIGUOUS.fullmatch(cell):
            if self._comma is None:
                self._comma = comma_is_decimal(self._rows(), self._delimiter)
            return cell.replace(",", ".") if self._comma else cell
        if POINTED.fullmatch(cell):
            if self._point is None:
                self._point = point_parts_thousands(self._rows())
            return cell.replace(".", "") if self._point else cell
        return cell


def comma_is_decimal(rows: Iterable[Sequence[str]], delimiter: str) -> bool:
    """Whether "72,500" in a file is 72.5.

    Where no other number shows it, the sign between cells does: a semicolon is there because numbers have the comma.

    Args:
        rows: cells of the whole file; no more are looked at than it takes.
        delimiter: what separates them.
    """
    votes = 0
    for cells in rows:
        for cell in cells:
            if "," in cell:
                votes += bool(_DECIMAL.fullmatch(cell)) - bool(_THOUSANDS.fullmatch(cell))
        if abs(votes) >= ENOUGH:
            break
    return votes > 0 or (votes == 0 and delimiter == ";")


def point_parts_thousands(rows: Iterable[Sequence[str]]) -> bool:
    """Whether "1.234" in a file is 1 234: only where its other numbers show that the comma is the decimal sign.

    Args:
        rows: cells of the whole file; no more are looked at than it takes.
    """
    commas = others = 0
    for cells in rows:
        for cell in cells:
            if "," in cell:
                commas += bool(_DECIMAL.fullmatch(cell))
                others += bool(_THOUSANDS.fullmatch(cell))
            elif "." in cell:
                others += bool(_DECIMAL_POINT.fullmatch(cell))
        if max(commas, others) >= ENOUGH:
            break
    return commas > others * MANY
