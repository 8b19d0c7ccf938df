"""The law of every format: import(write(rows)) = what the format says of the rows, with its traps and without.

What is compared: start, end, offset, metric, value, code, unit, device, marks; all that a row says but where it stood.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.clock import DAY, HOUR, MINUTE, US
from metapulse.record.columns import Tables
from metapulse.record.frame import load_record, without
from metapulse.record.lineage import Lineage
from metapulse.record.metrics import metrics
from metapulse.record.readers.json_stream import CUT
from metapulse.record.repeats import known_again, ordered_block
from metapulse.record.schema import STAGES, Device, Row
from metapulse.record.store import arrow, import_files
from metapulse.record.tally import FileTally
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.formats.base import Format, Making, clock_in
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.wear import worn_rows
from tests import thorough

ZONE = "Europe/Berlin"
NAMES = sorted(formats())
MARCH, OCTOBER, JUNE = 1711846800 * US, 1729990800 * US, 1718000000 * US  # the two nights when clocks change, and none
LENGTHS = (None, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 8 * HOUR, DAY)
DEVICES = (
    Device(),
    Device("Acme", "Band 2", app="app.acme"),
    Device("Acme", "Band 2", "B2", "1.4", "SN7", "Acme Health"),
    Device(app="Notes"),
)
SPORTS = ("running", "walking", "biking", "swimming")
KINDS = ("minimum", "maximum", "nap", "scan", "daily", "mean of the day", "mean of the night", "night")
CODES = (None, *KINDS, "lightly", "fairly", "very", "moderate", "vigorous", "cycling")
COMPARED = ("start", "metric", "end", "code", "device", "offset_min", "unit", "quality")


def row_of(metric: str, start: int, share: float, **facts: Any) -> Row:
    """A row of a metric with a value that far into its plausible range; a workout's is its length."""
    known = metrics()[metric]
    low, high = (-1.0 if known.low is None else known.low), (1.0 if known.high is None else known.high)
    row = Row(metric, start, round(float(low + share * (high - low)), 2))._replace(**facts)
    if metric == "sleep_stage":
        return row._replace(value=None)
    if metric == "workout":
        return row._replace(value=((row.end or row.start) - row.start) / MINUTE)
    return row


@cache
def grid(format: Format) -> tuple[Row, ...]:
    """Rows of every shape and kind of value for each of the format's metrics, an hour apart."""
    rows: list[Row] = []
    for metric in sorted(format.metrics):
        kinds = {"sleep_stage": STAGES, "workout": SPORTS}.get(metric, CODES)
        for code in kinds:
            for length in LENGTHS:
                start = JUNE // DAY * DAY + 12 * HOUR + len(rows) * HOUR
                end = None if length is None else start + length
                rows.append(row_of(metric, start, 0.3, end=end, offset_min=120, code=code, device=DEVICES[2]))
            midnight = JUNE // DAY * DAY - 2 * HOUR
            day = {"end": midnight + DAY, "offset_min": 120, "quality": ("date_only",)}
            rows.append(row_of(metric, midnight, 0.3, code=code, device=DEVICES[2], **day))
    return tuple(rows)


#: Metric, base, unit and number of steps from it, offset, code, device, freedom, length, share of the range: numbers,
#: since what is checked while it runs must not run within a strategy.
DRAWN = st.tuples(
    st.integers(0, 999), st.integers(0, 3), st.integers(0, 3), st.integers(-200, 200), st.integers(0, 4),
    st.integers(0, 99), st.integers(0, 3), st.integers(0, 9), st.integers(1, 40_000), st.integers(0, 20),
)  # fmt: skip


@cache
def held(name: str) -> dict[str, list[tuple[str | None, int]]]:
    """Metric → code and number of the shape of rows that the format holds; of a day beyond the lengths."""
    found = defaultdict(list)
    for row in grid(formats()[name]):
        if formats()[name].says(row):
            length = None if row.end is None else row.end - row.start
            found[row.metric].append((row.code, 99 if row.quality else LENGTHS.index(length)))
    return found


def built(name: str, parts: tuple[int, ...]) -> Row:
    """Any row of the format's metrics, often in a night when clocks change, sometimes elsewhere; most can be held."""
    which, base, unit, steps, offset, code, device, shape, seconds, share = parts
    metric, known = sorted(held(name).items())[which % len(held(name))]
    start = (MARCH, OCTOBER, JUNE, JUNE + 3 * HOUR)[base] + (15 * MINUTE, MINUTE, US, 1000)[unit] * steps
    home = clock_in(ZONE).offset(start) or 0
    kinds = {"sleep_stage": STAGES, "workout": SPORTS}.get(metric, CODES)
    kind, shape = known[code % len(known)] if shape > 1 else (kinds[code % len(kinds)], code % 12)
    facts: dict[str, object] = {"offset_min": (home, home, home, 540, -210)[offset], "device": DEVICES[device]}
    facts |= {"code": kind, "quality": ((), (), ("manual",), ("low_confidence",))[seconds % 4]}
    if shape < len(LENGTHS):
        facts |= {"end": None if LENGTHS[shape] is None else start + (LENGTHS[shape] or 0)}
    elif shape < 10:
        facts |= {"end": start + seconds * US}
    else:
        day = clock_in(ZONE).day((start + home * MINUTE) // DAY)
        start, facts = day.start, {**facts, "end": day.end, "offset_min": day.offset_min, "quality": ("date_only",)}
    return row_of(metric, start, share / 20, **facts)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """In order of time; where only offset or marks differ, the first of them is the one that is not a repeat."""
    return sorted(rows, key=lambda row: (row.start, row.offset_min or 0, row.quality))


def read_back(format: Format, rows: Sequence[Row], traps: bool, seed: int = 0) -> pl.DataFrame:
    """What an export of these rows is read as, without what repeats; its account is clean."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "export"
        folder.mkdir()
        format.write(in_order(rows), Making(folder, ZONE, traps, np.random.default_rng(seed)))
        if not any(path.is_file() for path in folder.rglob("*")):
            return expected(format, [])
        tally = import_files([folder], Path(name) / "person.parquet", format.options(ZONE))
        accounts = tally.files.values()
        assert not tally.failures
        assert {account.format for account in accounts} <= {format.name, ""}
        told = ("", CUT) if traps else ("",)  # of a tail that is torn
        assert [account.file for account in accounts if account.unexplained or account.error not in told] == []
        assert traps or [account.why for account in accounts if not account.format] == []
        return without(load_record(Path(name) / "person.parquet")).drop("source", "raw")


def expected(format: Format, rows: Sequence[Row]) -> pl.DataFrame:
    """What the format says of the rows, as a record would hold it, without what repeats."""
    told = [said for row in in_order(rows) if (said := format.said(row, ZONE)) is not None]
    block = Tables().block([row._replace(row=at) for at, row in enumerate(told)], "", FileTally(""))
    frame = pl.DataFrame(pl.from_arrow(arrow(known_again(ordered_block(block), Lineage()))))
    return without(frame).drop("source", "raw")


def assert_same(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    """Equal as multisets; values to nine digits, since units go there and back."""
    sides = []
    for frame in (found, wanted):
        text = [pl.col(name).cast(pl.String).fill_null("") for name in ("code", "unit", "metric")]
        device = pl.col("device").struct.json_encode().fill_null("")
        marks = pl.col("quality").list.join(" ")
        flat = frame.with_columns(*text, device.alias("device"), marks.alias("quality"))
        sides.append(flat.sort(*COMPARED, "value", nulls_last=True))
    left, right = (side.select(COMPARED).rows() for side in sides)
    assert left == right
    values = [side["value"].fill_null(float("nan")).to_numpy() for side in sides]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9, atol=1e-9)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("traps", [False, True])
def test_an_export_is_read_as_what_its_format_says(name: str, traps: bool) -> None:
    format = formats()[name]

    @settings(max_examples=thorough.of(15, 300))
    @given(st.lists(DRAWN, max_size=40), st.integers(0, 9))
    def law(drawn: list[tuple[int, ...]], seed: int) -> None:
        rows = [built(name, parts) for parts in drawn]
        assert_same(read_back(format, rows, traps, seed), expected(format, rows))

    law()


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_every_shape_are_read_as_the_format_says(name: str) -> None:
    format = formats()[name]
    rows = grid(format)
    assert {row.metric for row in rows if format.says(row)} == format.metrics
    assert_same(read_back(format, rows, traps=False), expected(format, rows))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_format_says_it_says_of_that_as_well(name: str) -> None:
    format = formats()[name]
    for row in grid(format):
        if (once := format.says(row)) is not None:
            twice = format.says(once)
            assert twice is not None
            assert twice._replace(value=None) == once._replace(value=None)
            assert (twice.value or 0.0) == pytest.approx(once.value or 0.0, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_what_other_formats_say_is_read_as_this_one_says(name: str) -> None:
    format = formats()[name]
    rows = []
    for other in formats().values():
        both = [row for row in grid(other) if row.metric in format.metrics]
        pairs = ((told, format.says(told)) for row in both if (told := other.says(row)) is not None)
        rows += next(([told] for told, mine in pairs if mine is not None), [])
    assert rows, "it shares no metric, not even with itself"
    assert_same(read_back(format, rows, traps=False), expected(format, rows))


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("traps", [False, True])
def test_a_persons_export_is_read_as_its_format_says(name: str, traps: bool) -> None:
    """Days before and after a journey, with a workout, and in the night when clocks go forward; of many a tenth."""
    format = formats()[name]
    days = worn_rows(Life(3, ZONE), format, (5, 54, 69))
    chosen = [(day, max(min(len(day) // 10, 10), 1)) for day in days]
    rows = [row for day, step in chosen for at, row in enumerate(day) if at % step == 0 or row.metric == "sleep_stage"]
    assert len(rows) > 5
    assert_same(read_back(format, rows, traps), expected(format, rows))
