"""What a recipe makes of rows that went through a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metapulse.data import Samples, check_samples
from metapulse.record.clock import DAY
from metapulse.record.recipes import Taken, make_recipe, take_record
from metapulse.record.recipes.base import MetricRows, device_rows
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally

DAY_0 = 19_800 * DAY  # 2024-03-18, a Monday
WATCH = Device("Acme", "Watch 3")


@contextmanager
def record(rows: Sequence[Row]) -> Iterator[Path]:
    """A record of rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "person.parquet"
        write_rows([row._replace(row=number) for number, row in enumerate(rows)], path, FileTally("test", "test"))
        yield path


def taken(rows: Sequence[Row], recipe: Any) -> dict[str, Taken]:
    """What a recipe makes of rows that went through a record."""
    with record(rows) as path:
        return take_record(path, make_recipe(recipe))


def rows_of(rows: Sequence[Row], recipe: Any) -> dict[str, MetricRows]:
    """The only device's rows by metric, as a recipe gets them."""
    with record(rows) as path:
        (found,) = device_rows(path, make_recipe(recipe))[0].values()
    return found


def samples(rows: Sequence[Row], recipe: Any) -> Samples:
    """Of the only device."""
    (made,) = taken(rows, recipe).values()
    assert made.samples is not None, made.lacks
    return check_samples(made.samples, make_recipe(recipe).task, "test")
