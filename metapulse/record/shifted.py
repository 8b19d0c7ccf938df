"""Exports of one account whose stamps are all off by the same time: another zone, whole seconds, cut-off fractions.

Six rows in a row with the same values and the same seconds between them are a fingerprint that a shift does not change.
Where many fingerprints of two files agree on one shift, the rows in them are repeats.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import US
from metapulse.record.overlap import IDENTITY

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

LONG = 6  # rows of a fingerprint
CHANGES = 2  # of value within one, at least: zeros in a row are no evidence
COMMON = 8  # a fingerprint that is there more often is no evidence, and would make too many pairs
VOTES = 12  # fingerprints that have to agree on a shift
FARTHEST_S = 22 * 3600  # between clocks; what a person does by the clock comes again after a day, or one of 23 hours


def shifted_repeats(rows: Frame) -> NDArray[np.bool_]:
    """Which rows repeat rows of another file at another time.

    Of two files the repeat is the one that assumed its zone, else the one of the later name.

    Args:
        rows: of one metric of a record, without repeats.
    """
    import polars as pl

    found = np.zeros(len(rows), bool)
    device = pl.struct(pl.col("device").struct.field(name) for name in IDENTITY)
    second = pl.col("start").dt.epoch("us") // US
    table = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("at"),
        pl.col("source").struct.field("file"),
        device.alias("device"),
        second.alias("second"),
        pl.struct("value", "code", pl.col("end").dt.epoch("us") // US - second).hash().alias("word"),
        pl.col("quality").list.contains("zone_assumed").alias("assumed"),
    )
    if table["file"].n_unique() < 2:
        return found
    table = table.sort("file", "device", "second", "word", "at")
    files = table.group_by("file").agg(pl.col("assumed").mean()).sort("assumed", "file").with_row_index("rank")
    pairs = _pairs(_fingerprints(table).join(files.select("file", "rank"), on="file"))
    votes = pairs.group_by("rank", "rank_right", "shift").agg(pl.col("row_right"), votes=pl.len())
    for start in votes.filter(pl.col("votes") >= VOTES)["row_right"].explode().unique().to_list():
        found[table["at"].slice(start, LONG).to_numpy()] = True
    return found


def _fingerprints(table: Frame) -> Frame:
    """(file, device, second, row, print) of every six rows of one device in one file."""
    import polars as pl

    def ahead(name: str, by: int) -> pl.Expr:
        return pl.col(name).shift(-by).over("file", "device", order_by="row")

    table = table.with_row_index("row")
    words = [ahead("word", i) for i in range(LONG)]
    gaps = [ahead("second", i + 1) - ahead("second", i) for i in range(LONG - 1)]
    changes = pl.sum_horizontal((a != b).cast(pl.Int32) for a, b in pairwise(words))
    whole = words[-1].is_not_null()
    named = [e.alias(str(i)) for i, e in enumerate([*words, *gaps])]
    table = table.with_columns(print=pl.struct(named).hash(), told=whole & (changes >= CHANGES)).filter("told")
    rare = pl.len().over("print") <= COMMON
    return table.filter(rare).select("file", "device", "second", "row", "print")


def _pairs(prints: Frame) -> Frame:
    """Fingerprints that two files share, of devices that may be one, at times that differ."""
    import polars as pl

    pairs = prints.join(prints, on="print").filter(pl.col("rank") < pl.col("rank_right"))
    may_be_one = pl.all_horizontal(
        (pl.col("device").struct.field(n) == pl.col("device_right").struct.field(n)).fill_null(True) for n in IDENTITY
    )
    shift = (pl.col("second_right") - pl.col("second")).alias("shift")
    return pairs.filter(may_be_one).with_columns(shift).filter(pl.col("shift").abs() <= FARTHEST_S)
