"""A record out again, as a standard has it: ``metapulse record export``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from metapulse.errors import ConfigError
from metapulse.files import replace_with
from metapulse.record.overwrite import check_not_an_input
from metapulse.record.reading import Progress, untold
from metapulse.record.writers import fhir, openmhealth, own
from metapulse.record.writers.base import LINES, Exported, Stored

WRITERS = {writer.name: writer for writer in (fhir.WRITER, openmhealth.WRITER, own.WRITER)}
PIECES = 1024  # of text that are written at once


def export_record(record: Path, out: Path, to: str, progress: Progress = untold, mapped: bool = False) -> Exported:
    """Write a record as a file of another format. The same record gives the same bytes.

    Args:
        record: "person.parquet".
        out: the file. ``.ndjson`` and ``.jsonl``: an object a line; ``.zip`` after that or after any: packed.
        to: a name of ``WRITERS``.
        progress: told (file, bytes done, bytes of all).
        mapped: with the rows that were mapped from another device's, marked.

    Returns:
        What was written, what was left out, and what the standard alone could not say.

    Raises:
        ConfigError: no such format; ``out`` is the record, a file that it was read from, a vendor's export, or named as
            another format is.
        DataError: ``record`` is none.
    """
    if to not in WRITERS:
        raise ConfigError("to", to, f"{', '.join(sorted(WRITERS)[:-1])} or {max(WRITERS)}")
    check_not_an_input(out, record)
    name = out.stem if (packed := out.suffix.lower() == ".zip") else out.name
    others = {suffix for writer in WRITERS.values() for suffix in writer.suffixes} - {*WRITERS[to].suffixes}
    if Path(name).suffix.lower() in others:
        raise ConfigError("out", str(out), f"a file named {' or '.join(WRITERS[to].suffixes)}, as {to} is")
    exported = Exported()
    stored = Stored(record, exported, progress, mapped)
    pieces = WRITERS[to].write(stored, name.lower().endswith(LINES))

    def fill(stream: BinaryIO) -> None:
        if not packed:
            return _pour(pieces, stream.write)
        inner = ZipInfo(name)  # of 1980: a clock would make other bytes of it each time
        inner.compress_type = ZIP_DEFLATED
        with ZipFile(stream, "w") as archive, archive.open(inner, "w", force_zip64=True) as file:
            _pour(pieces, file.write)

    replace_with(out, fill)
    return exported


def _pour(pieces: Iterator[str], write: Callable[[bytes], object]) -> None:
    while part := "".join(islice(pieces, PIECES)):
        write(part.encode())
