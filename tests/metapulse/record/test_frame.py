"""A record as a table: loaded as it was written, and without what repeats."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from metapulse.errors import DataError
from metapulse.record.frame import load_record, without
from tests.metapulse.record.conftest import Import

TWICE = "time,metric,value,unit,device\n2024-03-02T08:00:00Z,heart_rate,61,,\n2024-03-02T08:00:00Z,heart_rate,61,,A\n"


def test_rows_without_repeats_count_once(record: Import, tmp_path: Path) -> None:
    record({"a.csv": TWICE})
    rows = load_record(tmp_path / "person.parquet")
    assert rows.height == 2
    assert without(rows)["value"].to_list() == [61.0]
    assert without(rows, ("manual",)).height == 2


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"start": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no record of metapulse"):
        load_record(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no such file"):
        load_record(tmp_path / "missing.parquet")
