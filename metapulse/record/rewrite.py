"""A record written anew with its rows changed: what corrects clocks and takes mapped rows out goes through here."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from metapulse.errors import ConfigError
from metapulse.files import replace_with
from metapulse.record.frame import undamaged
from metapulse.record.mapped import FORMAT
from metapulse.record.merge import merge_records
from metapulse.record.schema import KEY, arrow_schema
from metapulse.record.store import import_files, metadata
from metapulse.record.tally import Tally

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame


def rewrite_record(
    path: Path,
    out: Path,
    change: Callable[[Frame], Frame] = lambda rows: rows,
    without_formats: Collection[str] = (),
    more: Collection[Path] = (),
) -> None:
    """A record with its rows changed, in order again; merged again if it was.

    Args:
        path: the record.
        out: where the changed one goes; may be the record.
        change: a row group → the same columns.
        without_formats: of files whose accounts go, because ``change`` takes their rows out.
        more: records that are added.

    Raises:
        ConfigError: at ``out`` is a record of an export that the new one would not hold.
        DataError: ``path`` is no record, or what is at ``out`` is none.
    """
    facts = metadata(path)
    if out.exists():
        _check_no_more(metadata(out), facts, out)
    kept = [one for one in facts["tally"]["files"] if one["format"] not in without_formats]
    told = facts | {"tally": facts["tally"] | {"files": kept}}
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        changed, whole = Path(folder) / "changed.parquet", Path(folder) / "person.parquet"
        replace_with(changed, lambda stream: _fill(path, stream, change, told))
        if "prefer" in facts:
            merge_records([changed, *more], whole, facts["prefer"])
        else:
            import_files([changed, *more], whole)
        with whole.open("rb") as made:
            replace_with(out, lambda stream: shutil.copyfileobj(made, stream))


def _check_no_more(there: dict[str, Any], facts: dict[str, Any], out: Path) -> None:
    """Refuse to write over a record that was read from more than what is written: it may be another person's."""
    held, told = Tally.of(there["tally"]).files, Tally.of(facts["tally"]).files
    lost = [one.file for key, one in held.items() if one.format not in ("", FORMAT) and key not in told]
    if lost:
        raise ConfigError("out", str(out), f"a new file, or a record of the same exports, not {min(lost)}")


def _fill(path: Path, stream: BinaryIO, change: Callable[[Frame], Frame], facts: dict[str, Any]) -> None:
    import polars as pl
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with undamaged(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    with file, pq.ParquetWriter(stream, schema) as writer:
        for number in range(file.num_row_groups):
            with undamaged(path):
                table = pl.from_arrow(file.read_row_group(number, use_threads=False))
            assert isinstance(table, pl.DataFrame)
            writer.write_table(change(table).to_arrow().select(schema.names).cast(schema))
        writer.add_key_value_metadata({KEY.decode(): json.dumps(facts)})
