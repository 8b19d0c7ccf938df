"""Sorted rows on disk, in pieces that fit into memory, each with tables of its own for its texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.record.columns import FIELDS, raw_lengths, taken
from metapulse.record.schema import Device
from metapulse.record.texts import CODED, Block, Texts

PIECE = 8_192  # rows that are read at once
PIECE_TEXT = 2**18  # characters of their texts, in the same way
LIGHT = 2**22  # characters of the texts of a run that are not weighed row by row
NOTHING, IS, PART = "", "=", "\x1f"  # no text, a text follows, the next part: control characters are in no name


class RunFile:
    """A run that is read piece by piece, once.

    Args:
        path: of the file.
        pieces: how many are in it.
    """

    def __init__(self, path: Path, pieces: int) -> None:
        self.path, self._left = path, pieces
        self._reader: Any = None
        self._words: dict[str, Any] = {}
        self._tables = Texts()

    @property
    def ended(self) -> bool:
        """Whether all has been read."""
        return not self._left

    def read(self) -> Block:
        """The next piece."""
        import pyarrow as pa

        if self._reader is None:
            self._reader = pa.ipc.open_stream(pa.OSFile(str(self.path)))
        batch = self._reader.read_next_batch()
        self._left -= 1
        words = {name: batch.column(name).dictionary for name in CODED}
        if not all(name in self._words and words[name].equals(self._words[name]) for name in CODED):
            self._words, self._tables = words, _tables(words)
        columns = {name: (batch.column(name).indices if name in CODED else batch.column(name)) for name, _ in FIELDS}
        arrays: dict[str, Any] = {name: column.to_numpy() for name, column in columns.items()}
        arrays["quality"] = arrays["quality"].copy()  # in which marks are put
        return Block(self._tables, arrays | {"raw": batch.column("raw")})


def write_run(block: Block, folder: Path, parts: int = 1) -> RunFile:
    """Write a block, which is in order, to a file of its own; in pieces of so many times less than usual."""
    import pyarrow as pa

    fields = [(name, pa.dictionary(pa.int32(), pa.string()) if name in CODED else kind) for name, kind in FIELDS]
    schema = pa.schema([(name, pa.from_numpy_dtype(k) if isinstance(k, type) else k) for name, k in fields])
    schema = schema.append(pa.field("raw", pa.string()))
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    count = 0
    with (
        tempfile.NamedTemporaryFile(dir=folder, suffix=".run", delete=False) as stream,
        pa.ipc.new_stream(stream, schema, options=options) as writer,
    ):
        for piece in _pieces(block, max(PIECE // parts, 1)):
            writer.write_batch(pa.record_batch(_arrays(piece), schema=schema))
            count += 1
    pa.default_memory_pool().release_unused()
    return RunFile(Path(stream.name), count)


def _pieces(block: Block, most: int) -> Iterator[Block]:
    """Parts of a block that are light enough; where there is little text, of as many rows as may be."""
    if block["raw"].nbytes + block.tables.characters <= LIGHT + 4 * block.rows:
        yield from (taken(block, slice(at, at + most)) for at in range(0, block.rows, most))
        return
    weight = raw_lengths(block["raw"])
    for name in CODED:  # each text once in a piece; in the first row of the block that has it, nearly so
        used, first = np.unique(block[name], return_index=True)
        np.add.at(weight, first, getattr(block.tables, name).lengths()[used])
    behind, at = np.cumsum(weight), 0
    while at < block.rows:
        before = behind[at - 1] if at else 0
        end = min(int(np.searchsorted(behind, before + PIECE_TEXT, "right")), at + most, block.rows)
        yield taken(block, slice(at, max(end, at + 1)))
        at = max(end, at + 1)


def _arrays(block: Block) -> list[Any]:
    """Columns for Arrow; of the texts those that the block has, where there are many others."""
    import pyarrow as pa

    arrays = []
    for name, _ in FIELDS:
        column = block[name]
        if name in CODED:
            keys = list(getattr(block.tables, name))
            if len(keys) > 256:
                used, column = np.unique(column, return_inverse=True)
                keys = [keys[number] for number in used]
            words = pa.array([_word(name, key) for key in keys], pa.string())
            column = pa.DictionaryArray.from_arrays(pa.array(column.astype(np.int32, copy=False)), words)
        else:
            column = pa.array(column)
        arrays.append(column)
    return [*arrays, block["raw"]]


def _word(name: str, key: Any) -> str:
    """A key of a table as a text."""
    if name == "device":
        return PART.join(NOTHING if part is None else IS + part for part in key)
    if name == "input":
        return f"{key[0]}{PART}{key[1]}"
    if name == "quality":
        return " ".join(key)
    return NOTHING if key is None else IS + key


def _key(name: str, word: str) -> Any:
    """What ``_word`` made a text of."""
    if name == "device":
        return Device(*(part[1:] if part else None for part in word.split(PART)))
    if name == "input":
        number, account = word.split(PART, 1)
        return int(number), account
    if name == "quality":
        return tuple(word.split())
    return word[1:] if word else None


def _tables(words: dict[str, Any]) -> Texts:
    tables = Texts()
    for name in CODED:
        table = getattr(tables, name)
        for word in words[name].to_pylist():
            table[_key(name, word)]  # takes it
    return tables
