"""A record as a table in memory: what everything that looks at a record begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from metapulse.errors import DataError
from metapulse.record.schema import MAPPED, check_version
from metapulse.record.store import metadata

if TYPE_CHECKING:
    import polars as pl

BATCH = 16_384  # rows
#: Marks of rows that say again what others say; what is left is counted once.
REPEATS = ("duplicate_of", "outdated", "shifted_repeat", "superseded", MAPPED)
#: Marks of values that are no measurements to compute with: out of range, not worn, a sensor's error, a wrong stamp.
DOUBTFUL = ("implausible", "not_worn_suspected", "sensor_error", "time_implausible", "unit_unknown")


def load_record(path: Path) -> pl.DataFrame:
    """The rows of ``person.parquet``, as schema.py describes them, in the record's order.

    Args:
        path: the record.

    Raises:
        DataError: no record, or one of another schema version.
    """
    import polars as pl

    check_version(metadata(path).get("version"), str(path))
    with undamaged(path):
        check_pages(path)
        return pl.read_parquet(path)


def check_pages(path: Path) -> None:
    """Read all of a record once, in bounded memory, for its checksums: polars does not look at them.

    Raises:
        OSError: a page is not what was written.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for _ in file.iter_batches(BATCH):
            pass


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """While a record is read: what is wrong with the file is one line that names it.

    Raises:
        DataError: its bytes are not those that were written.
    """
    import polars as pl
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: a damaged record ({' '.join(str(error).split())[:200]})") from None


def without(rows: pl.DataFrame, marks: tuple[str, ...] = REPEATS) -> pl.DataFrame:
    """The rows that carry none of these marks.

    Args:
        rows: of a record.
        marks: words of ``MARKS``; by default those of repeats.
    """
    import polars as pl

    return rows.filter(pl.col("quality").list.set_intersection(list(marks)).list.len() == 0)
