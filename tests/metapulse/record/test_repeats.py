"""Rows that say the same: the one that counts stays, in any order and grouping of files."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.store import import_files
from tests import thorough
from tests.metapulse.record.conftest import Import, in_other_orders, written

NAMES = ("a.csv", "a 2.csv", "b.csv", "c 1.csv", "d.csv")
BETTER = "time,metric,value,unit,device,quality\n"


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "mark", ["superseded", "low_confidence", "sensor_error", "censored_high", "not_worn_suspected"]
)
def test_a_value_that_counts_repeats_none_that_does_not(record: Import, mark: str, order: int) -> None:
    """Whichever stands first, in one file or in two."""
    lines = [f"2024-04-03T08:00:00Z,heart_rate,70,/min,Watch,{m}\n" for m in (mark, "")]
    first, second = lines[order], lines[1 - order]
    for files in ({"a.csv": BETTER + first + second}, {"a.csv": BETTER + first, "b.csv": BETTER + second}):
        rows, _ = record(files)
        (sound,) = rows.filter(~pl.col("quality").list.contains(mark))["quality"].to_list()
        (other,) = rows.filter(pl.col("quality").list.contains(mark))["quality"].to_list()
        assert sound == []
        assert other == ([mark] if mark == "superseded" else sorted([mark, "duplicate_of"]))


def test_what_a_later_export_has_replaced_is_replaced_in_the_earlier_one(record: Import) -> None:
    tentative, final = (f"2024-04-03T08:00:00Z,sleep_deep,{minutes},min,Watch," for minutes in (75, 74))
    files = {"night 1.csv": f"{BETTER}{tentative}\n", "night 2.csv": f"{BETTER}{tentative}superseded\n{final}\n"}
    rows, _ = record(files)
    assert rows.select("value", pl.col("quality").list.join(" ")).rows() == [(74.0, ""), (75.0, "superseded")]


MARKED = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["", "superseded", "implausible"])), max_size=6)


@settings(max_examples=thorough.of(25, 400))
@given(st.lists(st.tuples(MARKED, st.sampled_from(NAMES)), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_marks_of_readers_change_no_order_or_grouping(
    tmp_path_factory: pytest.TempPathFactory, texts: list, draw: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("marks")
    given: list[Path] = []
    for number, (lines, name) in enumerate(texts):
        rows = "".join(f"2024-04-03T08:0{minute}:00Z,heart_rate,60,/min,W,{mark}\n" for minute, mark in lines)
        given += written(folder / str(number), {name: BETTER + rows})
    whole = folder / "whole.parquet"
    import_files(given, whole)
    assert set(in_other_orders(folder, given, draw)) == {whole.read_bytes()}
