"""CSV and JSON as people have them: any encoding, broken quotes, torn tails; read row by row, in bounded memory."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

from metapulse.record.containers import File
from metapulse.record.readers.base import Context
from metapulse.record.readers.columns import note_unread
from metapulse.record.readers.decimals import Signs
from metapulse.record.readers.encoding import HEAD, encoding, on_damage
from metapulse.record.readers.header import HEADS, mended_head, names_columns
from metapulse.record.readers.json_documents import Documents
from metapulse.record.readers.json_parts import Series

LINES = 50  # that a quoted cell may span; a quote that stays open longer was never meant to be one
LINE = 2**20  # characters of a line; the rest of a longer one is another line
CHUNK = 2**18  # characters read at a time
EMPTY = {"", "-", "--", "---", "–", "—", "n/a", "na", "nan", "null", "none", "nil"}  # in place of a number
_SHORT = re.compile(r"-?[0-9]{1,15}+(?:\.[0-9]{1,20}+)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


def text_stream(context: Context, file: File | None = None) -> io.TextIOWrapper:
    """The file as text; bytes that are none become U+FFFD. Line ends are as they are."""
    raw = context.open(file)
    head = raw.peek(HEAD)[:HEAD]
    return io.TextIOWrapper(raw, encoding=encoding(head), errors=on_damage(head), newline="")


def lines(context: Context, file: File | None = None) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end); lines end in CR, LF or both. A header is whole (``header.py``)."""
    with text_stream(context, file) as stream:
        source = _split(stream)
        yield from enumerate(chain(mended_head(list(islice(source, HEADS))), source), start=1)


def _split(stream: io.TextIOWrapper) -> Iterator[str]:
    rest, begun = "", False
    while block := stream.read(CHUNK):
        if not begun:
            block, begun = block.lstrip("\ufeff"), True  # a second byte order mark
        if block.endswith("\r"):
            block += stream.read(1)
        parts = re.split("\r\n|\r|\n", rest + block)
        rest = parts.pop()
        for part in parts:
            yield from _pieces(part)
        while len(rest) > LINE:
            yield rest[:LINE]
            rest = rest[LINE:]
    if rest:
        yield rest


def _pieces(line: str) -> Iterator[str]:
    for at in range(0, max(len(line), 1), LINE):
        yield line[at : at + LINE]


def delimiter_of(line: str) -> str:
    """What separates the cells of a header: the most frequent of tab, semicolon, comma and bar outside quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max("\t;,|", key=bare.count) if any(bare.count(c) for c in "\t;,|") else ","


def csv_rows(
    context: Context, delimiter: str = "", count: bool = True, as_written: bool = False, texts: Container[int] = ()
) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every row that is not blank; a quoted cell may hold line ends.

    A quote that is never closed costs its own line, not the file. A number such as "72,500" has a point in its comma's
    place where the file's other numbers show that it is the decimal one, and "1.234" then has none (``decimals.py``).

    Args:
        context: of the file.
        delimiter: "": found from each row, until one has three cells with something in them.
        count: count rows as seen; False for a look at the file beforehand.
        as_written: leave such numbers as they are. texts: so too in these places; looked at anew for each row.
    """
    signs: Signs | None = None
    for number, text in _logical_lines(context, count):
        cut = delimiter or delimiter_of(text)
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=cut), [])
        except csv.Error:
            cells = []
        if count:
            context.seen()
            if not cells:
                context.skip("no row of a CSV")
        if cells:
            delimiter = cut if sum(map(bool, cells)) > 2 else delimiter
            cells = [cell.strip() for cell in cells]
            comma = "," in text and (cut != "," or '"' in text)  # there may be one within a cell
            if not as_written and (comma or ("." in text and not (signs and signs.points_are_decimal))):
                signs = signs or Signs(partial(_rows_as_written, context, cut), cut)
                cells = signs.plain(cells, texts)
            yield number, cells


def _rows_as_written(context: Context, delimiter: str) -> Iterator[list[str]]:
    return (cells for _, cells in csv_rows(context, delimiter, count=False, as_written=True))


def _logical_lines(context: Context, count: bool) -> Iterator[tuple[int, str]]:
    """Lines, put together where a quoted cell goes on; blank ones left out."""
    waiting: deque[tuple[int, str]] = deque()
    source = lines(context)
    usual = 0  # separators of a line

    def following() -> tuple[int, str] | None:
        return waiting.popleft() if waiting else next(source, None)

    while (first := following()) is not None:
        number, line = first
        text, taken = line, list[tuple[int, str]]()
        while text.count('"') % 2 and len(taken) < LINES and len(text) < LINE and (more := following()) is not None:
            taken.append(more)
            text += "\n" + more[1]
        if taken and not _one_row(text, [between for _, between in taken[:-1]], usual):
            waiting.extendleft(reversed(taken))
            text, taken = line, []
        if text.count('"') % 2 and not _one_row(text):
            if count:
                context.seen()
                context.skip("a quote that is never closed")
        elif (text := text.replace("\0", "")).strip():
            if not taken:
                usual = text.count(delimiter_of(text))
            yield number, text


def _one_row(text: str, between: Iterable[str] = (), usual: int = 0) -> bool:
    """Whether every quote that begins a cell ends one, and no line that was put between them is a row of its own."""
    cut = delimiter_of(text)
    if usual > 1 and any(line.count(cut) == usual for line in between):
        return False
    try:
        return len(list(csv.reader(io.StringIO(text, newline=""), delimiter=cut, strict=True))) == 1
    except csv.Error:
        return False


def csv_table(
    context: Context,
    *names: str,
    fold: Callable[[str], str] = str,
    count: bool = True,
    as_written: bool = False,
    known: Container[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its first line, cell by column name) of every row below the header; rows above it are skipped.

    Columns are found by name, never by position. A row that is shorter than the header has "" for what it lacks; cells
    beyond the header are left out, and noted if there is something in them. Of two columns of one name: ``row_of``.
    Where two exports were joined, rows are read by the header that is next above them.

    Args:
        context: of the file.
        names: columns, after ``fold``, that the header has: the first row with all of them is it.
        fold: makes a column's name one of yours, such as ``str.lower``.
        count: count rows as seen.
        as_written: as in ``csv_rows``.
        known: columns, after ``fold``, that are read or left out on purpose; others are noted. (): none is.
    """
    header: list[str] = []
    for number, cells in csv_rows(context, count=count, as_written=as_written):
        if not header or (names and names_columns(cells)):
            folded = [fold(cell) for cell in cells]
            is_header = set(names) <= set(folded)
            header = folded if is_header else header
            if count and (is_header or not header):
                context.skip("the header" if is_header else "above the header")
            if is_header and known:
                note_unread(context, cells, {at for at, name in enumerate(folded) if name in known})
            if is_header or not header:
                continue
        if count and any(cells[len(header) :]):
            context.note("a row has more cells than the header has columns")
        yield number, row_of(context, header, cells + [""] * (len(header) - len(cells)), count)


def row_of(context: Context, names: Sequence[str], cells: Sequence[str], count: bool = True) -> dict[str, str]:
    """Cell by column name. Of columns of one name the first counts that is not empty; another that differs is noted."""
    row = dict(zip(names, cells, strict=False))
    if len(row) == len(names) or len(row) == len(cells):
        return row
    row = {}
    for name, cell in zip(names, cells, strict=False):
        first = row.setdefault(name, cell)
        if is_empty(first) and not is_empty(cell):
            row[name] = cell
        elif count and name and cell != first and not is_empty(cell):
            context.note("two columns of one name: the first counts")
    return row


def csv_column(context: Context, name: str, *, fold: Callable[[str], str] = str) -> Iterator[str]:
    """Every cell of one column, without counting rows: for ``Context.date_order``."""
    for _, cells in csv_table(context, name, fold=fold, count=False, as_written=True):
        if cells[name]:
            yield cells[name]


def json_items(
    context: Context,
    *keys: str,
    above: dict[str, Any] | None = None,
    file: File | None = None,
    count: bool = True,
    within: Sequence[str] = (),
    series: Collection[str] = (),
    bare: Collection[str] = (),
) -> Iterator[tuple[int, Any]]:
    """(number from 0, item) of a JSON array, of JSON lines, or of objects one after another.

    An item that is no JSON is counted and skipped, and reading goes on at the next; a torn tail is counted too.

    Args:
        context: of the file.
        keys: where the file is one object: members whose arrays are read, item by item; with the object itself as
            one item if it has none of them; so also of objects in an array, of which the first begins with such a
            member. "*": every member that is an array, but not of objects a line each.
            Several such objects may follow.
        above: takes the other members of that object as they come; of several objects those of the first; with "*"
            those of all, and under "" the name of the array that is being read.
        file: a companion; None: the context's file.
        count: count items as seen.
        within: members that can be read without the others: of an object that is broken outside of any array, those of
            them that are whole are the item.
        series: members that are lists whose elements stand for themselves, a time and a value each; of an item that is
            broken within one of them the elements are kept that are whole. So are ``keys``.
        bare: those of them whose elements do not say by themselves of which day or what they are.
    """
    with text_stream(context, file) as stream:
        scanner = Documents(stream, context, count, within, Series({*keys, *series}, bare))
        start = scanner.blank()
        others = {} if above is None else above
        scanner.lines = start == "{" and scanner.in_lines()
        if start == "{" and keys and not scanner.lines:
            while first := scanner.blank():  # one after another, as when pages were put together
                if first == "{" and scanner.unwrapped:
                    yield from scanner.opened_items(keys, others)
                elif first == "{":
                    yield from scanner.members(keys, others)
                    others = others if "*" in keys else {}
                elif first == "[":
                    scanner.at += 1
                    yield from scanner.items(closed=True)
                else:
                    scanner.strange()
        else:
            while start == "[":  # one after another, as when pages were put together
                scanner.at += 1
                wrapped = keys and scanner.begins_with(keys)
                yield from scanner.wrapped(keys, others) if wrapped else scanner.items(closed=True, alone=True)
                start = scanner.blank()
                scanner.unwrapped = True  # by a bracket too many, perhaps
            yield from scanner.opened_items(keys, others)


def number(text: object, decimal_comma: bool = False) -> float | None:
    """A finite number: as text, with thousands separators or a decimal comma, or as a number; None if it is none.

    Args:
        text: "13,666", "5,6", " 72 ", 72, "1.234,5".
        decimal_comma: a single comma is a decimal one, as in "5,600".
    """
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, str):
        if _SHORT.fullmatch(text):
            return float(text)
        text = _plain(text.strip().replace("\u00a0", "").replace("\u202f", "").replace("−", "-"), decimal_comma)
        if not _NUMBER.fullmatch(text):
            return None
    elif not isinstance(text, (int, float)):
        return None
    try:
        value = float(text)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def number_noted(context: Context, cells: Mapping[str, Any], name: str, decimal_comma: bool = False) -> float | None:
    """The number under a name, as of ``number``. What is neither one nor empty is noted: it costs itself alone."""
    return noted(context, cells.get(name), name, decimal_comma)


def noted(context: Context, given: object, name: str, decimal_comma: bool = False) -> float | None:
    """``number`` of a cell that is found by its place; the name is for the note."""
    value = number(given, decimal_comma)
    if value is None and not is_empty(given):
        context.note(f"{name}: no number")
    return value


def is_empty(given: object) -> bool:
    """Whether a cell says that there is no value, as opposed to one that cannot be read."""
    return given is None or (given.strip().lower() in EMPTY if isinstance(given, str) else given != given)


def _plain(text: str, decimal_comma: bool) -> str:
    if "," in text:
        if "." in text:  # the later of the two is the decimal one
            thousands = "," if text.rindex(".") > text.rindex(",") else "."
            return text.replace(thousands, "").replace(",", ".")
        if not decimal_comma and re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", text):
            return text.replace(",", "")
        return text.replace(",", ".") if text.count(",") == 1 else text
    if "'" in text or "’" in text or " " in text:
        bare = text.replace("'", "").replace("’", "").replace(" ", "")
        return bare if re.fullmatch(r"[+-]?\d{1,3}(['’ ]\d{3})+(\.\d+)?", text) else text
    return text
