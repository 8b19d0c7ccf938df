"""How to write a format: one file in this folder with ``FORMAT`` in it. Nothing else names it.

A format is the inverse of a reader of metapulse/record/readers. ``write`` makes the files of an export from canonical
rows; ``says`` is what the format can say of a row, so that

    import(write(rows))  =  {says(row) for row in rows if says(row)}     as a multiset, repeats aside

holds for any rows (tests/sim/fake/test_formats.py), with the format's traps as well as without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from metapulse.record.readers.base import Options
from metapulse.record.schema import Row


@dataclass(frozen=True)
class Making:
    """How an export is to be made.

    Args:
        folder: where its files go; it is there and empty.
        zone: name of the person's time zone, for formats with local times: "Europe/Berlin".
        traps: whether the export has the oddities that real ones of this vendor have: rows uploaded twice, headers in
            another language, placeholders, a torn tail. None of them costs a row.
        rng: what the traps are drawn with.
    """

    folder: Path
    zone: str = "UTC"
    traps: bool = False
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))


Says: TypeAlias = Callable[[Row], Row | None]
Write: TypeAlias = Callable[[Sequence[Row], Making], None]


@dataclass(frozen=True)
class Format:
    """One vendor's export.

    Args:
        name: as the reader's that reads it: "apple", "fitbit".
        title: for people: "Apple Health: export.xml".
        metrics: of metrics.csv that it holds.
        says: what it can say of a row: times as exact, values as rounded and devices as named as in its files, in
            canonical units and with the marks that reading gives; None where it holds no such row.
        write: the files, from rows in order of time.
        options: from the name of the zone: what a reader has to be told to read the files right.
    """

    name: str
    title: str
    metrics: frozenset[str]
    says: Says
    write: Write
    options: Callable[[str], Options] = field(default=lambda zone: Options())
