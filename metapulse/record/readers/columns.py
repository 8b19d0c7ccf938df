"""Where the columns of a vendor's CSV are, where the header's words are in the account's language.

By their names, of which ``columns.csv`` has those of some languages. Only a header whose names are not known is read
by the vendor's order of columns, and only where nothing that is known of it contradicts that order: a column that was
added, or moved, would put every value beside it into another metric.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files

from metapulse.record.readers.base import Context
from metapulse.record.units import ucum

CONCENTRATIONS = ("mg/dL", "mmol/L")
UNKNOWN = "columns whose names are not known, in another order than the vendor's"
RAPID = re.compile(r"fast|rapid|rápid|rychl|schnell|kurz|snel|kort|hurtig|snabb|nopea|szyb|hızlı", re.IGNORECASE)
LONG = re.compile(r"long|lang|lent|prolong|lång|pitkä|dlouh|dług|uzun", re.IGNORECASE)
_BRACKET = re.compile(r"\s*\(([^()]{0,40})\)\s*$")
_NO_LETTERS = re.compile(r"[\W_]+")
NO_UNIT = "-"


def split(cell: str) -> tuple[str, str]:
    """(name, unit) of "Fat  mass (kg)" or "Scan Glucose mg/dL": lower case, single blanks; the unit as written."""
    unit = found[1].strip() if (found := _BRACKET.search(cell[:500])) else ""
    name = _BRACKET.sub("", cell[:500])
    if not found and ucum(last := name.rpartition(" ")[2].strip()) in CONCENTRATIONS:
        name, unit = name.rpartition(" ")[0], last
    return _NO_LETTERS.sub(" ", unicodedata.normalize("NFC", name).lower()).strip(), unit


def by_name(reader: str, header: Sequence[str]) -> dict[str, int]:
    """Column → its place, of the columns whose name and unit are known; of two of one name the first."""
    found: dict[str, int] = {}
    for at, cell in enumerate(header):
        if column := _column(reader, cell):
            found.setdefault(column, at)
    return found


def _column(reader: str, cell: str) -> str:
    """The column that a cell of the header names; "" if its name is not known, or its unit is another."""
    name, unit = split(cell)
    written = ucum(unit) if unit else NO_UNIT
    return next((column for column, units in _names(reader).get(name, ()) if not units or written in units), "")


def placed(named: Mapping[str, int], ordered: Mapping[str, int]) -> dict[str, int]:
    """Column → its place: by name and by order where the two agree, else by name alone.

    Args:
        named: of ``by_name``.
        ordered: where columns are in the vendor's order; empty if the header's shape is another.
    """
    names = {at: column for column, at in named.items()}
    agree = all(named.get(column, at) == at and names.get(at, column) == column for column, at in ordered.items())
    return {**ordered, **named} if agree else dict(named)


def cell_of(cells: Sequence[str], at: Mapping[str, int], column: str) -> str:
    """The cell of a column; "" where the row is shorter, or there is no such column."""
    place = at.get(column, -1)
    return cells[place] if 0 <= place < len(cells) else ""


def note_unread(context: Context, header: Sequence[str], places: Collection[int]) -> None:
    """Say which columns are in none of these places."""
    for at, cell in enumerate(header):
        if cell.strip() and at not in places:
            context.note(f"a column that is not read: {cell[:60]}")


def first_lines(
    context: Context, cells: Sequence[str], at: Mapping[str, int] | None, texts: set[int], names: Collection[str]
) -> None:
    """Count a line down to the header, and say which columns of that are not read.

    Args:
        context: of the file.
        cells: of the line.
        at: column → its place; None above the header; empty where the header's columns are not known.
        texts: takes the places of the columns that hold texts.
        names: of these columns.
    """
    context.skip("above the header" if at is None else "the header")
    if at is not None:
        texts.clear()
    if at:
        texts.update(at[name] for name in names if name in at)
        note_unread(context, cells, at.values())


def vocabulary(name: str) -> list[dict[str, str]]:
    """The lines of a CSV in this folder: a vendor's words and what they are here."""
    text = files("metapulse.record.readers").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def _names(reader: str) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Name → (column, its units; none: any)."""
    found: dict[str, list[tuple[str, frozenset[str]]]] = {}
    for line in vocabulary("columns.csv"):
        if line["reader"] == reader:
            for name in line["names"].split("|"):
                found.setdefault(name, []).append((line["column"], frozenset(line["units"].split())))
    return found
