"""Rows in runs on disk, piece by piece, are those that are sorted in memory; and what is in memory is bounded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record import run_files, runs, store
from metapulse.record.columns import Tables, text_lengths
from metapulse.record.firsts import Firsts
from metapulse.record.lineage import Lineage
from metapulse.record.repeats import ordered_block, place
from metapulse.record.runs import Runs
from metapulse.record.schema import Device, Row
from metapulse.record.store import arrow
from metapulse.record.tally import FileTally
from tests.metapulse.record.exports import NOON, rows

#: Of equal rows there are many: of three files, two of which are of one account, at one moment or two.
ALIKE = st.builds(
    Row,
    st.sampled_from(["heart_rate", "heart_rate", "steps"]),
    st.sampled_from([NOON, NOON, NOON, NOON + 1]),
    st.sampled_from([60.0, 60.0, None]),
    row=st.integers(0, 3),
    code=st.sampled_from(["a", "a", "", None]),
    device=st.sampled_from([Device(model="A"), Device(model="A", firmware="1"), Device("B"), Device(unit="7")]),
    quality=st.sampled_from(
        [(), ("manual",), ("duplicate_of",), ("device_mapped",), ("superseded",), ("low_confidence",)]
    ),
    file=st.sampled_from(["a 1.csv", "a 2.csv", "b.csv"]),
)
INPUTS = st.lists(st.lists(ALIKE | rows(), max_size=40), max_size=4)


def merged(inputs: Sequence[Sequence[Row]], lineage: Lineage, step: int = 1000) -> pl.DataFrame:
    """All rows of some inputs in order, so many to a block."""
    with tempfile.TemporaryDirectory() as folder:
        own = Runs(Path(folder))
        for number, told in enumerate(inputs):
            for at in range(0, len(told), step):
                own.add(own.tables().block(told[at : at + step], "made", FileTally("made", "own"), number))
        tables = [arrow(block) for block in own.merged(lineage)]
    frame = pl.from_arrow(pa.concat_tables(tables)) if tables else pl.DataFrame()
    assert isinstance(frame, pl.DataFrame)
    return frame


@settings(max_examples=150)
@given(INPUTS, st.sampled_from([[], [("a 1.csv", "b.csv")]]))
def test_rows_on_disk_are_those_in_memory(inputs: list[list[Row]], copies: list[tuple[str, str]]) -> None:
    whole = merged(inputs, Lineage(copies))
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in {"RUN": 7, "INSTANT": 5, "MANY": 2, "BLOCKS": 2}.items():
            patch.setattr(runs, name, limit)
        patch.setattr("metapulse.record.columns.FULL", 3)
        patch.setattr(run_files, "PIECE", 3)
        assert merged(inputs, Lineage(copies), 4).equals(whole)


@given(st.lists(ALIKE | rows(), max_size=30))
def test_the_place_of_a_row_is_that_of_the_order(told: list[Row]) -> None:
    block = ordered_block(Tables().block(told, "made", FileTally("made")))
    places = [(int(block["start"][n]), place(block, n)) for n in range(block.rows)]
    assert places == sorted(places)


@given(st.lists(st.builds(Device, *[st.none() | st.sampled_from("ab")] * 6), max_size=30))
def test_the_first_devices_are_those_of_which_no_two_may_be_one(devices: list[Device]) -> None:
    firsts, kept = Firsts(), list[Device]()
    for device in devices:
        may = any(all(a is None or b is None or a == b for a, b in zip(device, one, strict=True)) for one in kept)
        assert firsts.add(device) == (not may)
        kept += [] if may else [device]


def test_row_groups_depend_on_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the rows come together, groups end where so many rows, or so much text, are reached."""
    monkeypatch.setattr(store, "ROW_GROUP", 10)
    monkeypatch.setattr(store, "ROW_GROUP_TEXT", 100)
    lengths = [0] * 25 + [30] * 7 + [500] + [0] * 3 + [99] + [0] * 14
    told = [Row("steps", NOON + n, 1.0, row=n, raw="x" * length or None) for n, length in enumerate(lengths)]

    def groups(size: int) -> list[list[int]]:
        blocks = [Tables().block(told[n : n + size], "", FileTally("")) for n in range(0, len(told), size)]
        groups = store._regrouped((arrow(block), text_lengths(block)) for block in blocks)
        return [group["source"].combine_chunks().field("row").to_pylist() for group in groups]

    wanted = groups(len(told))
    assert [n for group in wanted for n in group] == list(range(len(told)))
    assert all(len(group) <= 10 and (len(group) == 1 or sum(lengths[n] for n in group) <= 100) for group in wanted)
    assert all(groups(size) == wanted for size in (1, 3, 10, 16))
