"""Several records or exports of one person → one record, in which it is marked which source counts when.

Every row of every input stays. The marks follow from the rows that are there, so that merging is the union of inputs:
in any order and grouping, and however often, the result is the same to the byte.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from metapulse.errors import ConfigError
from metapulse.files import replace_with
from metapulse.record.frame import DOUBTFUL, REPEATS, without
from metapulse.record.overlap import counted_shares, wish, with_source
from metapulse.record.readers.base import Options
from metapulse.record.reading import Progress, untold
from metapulse.record.restated import restated
from metapulse.record.schema import KEY, ROW_GROUP, WRITING, arrow_schema
from metapulse.record.shifted import shifted_repeats
from metapulse.record.store import import_files, metadata
from metapulse.record.tally import Tally
from metapulse.rows import Rows

COLUMNS = ("start", "end", "offset_min", "value", "code", "device", "source", "quality")


class Merged(Rows):
    """What was merged, by metric and source.

    Args:
        rows: the table.
        tally: the account of the import behind it.
    """

    def __init__(self, rows: Rows, tally: Tally) -> None:
        super().__init__(rows, ("metric", "source", "rows", "repeats", "shifted", "covered"))
        self.tally = tally


def merge_records(
    inputs: Sequence[Path],
    out: Path,
    prefer: Sequence[str] = (),
    options: Options = Options(),  # noqa: B008  # frozen
    progress: Progress = untold,
) -> Merged:
    """Merge inputs into the record at ``out``; a record that is there already is one of them.

    Args:
        inputs: records, and exports, which are imported.
        out: "person.parquet".
        prefer: parts of sources' names, the most preferred first.
        options: what the person tells about exports among the inputs.
        progress: told (file, bytes done, bytes of all).

    Returns:
        One row for each metric and source: rows, repeats, rows that another source covers; and the account.

    Raises:
        DataError: an input is missing or broken, or ``out`` is no record.
        ConfigError: a preferred source is not in the record.
    """
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        whole = Path(folder) / "person.parquet"
        if out.exists():
            metadata(out)  # what is no record is not written over
            shutil.copyfile(out, whole)
        tally = import_files(inputs, whole, options, progress)
        marks, table = _judgement(whole, prefer)
        facts = metadata(whole) | {"prefer": list(prefer)}
        replace_with(out, lambda stream: _rewrite(whole, stream, marks, facts))
    return Merged(table, tally)


def _judgement(path: Path, prefer: Sequence[str]) -> tuple[dict[str, Any], Rows]:
    """Which rows get which mark, metric by metric, so that memory is that of the largest metric; and the table."""
    import polars as pl

    scan = pl.scan_parquet(path, row_index_name="at")
    names = scan.select(pl.col("metric").unique().sort()).collect()["metric"].to_list()
    count = int(metadata(path)["tally"]["records"])
    marks = {name: np.zeros(count, bool) for name in ("covered", "shifted_repeat")}
    told, unmet = [], set(prefer)
    for name in names:
        rows = with_source(scan.filter(pl.col("metric") == name).select("at", "metric", *COLUMNS).collect())
        left = without(rows)
        again = shifted_repeats(left)
        marks["shifted_repeat"][left.filter(pl.Series(again))["at"].to_numpy()] = True
        left = without(left.filter(~pl.Series(again)), DOUBTFUL)
        once_more = restated(left)
        marks["covered"][left.filter(pl.Series(once_more))["at"].to_numpy()] = True
        left = left.filter(~pl.Series(once_more))
        marks["covered"][left.filter(pl.Series(counted_shares(left, prefer)) == 0)["at"].to_numpy()] = True
        told += _told(name, rows, marks)
        sources = rows.select("by").unique()
        unmet -= {part for part in unmet if len(sources.filter(wish([part]) == 0))}
    if unmet:
        found = ", ".join(sorted({row["source"] for row in told}))
        raise ConfigError("prefer", ", ".join(sorted(unmet)), f"a part of the name of one of the sources: {found}")
    return marks, Rows(told)


def _told(metric: str, rows: Any, marks: dict[str, Any]) -> list[dict[str, Any]]:
    import polars as pl

    at = rows["at"].to_numpy()
    table = rows.select(
        source=pl.when(pl.col("by") == "").then(pl.lit("unknown")).otherwise("by"),
        repeats=pl.col("quality").list.set_intersection(list(REPEATS)).list.len() > 0,
        shifted=pl.Series(marks["shifted_repeat"][at]),
        covered=pl.Series(marks["covered"][at]),
    )
    sums = [pl.len().alias("rows"), *(pl.col(name).sum() for name in ("repeats", "shifted", "covered"))]
    return [{"metric": metric} | row for row in table.group_by("source").agg(sums).sort("source").to_dicts()]


def _rewrite(path: Path, stream: BinaryIO, marks: dict[str, Any], facts: dict[str, Any]) -> None:
    """The same rows with their marks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with pq.ParquetFile(path) as file, pq.ParquetWriter(stream, schema, **WRITING) as writer:
        done = 0
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, use_threads=False)
            quality = table.column("quality").to_pylist()
            for name, rows in marks.items():
                for at in np.flatnonzero(rows[done : done + len(table)]):
                    quality[at] = sorted([*quality[at], name])
            done += len(table)
            columns = {name: table.column(name) for name in schema.names}
            columns["quality"] = pa.array(quality, schema.field("quality").type)
            writer.write_table(pa.table(columns).cast(schema), ROW_GROUP)
        writer.add_key_value_metadata({KEY.decode(): json.dumps(facts, sort_keys=True, ensure_ascii=False)})
