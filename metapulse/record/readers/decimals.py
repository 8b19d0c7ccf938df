"""Which sign of a file's numbers is the decimal one: told by all of its cells, where a single one does not show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: "72,500" is 72.5 or 72 500; no thousands begin with 0.
AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMAL = re.compile(r"[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+|\d{1,3}(\.\d{3})+,\d+)")
_THOUSANDS = re.compile(r"[+-]?(\d{1,3}(,\d{3}){2,}|\d{1,3}(,\d{3})+\.\d+)")
ENOUGH = 50  # cells that agree
#: A point that parts thousands, where there are no fractions: "13.666" steps.
POINTED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")


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
