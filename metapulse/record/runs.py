"""Any number of rows into the record's order in bounded memory: sorted runs on disk, merged; repeats are found.

A run is written when it has so many rows, or so much text, and is read again piece by piece; each piece has tables of
its own for its texts (``run_files.py``). A single instant that has more rows than fit is sorted by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.record.columns import Tables, joined, taken
from metapulse.record.lineage import Lineage
from metapulse.record.repeats import Carried, known_again, ordered_block, place
from metapulse.record.run_files import PIECE, RunFile, write_run
from metapulse.record.texts import Block, Texts

RUN = 200_000  # rows that are sorted in memory
RUN_TEXT = 2**24  # characters of their texts, in the same way
ENTRY = 256  # characters that a text of a table counts besides its own
BLOCKS = 256  # that wait; as one they take less
MANY = 8  # pieces of one instant besides the first of each run: as many rows as are sorted by themselves
PARTS = 4  # in which pieces of such an instant are read: what they say of devices stands beside them
INSTANT = MANY * PIECE  # rows


class Waiting:
    """Blocks that wait until they are a run.

    Args:
        folder: where runs are written.
        rows: of a run at most.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.most = folder, rows
        self.blocks: list[Block] = []
        self.rows = self.text = self.weighed = 0
        self.tables: Texts | None = None  # of the last block, which have been weighed

    def add(self, block: Block) -> None:
        """Some rows more."""
        weight = block.tables.characters + ENTRY * block.tables.entries
        self.text += weight - (self.weighed if block.tables is self.tables else 0)
        self.tables, self.weighed = block.tables, weight
        self.blocks.append(block)
        self.rows += block.rows
        self.text += block["raw"].nbytes - 4 * block.rows
        if len(self.blocks) > BLOCKS:
            self.blocks = [joined(self.blocks)]

    @property
    def full(self) -> bool:
        """Whether they are to be written."""
        return self.rows >= self.most or self.text >= RUN_TEXT

    def taken(self) -> Block:
        """All of them, and none are left."""
        block = joined(self.blocks)
        self.blocks, self.rows, self.text, self.weighed, self.tables = [], 0, 0, 0, None
        return block


class Runs:
    """Takes blocks in any order and gives them back in the record's.

    Args:
        folder: where runs are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting = Waiting(folder, RUN)
        self._runs: list[RunFile] = []
        self._tables = Tables()

    def tables(self) -> Tables:
        """Tables for the texts of the rows that come next."""
        if self._tables.full:
            self._tables = Tables()
        return self._tables

    def add(self, block: Block) -> None:
        """Some rows more."""
        if block.rows:
            self._waiting.add(block)
        if self._waiting.full:
            self._write()

    def _write(self) -> None:
        block = self._waiting.taken()
        self._runs.append(write_run(taken(block, np.argsort(block["start"], kind="stable")), self.folder))

    def merged(self, lineage: Lineage) -> Iterator[Block]:
        """Every row, in order, repeats marked. May be called once."""
        if not self._runs:  # all of it is in memory
            if self._waiting.rows:
                yield known_again(ordered_block(self._waiting.taken()), lineage)
            return
        if self._waiting.rows:
            self._write()
        streams = [_Stream(run) for run in self._runs]
        while streams := [stream for stream in streams if stream.fill()]:
            bound = min((s.last for s in streams if not s.ended), default=None)
            parts = [part for stream in streams if (part := stream.until(bound)).rows]
            if parts:
                yield known_again(ordered_block(joined(parts)), lineage)
            elif sum(s.pieces for s in streams) < MANY + len(streams):  # an instant fills a piece
                next(s for s in streams if not s.ended and s.last == bound).read()
            else:
                assert bound is not None
                yield from _instant(streams, bound, self.folder, lineage)


def _instant(streams: list[_Stream], start: int, folder: Path, lineage: Lineage) -> Iterator[Block]:
    """All rows of a start of which there are too many to be in memory."""
    waiting, runs = Waiting(folder, INSTANT), list[RunFile]()
    for block in (block for stream in streams for block in stream.all_of(start)):
        waiting.add(block)
        if waiting.full:
            runs.append(write_run(ordered_block(waiting.taken()), folder, PARTS))
    if waiting.rows:
        runs.append(write_run(ordered_block(waiting.taken()), folder, PARTS))
    ordered, carried = [_Stream(run) for run in runs], Carried()
    while ordered := [stream for stream in ordered if stream.fill()]:
        bound = min((place(s.end, -1) for s in ordered if not s.ended), default=None)
        if parts := [part for stream in ordered if (part := stream.up_to(bound)).rows]:
            yield known_again(ordered_block(joined(parts)), lineage, carried)


class _Stream:
    """A run, read piece by piece."""

    def __init__(self, run: RunFile) -> None:
        self._run = run
        self._pieces: list[Block] = []  # none of them empty

    @property
    def ended(self) -> bool:
        return self._run.ended

    @property
    def pieces(self) -> int:
        """In memory."""
        return len(self._pieces)

    @property
    def end(self) -> Block:
        """The last piece in memory."""
        return self._pieces[-1]

    @property
    def last(self) -> int:
        return int(self.end["start"][-1])

    def fill(self) -> bool:
        """Have rows in memory; False if there are none left."""
        if not self._pieces:
            if self.ended:
                return False
            self.read()
        return True

    def read(self) -> None:
        """One piece more."""
        self._pieces.append(self._run.read())

    def until(self, bound: int | None) -> Block:
        """Take the rows before ``bound``, of those in memory; None: all."""
        if bound is not None and self._pieces[0]["start"][0] >= bound:
            return taken(self._pieces[0], slice(0))
        block = self._whole()
        return self._cut(block, block.rows if bound is None else int(np.searchsorted(block["start"], bound)))

    def all_of(self, start: int) -> Iterator[Block]:
        """Take the rows of a start that is the first here, or none; piece by piece."""
        while self.fill():
            block = self._whole()
            block = self._cut(block, int(np.searchsorted(block["start"], start, "right")))
            if block.rows:
                yield block
            if self._pieces:
                return

    def up_to(self, bound: tuple[Any, ...] | None) -> Block:
        """Take the rows that belong before ``bound`` or to it, of those in memory, which are of one start."""
        block = self._whole()
        rows = range(block.rows)
        return self._cut(
            block, len(rows) if bound is None else bisect_right(rows, bound, key=lambda n: place(block, n))
        )

    def _whole(self) -> Block:
        block, self._pieces = joined(self._pieces), []
        return block

    def _cut(self, block: Block, at: int) -> Block:
        if at < block.rows:
            self._pieces.append(taken(block, slice(at, None)))
        return taken(block, slice(at))
