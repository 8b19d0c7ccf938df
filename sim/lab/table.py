"""The tables a comparison rests on: every number of every finished run, always the same bytes; and what it cost."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from metapulse.files import replace_with, write_atomic
from metapulse.server.files import read_sealed, write_sealed
from metapulse.server.folder import RunFolder
from metapulse.sim.cells import Cell
from metapulse.sim.lab.costs import run_cost

COST = "cost.json"
#: Columns of results.parquet; all but the value are its key, by which it is sorted.
SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "method": pl.String(),
        "seed": pl.Int64(),
        "fold": pl.Int64(),
        "phase": pl.String(),
        "scenario": pl.String(),
        "shots": pl.Int64(),
        "step": pl.Int64(),
        "round": pl.Int64(),
        "client": pl.Int64(),
        "user": pl.String(),
        "device": pl.String(),
        "metric": pl.String(),
        "apart": pl.String(),
        "value": pl.Float64(),
    }
)


def result_table(cells: Iterable[Cell]) -> pl.DataFrame:
    """The rows of all finished cells: a mean over a client's episodes each.

    Args:
        cells: of the comparison; the unfinished are left out.

    Raises:
        RunError: a finished run's table is missing or damaged.
    """
    parts = [_rows(cell, RunFolder(cell.path)) for cell in _finished(cells)]
    return pl.concat([SCHEMA.to_frame(), *parts])


def write_results(path: Path, cells: Iterable[Cell]) -> pl.LazyFrame:
    """``result_table`` as a Parquet file, a method's rows on a data set at a time: there may be millions in all.

    Returns:
        The rows, which are read from the file as they are asked for.

    Raises:
        RunError: a finished run's table is missing or damaged, or the file cannot be written.
    """

    def fill(stream: BinaryIO) -> None:
        with pq.ParquetWriter(stream, _arrow(SCHEMA.to_frame()).schema) as writer:
            for _, runs in groupby(_finished(cells), lambda cell: (cell.dataset, cell.method)):
                writer.write_table(_arrow(result_table(runs)))

    replace_with(path, fill)
    return pl.scan_parquet(path)


def _arrow(table: pl.DataFrame) -> pa.Table:
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())


def _rows(cell: Cell, run: RunFolder) -> pl.DataFrame:
    names = {"dataset": cell.dataset, "method": cell.method, "seed": cell.seed, "fold": cell.fold}
    rows = pl.DataFrame(run.table())
    constants = [pl.lit(value, SCHEMA[name]).alias(name) for name, value in names.items()]
    return rows.with_columns(constants).select(SCHEMA.names()).sort(SCHEMA.names()[4:-1])


#: Columns of costs.parquet: a run's training in all, all clients together (``metapulse.sim.lab.costs``).
COSTS = pl.Schema(
    {
        "dataset": pl.String(),
        "method": pl.String(),
        "seed": pl.Int64(),
        "rounds": pl.Int64(),
        "gradient_steps": pl.Float64(),
        "flops": pl.Float64(),
        "bytes_up": pl.Float64(),
        "bytes_down": pl.Float64(),
        "seconds": pl.Float64(),
    }
)


def cost_table(cells: Iterable[Cell]) -> pl.DataFrame:
    """What every finished cell cost, in the order of the results; counted once and kept in the cell's folder."""
    rows = [
        {"dataset": cell.dataset, "method": cell.method, "seed": cell.seed, **_cost(cell.path)}
        for cell in _finished(cells)
    ]
    return pl.DataFrame(rows, schema=COSTS)


def _cost(path: Path) -> dict[str, Any]:
    if not (path / COST).exists():
        write_sealed(path / COST, asdict(run_cost(path)))
    found = read_sealed(path / COST)
    return {name: found[name] for name in COSTS.names() if name in found}


def _finished(cells: Iterable[Cell]) -> list[Cell]:
    """In the order of the table."""
    return sorted((c for c in cells if c.finished), key=lambda c: (c.dataset, c.method, c.seed, c.fold))


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """A table as Parquet, in one step."""
    stream = io.BytesIO()
    table.write_parquet(stream)
    write_atomic(path, stream.getvalue())
