"""Any number of rows into canonical order in bounded memory: sorted runs on disk, merged; repeats are found.

A row is the row that it was by what it says, not by where it stands: by its time, metric, value, code and device, by
how often the same input has said so before, and by the account that its file is of (``Lineage``). So a later export of
an account, whose rows have moved, adds only what is new; a copy adds nothing; and repeats within one file stay.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.record.columns import FIELDS, NO_OFFSET, Block, Numbered, Tables, joined, taken
from metapulse.record.lineage import Lineage
from metapulse.record.schema import MAPPED, Device

RUN = 200_000  # rows that are sorted in memory
PIECE = 8_192  # rows of a run that are in memory while runs are merged


class Runs:
    """Takes blocks in any order and gives them back in the record's.

    Args:
        folder: where runs are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks: list[Block] = []
        self._waiting = 0
        self._runs: list[Path] = []

    def add(self, block: Block) -> None:
        """Some rows more."""
        self._blocks.append(block)
        self._waiting += len(block["start"])
        if self._waiting >= RUN:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        block = joined(self._blocks)
        self._blocks, self._waiting = [], 0
        block = taken(block, np.argsort(block["start"], kind="stable"))
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".run", delete=False) as stream:
            pq.write_table(pa.table(block), stream, row_group_size=PIECE, compression="lz4", use_dictionary=False)
        self._runs.append(Path(stream.name))

    def merged(self, tables: Tables, lineage: Lineage) -> Iterator[Block]:
        """Every row, in order; rows of one ``start`` are in one block. May be called once."""
        if not self._runs:  # all of it is in memory
            if self._waiting:
                yield Order(tables, lineage).finished(joined(self._blocks))
            return
        if self._waiting:
            self._write()
        order = Order(tables, lineage)
        streams = [_Stream(path) for path in self._runs]
        while streams := [stream for stream in streams if stream.fill()]:
            bound = min((s.last for s in streams if not s.ended), default=None)
            parts = [part for stream in streams if len((part := stream.until(bound))["start"])]
            if parts:
                yield order.finished(joined(parts))
            else:  # one instant fills all that the stream has in memory
                next(s for s in streams if not s.ended and s.last == bound).read()


class _Stream:
    """A run, read piece by piece."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)
        self._next = 0
        self._pieces: list[Block] = []  # none of them empty

    @property
    def ended(self) -> bool:
        return bool(self._next == self._file.num_row_groups)

    @property
    def last(self) -> int:
        return int(self._pieces[-1]["start"][-1])

    def fill(self) -> bool:
        """Have rows in memory; False if there are none left."""
        if not self._pieces:
            if self.ended:
                return False
            self.read()
        return True

    def read(self) -> None:
        """One piece more."""
        table = self._file.read_row_group(self._next)
        self._next += 1
        piece = {name: table.column(name).to_numpy() for name, _ in FIELDS}
        piece["raw"] = np.array(table.column("raw").to_pylist(), object)
        self._pieces.append(piece)

    def until(self, bound: int | None) -> Block:
        """Take the rows before ``bound``, of those in memory; None: all."""
        if bound is not None and self._pieces[0]["start"][0] >= bound:
            return taken(self._pieces[0], slice(0))
        block, self._pieces = joined(self._pieces), []
        cut = len(block["start"]) if bound is None else int(np.searchsorted(block["start"], bound))
        if cut < len(block["start"]):
            self._pieces.append(taken(block, slice(cut, None)))
        return taken(block, slice(cut))


class Order:
    """The record's order, and the repeats in it.

    Args:
        tables: complete: every row has been read.
        lineage: which files are of one account, with all that is known of copies.
    """

    def __init__(self, tables: Tables, lineage: Lineage | None = None) -> None:
        self.tables = tables
        self.devices = list(tables.device)
        series, lineage = Numbered[str](), lineage or Lineage()
        self.series = np.array([series[lineage.of(file)] for file in tables.file], np.int64)
        self.ranks: dict[str, Any] = {
            "code": tables.code.ranks(lambda code: code or ""),
            "device": _device_ranks(self.devices),
            "file": tables.file.ranks(),
            "unit": tables.unit.ranks(),
        }

    def finished(self, block: Block) -> Block:
        """In order, every row once, repeats marked. The block has all rows of each of its starts."""
        tables = self.tables
        tables.mark(block, tables.having(block, "duplicate_of"), without="duplicate_of")
        order = np.lexsort([block["start"], *self._keys(block)][::-1])
        for name in block:  # column by column, so that no row is in memory twice
            block[name] = block[name][order]
        mapped = tables.having(block, MAPPED)  # which repeat no measurement, nor are repeated by one
        same = _same_as_before(block, "start", "metric", "end", "value", "code")
        same[1:] &= mapped[1:] == mapped[:-1]
        again = self._again(block, same & _same_as_before(block, "device"))
        if again.any():
            block, same = taken(block, ~again), same[~again]
        if same.any():
            tables.mark(block, self._repeats(block, same), "duplicate_of")
        return block

    def _keys(self, block: Block) -> Iterator[Any]:
        """By what rows of one ``start`` are ordered, where they differ in it."""
        quality = Numbered(self.tables.quality).ranks()
        for name in ("metric", "end", "value", "code", "device", "file", "row", "quality", "offset_min", "unit"):
            column = block[name]
            if name == "device" and (mapped := self.tables.having(block, MAPPED)).any():
                yield mapped
            if (column != column[:1]).any():
                if name == "offset_min":
                    yield column == NO_OFFSET  # of equal rows the one stays that knows more
                ranks = quality if name == "quality" else self.ranks.get(name)
                yield column if ranks is None else ranks[column]

    def _again(self, block: Block, same: Any) -> Any:
        """Rows that are there already: the n-th of an input is the n-th of every other that says the same.

        Of each n-th the first in the record's order stays. So what an account says is a list, and reading more of it
        takes the lesser of two lists, place by place: in any order and grouping, and however often. Of copies the rows
        are those of the first name. A record is as many inputs as it knows accounts, each of them one such list, so
        that a copy which links two of them makes one list of both.
        """
        again = np.zeros(len(same), bool)
        at = np.flatnonzero(same | np.append(same[1:], False))
        group, series = np.cumsum(~same)[at], self.series[block["file"][at]]
        input, file, row = (block[name][at] for name in ("input", "file", "row"))
        order = np.lexsort([at, row, self.ranks["file"][file], input, series, group])
        apart = _differs(group[order], series[order], input[order])
        twice = ~(apart | _differs(file[order], row[order]))  # the same row of one input
        order, apart = order[~twice], apart[~twice]
        again[at] = True
        first = np.flatnonzero(apart)
        number = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
        by = np.lexsort([at[order], number, series[order], group[order]])
        order, number = order[by], number[by]
        stays = _differs(group[order], series[order], number)
        again[at[order[stays]]] = False
        return again

    def _repeats(self, block: Block, same: Any) -> Any:
        """Rows that repeat one before them: same time, metric, value and code, from a device that may be the same."""
        repeats = np.zeros(len(same), bool)
        firsts: list[Device] = []
        for at in np.flatnonzero(same | np.append(same[1:], False)):
            device = _lasting(self.devices[block["device"][at]])
            if not same[at]:
                firsts = [device]
            elif any(_may_be_one(device, first) for first in firsts):
                repeats[at] = True
            else:
                firsts.append(device)
        return repeats


def _same_as_before(block: Block, *names: str) -> Any:
    """Rows equal to the one before them in these columns; two missing values are equal."""
    same = np.ones(len(block["start"]), bool)
    same[:1] = False
    for name in names:
        now, before = block[name][1:], block[name][:-1]
        same[1:] &= (now == before) | ((now != now) & (before != before))
    return same


def _differs(*columns: Any) -> Any:
    """Where a row is not as the one before it."""
    apart = np.zeros(len(columns[0]), bool)
    apart[:1] = True
    for column in columns:
        apart[1:] |= column[1:] != column[:-1]
    return apart


@lru_cache(4096)
def _lasting(device: Device) -> Device:
    """A device without what an update changes: firmware, and the version in the name of its app."""
    app = device.app and (re.sub(r"[\s(v]*\d+(\.\d+)+\)?$", "", device.app) or device.app)
    return device._replace(firmware=None, app=app)


def _device_ranks(devices: Sequence[Device]) -> Any:
    """Rank of each device: those of which more parts are known first, then by the parts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {"unknown": pa.array([sum(part is None for part in device) for device in devices], pa.int8())}
    for at, name in enumerate(Device._fields):
        columns[name] = pa.array([device[at] or "" for device in devices], pa.string())
    order = pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in columns])
    ranks = np.empty(len(devices), np.int64)
    ranks[order.to_numpy()] = np.arange(len(devices))
    return ranks


def _may_be_one(one: Device, other: Device) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))
