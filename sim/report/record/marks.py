"""What is marked in a record, with examples; and where the person's clock stood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from metapulse.record.clock import DAY
from metapulse.record.schema import MARKS
from metapulse.sim.report.record.rows import RecordRows, collected

EXAMPLES = 4  # of a mark
CHANGES = 40  # of the clock, listed


@dataclass(frozen=True)
class Marked:
    """One mark.

    Args:
        mark: its word.
        rows: how many rows have it.
        metrics: (metric, rows), most first.
        examples: rows of the record, of different metrics where there are.
    """

    mark: str
    rows: int
    metrics: tuple[tuple[str, int], ...]
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def meaning(self) -> str:
        """What it says, in words."""
        return MARKS.get(self.mark, "a mark of another version")


def every_mark(record: RecordRows) -> list[Marked]:
    """The marks that are there, the most frequent first."""
    spread = record.table.filter(pl.col("quality").list.len() > 0).explode("quality")
    found = collected(
        spread.group_by("quality", "metric").agg(rows=pl.len(), first=pl.col("at").min(), last=pl.col("at").max())
    ).sort("rows", "metric", descending=[True, False])
    groups = [(mark, int(own["rows"].sum()), own) for (mark,), own in found.group_by("quality", maintain_order=True)]
    wanted = {mark: _spread(own) for mark, _, own in groups}
    rows = _rows(record, {at for chosen in wanted.values() for at in chosen})
    made = [
        Marked(str(mark), count, tuple(own.select("metric", "rows").iter_rows()), [rows[at] for at in wanted[mark]])
        for mark, count, own in groups
    ]
    return sorted(made, key=lambda one: (-one.rows, one.mark))


def _spread(own: pl.DataFrame) -> list[int]:
    """First rows of the most frequent metrics, then last ones, up to the number of examples."""
    return list(dict.fromkeys([*own["first"], *own["last"]]))[:EXAMPLES]


def _rows(record: RecordRows, wanted: set[int]) -> dict[int, dict[str, Any]]:
    if not wanted:
        return {}
    names = ("at", "local", "metric", "value", "unit", "code", "raw", "source", "place", "part")
    rows = collected(record.table.filter(pl.col("at").is_in(sorted(wanted))).select(names))
    return {row["at"]: row for row in rows.iter_rows(named=True)}


@dataclass(frozen=True)
class ClockSpell:
    """The person's clock stood so from one day to another.

    Args:
        offset_min: minutes before UTC; None: the files do not know.
        first: day, from 1970-01-01 on that clock.
        last: day, likewise.
        rows: how many rows say so.
    """

    offset_min: int | None
    first: int
    last: int
    rows: int


def clock_spells(record: RecordRows) -> list[ClockSpell]:
    """Where the clock stood, day by day: the offset that most of a day's rows have."""
    day = pl.col("local") // DAY
    found = collected(record.used.group_by("offset_min", day=day).agg(rows=pl.len()))
    return list(_spells(found.sort("day", "rows", "offset_min", descending=[False, True, False], nulls_last=True)))


def _spells(found: pl.DataFrame) -> Iterator[ClockSpell]:
    now: ClockSpell | None = None
    for offset, day, rows in found.unique("day", keep="first", maintain_order=True).iter_rows():
        if now and now.offset_min == offset:
            now = ClockSpell(offset, now.first, day, now.rows + rows)
        else:
            if now:
                yield now
            now = ClockSpell(offset, day, day, rows)
    if now:
        yield now
