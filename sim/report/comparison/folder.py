"""The data of a comparison's report, read from its folder alone."""

from __future__ import annotations

import dataclasses
import math
import types
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import polars as pl

from metapulse.errors import RunError
from metapulse.server.files import read_sealed, write_sealed
from metapulse.sim.lab.comparison import Comparison

TABLES = ("results", "costs")


@dataclass(frozen=True)
class CellState:
    """One training run of the comparison.

    Args:
        seed: of training.
        key: its folder under ``cells``.
        failure: why it was not finished, one line; "" where nothing is known.
        finished: whether it has a summary.
    """

    dataset: str
    method: str
    seed: int
    key: str
    config: dict[str, Any]
    failure: str
    finished: bool


@dataclass(frozen=True)
class ComparisonFolder:
    """A comparison, read from its folder.

    Args:
        comparison: scores, pairs, ranks, verdict.
        results: a row per client and number, as in results.parquet; read from there as they are asked for.
        costs: a row per run, as in costs.parquet.
        cells: training runs, trials of tuning left out.
        tuning: what tuning tried and chose, as in tuning.json; empty where nothing was tuned.
    """

    comparison: Comparison
    results: pl.LazyFrame
    costs: pl.DataFrame
    cells: tuple[CellState, ...]
    tuning: list[dict[str, Any]]

    def configs(self, dataset: str) -> dict[str, dict[str, Any]]:
        """Method → its resolved configuration on a data set, by the first seed."""
        mine = [cell for cell in reversed(self.cells) if cell.dataset == dataset]
        found = {cell.method: cell.config for cell in mine}
        return {method: found[method] for method in self.comparison.methods if method in found}


def read_comparison_folder(folder: Path) -> ComparisonFolder:
    """Everything a report needs of a comparison's folder.

    Raises:
        RunError: a file is missing or damaged.
    """
    comparison = read_comparison(folder / "comparison.json")
    told = read_sealed(folder / "comparison.json").get("tables", {})
    results, costs = (_known_table(folder / f"{name}.parquet", told.get(name, "")) for name in TABLES)
    try:
        tuning = read_sealed(folder / "tuning.json")["studies"] if (folder / "tuning.json").exists() else []
        cells = tuple(_state(folder, entry) for entry in read_sealed(folder / "spec.json")["cells"])
    except (KeyError, TypeError):
        raise RunError(f"{folder / 'spec.json'} is damaged: it lacks what a report needs") from None
    return ComparisonFolder(comparison, results, costs.collect(), cells, tuning)


def _state(folder: Path, entry: dict[str, Any]) -> CellState:
    told = {key: value for key, value in entry.items() if key != "inputs"}  # part of the key already
    return CellState(**told, finished=(folder / "cells" / entry["key"] / "summary.json").exists())


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """comparison.json, sealed, with the digests of the tables that it was made of and that lie beside it already."""
    tables = {name: _digest(folder / f"{name}.parquet") for name in TABLES}
    write_sealed(folder / "comparison.json", {**dataclasses.asdict(comparison), "tables": tables})


def read_comparison(path: Path) -> Comparison:
    """The comparison that a JSON file holds.

    Raises:
        RunError: the file is missing or damaged.
    """
    value = read_sealed(path)
    try:
        comparison: Comparison = _typed(Comparison, value)
        return comparison
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged: it lacks what a report needs") from None


def _digest(path: Path) -> str:
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None


def _known_table(path: Path, told: str) -> pl.LazyFrame:
    table = scan_parquet(path)
    if _digest(path) != told:
        raise RunError(f"{path} is not the table that comparison.json was made of; run the comparison again")
    return table


def scan_parquet(path: Path) -> pl.LazyFrame:
    """A Parquet file, of which what is asked for is read.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        table = pl.scan_parquet(path)
        table.collect_schema()
        return table
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _typed(hint: Any, value: Any) -> Any:
    """JSON's lists and tables as the tuples and dataclasses they were; a number JSON has no word for is NaN."""
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        there = [f.name for f in dataclasses.fields(hint) if f.name in value or f.default is dataclasses.MISSING]
        return hint(**{name: _typed(hints[name], value[name]) for name in there})  # type: ignore[operator]
    if origin is tuple:
        return tuple(_typed(inner[0], item) for item in value)
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(inner[0], value)
    return math.nan if hint is float and value is None else value
