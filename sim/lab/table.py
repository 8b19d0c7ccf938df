"""The table that a comparison rests on: every number of every finished run, always the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from client.errors import RunError
from client.files import write_atomic
from sim.lab.cells import Cell

#: Columns of results.parquet; all but the value are its key, by which it is sorted.
SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "method": pl.String(),
        "seed": pl.Int64(),
        "phase": pl.String(),
        "scenario": pl.String(),
        "shots": pl.Int64(),
        "step": pl.Int64(),
        "round": pl.Int64(),
        "client": pl.Int64(),
        "user": pl.String(),
        "device": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
    }
)


def results(cells: Iterable[Cell], folder: Path) -> pl.DataFrame:
    """The rows of all finished cells: a mean over a client's episodes each.

    Args:
        cells: of the comparison; the unfinished are left out.
        folder: the comparison's.

    Raises:
        RunError: a finished run's table is missing or damaged.
    """
    done = sorted((c for c in cells if c.finished(folder)), key=lambda cell: (cell.dataset, cell.method, cell.seed))
    return pl.concat([SCHEMA.to_frame(), *(_rows(cell, cell.path(folder) / "metrics.parquet") for cell in done)])


def _rows(cell: Cell, path: Path) -> pl.DataFrame:
    names = {"dataset": cell.dataset, "method": cell.method, "seed": cell.seed}
    try:
        rows = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    constants = [pl.lit(value, SCHEMA[name]).alias(name) for name, value in names.items()]
    return rows.with_columns(constants).select(SCHEMA.names()).sort(SCHEMA.names()[3:-1])


def write_table(path: Path, table: pl.DataFrame) -> None:
    """A table as Parquet, in one step."""
    stream = io.BytesIO()
    table.write_parquet(stream)
    write_atomic(path, stream.getvalue())
