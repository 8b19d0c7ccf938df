"""metrics.parquet: a row per client and number, and a digest of all rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from metapulse.errors import RunError
from metapulse.files import write_atomic
from metapulse.server.metatest import Row
from metapulse.strategies.replies import first_line

DIGEST = b"metapulse.digest"  # in the file's own metadata
SCHEMA = pa.schema(
    [
        ("round", pa.int64()),
        ("phase", pa.string()),
        ("scenario", pa.string()),
        ("client", pa.int64()),
        ("user", pa.string()),
        ("device", pa.string()),
        ("shots", pa.int64()),
        ("step", pa.int64()),
        ("metric", pa.string()),
        ("apart", pa.string()),
        ("value", pa.float64()),
    ]
)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def table_digest(table: pa.Table) -> str:
    """A name for the rows, whatever the file's encoding."""
    told = blake2b(digest_size=16)
    for name in SCHEMA.names:
        column = table[name]
        if pa.types.is_string(column.type):
            told.update(json.dumps(column.to_pylist()).encode())
        else:
            told.update(column.to_numpy().tobytes())
    return told.hexdigest()


def write_table(path: Path, table: pa.Table) -> str:
    """Replace the file; the digest of its rows."""
    found = table_digest(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({DIGEST: found}), sink)
    write_atomic(path, sink.getvalue().to_pybytes())
    return found


def read_table(path: Path) -> pa.Table:
    """All rows.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        table = pq.read_table(pa.BufferReader(content), schema=SCHEMA)
        told = (pq.read_schema(pa.BufferReader(content)).metadata or {}).get(DIGEST, b"")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{path} cannot be read: {first_line(str(error))}") from None
    if table_digest(table).encode() != told:
        raise RunError(f"{path} is damaged: the checksum of its rows does not fit")
    return table
