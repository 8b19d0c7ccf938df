"""Rows → columns of numbers: values converted and judged, texts replaced by numbers in tables. 16 000 rows at a time.

What is counted away here: values that are not finite, rows with neither value nor code nor a mark that says why, and
stamps that are a device's placeholder for "no time" (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import US
from metapulse.record.identity import with_said
from metapulse.record.lineage import Lineage
from metapulse.record.metrics import metrics
from metapulse.record.schema import MARKS, Row
from metapulse.record.tally import FileTally
from metapulse.record.texts import FULL, FULL_TEXT, Block, Numbered, Texts
from metapulse.record.units import conversion

NO_TIME, NO_OFFSET = -(2**63), -(2**15)
PLACEHOLDER = 365 * 86_400 * US  # the first year of Unix time: no wearable was worn
EARLIEST, LATEST = 788_918_400 * US, 4_102_444_800 * US  # 1995, 2100
BEYOND_TIME = 2**60  # µs; what is further away has overflowed somewhere

#: Of a block, in this order; ``raw`` comes beside them. ``input`` is the number of what was read: of a file,
#: or of all that a record holds of one account.
FIELDS = (
    ("start", np.int64),
    ("metric", np.int32),
    ("end", np.int64),
    ("value", np.float64),
    ("code", np.int32),
    ("device", np.int32),
    ("file", np.int32),
    ("row", np.int64),
    ("quality", np.int32),
    ("offset_min", np.int32),
    ("unit", np.int32),
    ("input", np.int32),
)


class Tables(Texts):
    """Tables that take what readers yield."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = {name: number for number, name in enumerate(metric_names())}
        self._marks: dict[tuple[str, ...], int] = {}
        self._pairs: Numbered[tuple[str, str | None]] = Numbered()
        self._facts: list[tuple[float, float, float, float, int, int, bool]] = []

    @property
    def full(self) -> bool:
        """Whether others are to be begun for the rows that follow."""
        return self.entries + len(self._pairs) + len(self._marks) >= FULL or self.characters >= FULL_TEXT

    def block(
        self, rows: Sequence[Row], file: str, tally: FileTally, input: int = 0, held: Lineage | None = None
    ) -> Block:
        """Columns of some rows of one file; what cannot be in a record is counted away.

        Args:
            rows: as a reader yielded them.
            file: for rows that name none.
            tally: the file's account.
            input: number of the file among those that are read.
            held: accounts that the file holds, where it is a record: each is an input of its own.
        """
        tally.given += len(rows)
        rows = _representable(_once_each(rows, tally), tally) if rows else rows
        if not rows:
            return _empty(self)
        metric, start, value, unit, row, end, offset, code, device, quality, raw, files, _ = zip(*rows, strict=True)
        columns: dict[str, Any] = {
            "start": np.array(start, np.int64),
            "end": np.array([NO_TIME if e is None else e for e in end], np.int64),
            "value": np.array(value, np.float64),
            "code": _numbers(self.code, code),
            "device": _numbers(self.written, device),
            "file": _numbers(self.file, [f or file for f in files]),
            "row": np.array(row, np.int64),
            "quality": np.array([self._marked(q) for q in quality], np.int32),
            "offset_min": np.array([NO_OFFSET if o is None else o for o in offset], np.int32),
            "input": _numbers(self.input, ((input, held.of(f or file)) for f in files))
            if held
            else np.full(len(rows), self.input[input, ""], np.int32),
            "raw": np.array(raw, object),
        }
        block = Block(self, columns)
        self._convert(block, _numbers(self._pairs, zip(metric, unit, strict=True)))
        block = _judged(block, self, tally)
        tally.kept += len(block["start"])
        numbers, counts = np.unique(block["quality"], return_counts=True)
        marks = list(self.quality)
        for number, count in zip(numbers, counts, strict=True):
            tally.flagged.update(dict.fromkeys(marks[number], int(count)))
        return block

    def _marked(self, quality: tuple[str, ...]) -> int:
        """Number of a set of marks, however it was written."""
        number = self._marks.get(quality)
        if number is None:
            if unknown := set(quality) - MARKS.keys():
                raise ValueError(f"marks that schema.py does not know: {sorted(unknown)}")
            number = self._marks[quality] = self.quality[tuple(sorted(set(quality)))]
        return number

    def _convert(self, block: Block, pairs: NDArray[np.int32]) -> None:
        """Values into canonical units, by (metric, unit)."""
        for name, written in list(self._pairs)[len(self._facts) :]:
            known, to = metrics()[name], conversion(name, written)
            low = -np.inf if known.low is None else known.low
            high = np.inf if known.high is None else known.high
            self._facts.append((to.scale, to.shift, low, high, self.metric[name], self.unit[to.unit], to.known))
        columns: list[Any] = [np.array(column)[pairs] for column in zip(*self._facts, strict=True)]
        scale, shift, least, most, metric, unit, known_unit = columns
        block["metric"], block["unit"] = metric.astype(np.int32), unit.astype(np.int32)
        changed = np.flatnonzero(((scale != 1) | (shift != 0)) & ~np.isnan(block["value"]))
        units = [text for _, text in self._pairs]
        for at in changed:
            block["raw"][at] = with_said(block["raw"][at], f"{block['value'][at]!s} {units[pairs[at]]}")
        with np.errstate(over="ignore"):
            block["value"][changed] = block["value"][changed] * scale[changed] + shift[changed]
        self.mark(block, ~known_unit.astype(bool), "unit_unknown")
        outside = (block["value"] < least) | (block["value"] > most)
        self.mark(block, outside & ~self.having(block, "censored_low", "censored_high"), "implausible")


@cache
def metric_names() -> tuple[str, ...]:
    """The metrics, in the order of their numbers."""
    return tuple(sorted(metrics()))


def _numbers(table: Any, keys: Any) -> NDArray[np.int32]:
    return np.fromiter(map(table.__getitem__, keys), np.int32)


def _once_each(rows: Sequence[Row], tally: FileTally) -> Sequence[Row]:
    """Rows without those that one item of a file, a row of it, gives once more: nothing tells the two apart."""
    if len({row.row for row in rows}) == len(rows):
        return rows
    kept = list(dict.fromkeys(rows))
    if len(kept) < len(rows):
        tally.away["said twice by one item"] += len(rows) - len(kept)
    return kept


def _representable(rows: Sequence[Row], tally: FileTally) -> Sequence[Row]:
    """Rows whose times fit into 64 bits with room to spare."""
    low, high = -BEYOND_TIME, BEYOND_TIME
    if low < min(r.start for r in rows) and max(r.start for r in rows) < high:
        far = [r for r in rows if r.end is not None and not low < r.end < high]
        if not far and all(r.offset_min is None or -1080 <= r.offset_min <= 1080 for r in rows):
            return rows
    fit = [
        r
        for r in rows
        if low < r.start < high
        and (r.end is None or low < r.end < high)
        and (r.offset_min is None or -1080 <= r.offset_min <= 1080)
    ]
    tally.away["a stamp that is no time"] += len(rows) - len(fit)
    return fit


def _judged(block: Block, tables: Tables, tally: FileTally) -> Block:
    """Count away what cannot be in a record, and mark stamps that cannot be right."""
    import pyarrow as pa

    value, start, end = block["value"], block["start"], block["end"]
    wordless = np.array([code is None for code in tables.code], bool)[block["code"]]
    unmarked = np.array([not q for q in tables.quality], bool)[block["quality"]]
    reasons = (
        ("a value that is not finite", np.isinf(value)),
        ("no value", np.isnan(value) & wordless & unmarked),
        ("a placeholder for a time (1970)", (start >= 0) & (start < PLACEHOLDER)),
    )
    keep = np.ones(len(value), bool)
    for reason, rows in reasons:
        if count := int((rows & keep).sum()):
            tally.away[reason] += count
            keep &= ~rows
    backwards = (end != NO_TIME) & (end < start)
    tables.mark(block, (start < EARLIEST) | (start >= LATEST) | backwards, "time_implausible")
    kept = block if keep.all() else Block(tables, {name: column[keep] for name, column in block.items()})
    kept["raw"] = pa.array(kept["raw"], pa.string())
    return kept


def _empty(tables: Texts) -> Block:
    import pyarrow as pa

    return Block(tables, {**{name: np.empty(0, kind) for name, kind in FIELDS}, "raw": pa.array([], pa.string())})


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks one after another, with tables in common; they are taken apart column by column.

    Tables with what the blocks use are made where they have several: none of them is larger than the rows ask for.
    """
    import pyarrow as pa

    if len(blocks) == 1:
        return blocks[0]
    tables = blocks[0].tables
    if any(block.tables is not tables for block in blocks):
        tables = Texts()
        for block in blocks:
            tables.recode(block)
    columns = {name: np.concatenate([block.pop(name) for block in blocks]) for name, _ in FIELDS}
    return Block(tables, columns | {"raw": pa.concat_arrays([block.pop("raw") for block in blocks])})


def taken(block: Block, rows: Any) -> Block:
    """Some rows of a block: by index, slice or mask."""
    return Block(block.tables, {name: _at(column, rows) for name, column in block.items()})


def _at(column: Any, rows: Any) -> Any:
    if isinstance(column, np.ndarray) or isinstance(rows, slice):
        return column[rows]
    import pyarrow as pa

    return column.filter(pa.array(rows)) if rows.dtype == bool else column.take(pa.array(rows))


def text_lengths(block: Block) -> NDArray[np.int64]:
    """Characters of the texts of each row; of ``raw`` bytes."""
    lengths = raw_lengths(block["raw"])
    for name in ("code", "device", "file", "unit"):
        lengths = lengths + getattr(block.tables, name).lengths()[block[name]]
    return lengths


def raw_lengths(raw: Any) -> NDArray[np.int64]:
    """Bytes of each text."""
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.binary_length(raw), 0), np.int64)
