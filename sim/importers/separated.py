"""CSV in the forms that programs write: comma, semicolon or tab between cells, a point or a comma in numbers."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from metapulse.errors import DataError

BLOCK = 1 << 24
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"\x00": "UTF-16 or UTF-32"}
SEPARATORS = (",", ";", "\t", "|")
_COMMA = r"^\s*[-+]?\d+(,\d+)?\s*$"
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3},\d{3}\s*")


def read_text_table(path: Path, naming: Callable[[Collection[str]], Collection[str]]) -> Any:
    """An Arrow table: numbers where a column holds nothing else, text otherwise; columns of names always as text.

    The separator is the one that the header line has most of; decimal commas are read where cells are not separated
    by commas. Dates stay text.

    Args:
        path: the file, UTF-8, with a header line.
        naming: which of the columns hold names.

    Raises:
        DataError: not UTF-8, no header, or numbers whose comma could mean either.
        pyarrow.ArrowException: rows of different length.
    """
    _check_encoding(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(1 << 20)
    separator = max(SEPARATORS, key=first.count) if first else ","
    header = next(csv.reader([first], delimiter=separator), [])
    named = {name: pa.string() for name in naming(header)}
    convert = pa.csv.ConvertOptions(
        column_types=named,
        strings_can_be_null=False,
        timestamp_parsers=["%%"],  # none: Arrow would turn offsets into UTC
    )
    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK),
        parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=convert,
    )
    for place, field in enumerate(table.schema):
        if pa.types.is_date(field.type) or pa.types.is_time(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        elif separator != "," and pa.types.is_string(field.type) and field.name not in named:
            table = table.set_column(place, field.name, _decimal_commas(table.column(place), path, field.name))
    return table


def _check_encoding(path: Path) -> None:
    """Refuse what is not UTF-8, with the line where it stops being so."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        head = file.read(4)
        for mark, encoding in MARKS.items():
            if head.startswith(mark) or (mark == b"\x00" and mark in head):
                raise DataError(f"{path}: its encoding is {encoding}; save it as UTF-8")
        file.seek(0)
        while block := file.read(BLOCK):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += block.count(b"\n", 0, max(0, error.start))
                raise DataError(f"{path}: line {line} is not UTF-8 ({error.reason}); save the file as UTF-8") from None
            line += block.count(b"\n")


def _decimal_commas(column: Any, path: Path, name: str) -> Any:
    """The column as numbers if every cell is one with a decimal comma; as it is otherwise."""
    full = pc.not_equal(pc.utf8_trim_whitespace(column), "")
    texts = pc.filter(column, full)
    if not len(texts) or not pc.all(pc.match_substring_regex(texts, _COMMA)).as_py():
        return column
    with_comma = [text for text in texts.to_pylist() if "," in text]
    if with_comma and all(_THOUSANDS.fullmatch(text) for text in with_comma):
        raise DataError(
            f"{path}: {name} = {with_comma[0].strip()!r}: a decimal comma or a separator of thousands? save points"
        )
    points = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".")
    return pc.cast(pc.if_else(full, points, pa.scalar(None, pa.string())), pa.float64())
