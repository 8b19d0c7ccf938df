"""A reader that has a fault costs what it was reading, and is told of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from metapulse.record import recognise
from metapulse.record.readers import readers
from metapulse.record.readers import record as record_reader
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.schema import Row
from metapulse.record.store import import_files
from tests.metapulse.record.conftest import written
from tests.metapulse.record.test_store import csv


def failing(at: int, *, in_sniff: bool = False) -> Reader:
    """Our own CSV's reader with a bug that shows in one file, after so many rows of it."""
    right = next(reader for reader in readers() if reader.sniff(Sample(csv([]).encode(), "x.csv")))

    def sniff(sample: Sample) -> str:
        if in_sniff and "bad" in sample.name:
            raise IndexError("list index out of range")
        return right.sniff(sample)

    def read(context: Context) -> Iterator[Row]:
        for i, row in enumerate(right.read(context)):
            if "bad" in context.file.name and i == at:
                raise KeyError("pulse")
            yield row

    return Reader("buggy", right.title, sniff, read)


LINE = (0, "heart_rate", 60, "A")
FILES = ("a.csv", "bad.csv", "c.csv")


@pytest.mark.parametrize("at", [0, 3])
def test_a_reader_with_a_bug_costs_the_rest_of_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    lines = [(minute, *LINE[1:]) for minute in range(6)]
    paths = written(tmp_path / "given", {name: csv(lines) + end for name, end in zip(FILES, ("", "\n", "\n\n"))})
    monkeypatch.setattr(recognise, "readers", lambda: [failing(at), record_reader.READER])
    tally = import_files(paths, tmp_path / "person.parquet")
    files = {file.file: file for file in tally.files.values()}
    assert [len(pl.read_parquet(tmp_path / "person.parquet")), files["bad.csv"].kept] == [12 + at, at]
    told = rf"its reader failed after {at} rows \(KeyError: 'pulse', test_failing_readers\.py, line \d+\)"
    assert re.fullmatch(told, files["bad.csv"].error)
    assert tally.failures == [f"bad.csv: {files['bad.csv'].error}"]
    assert all(file.unexplained == 0 and file.given == file.kept + file.away.total() for file in files.values())
    assert any("its reader failed" in row["why"] for row in tally.reasons())
    assert import_files(paths[1:2], tmp_path / "person.parquet").failures == tally.failures
    monkeypatch.undo()
    tally = import_files(paths, tmp_path / "person.parquet")
    assert (tally.records, tally.failures, [file.error for file in tally.files.values()]) == (18, [], [""] * 3)


def test_rows_that_a_reader_makes_wrongly_are_counted_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = failing(-1)

    def read(context: Context) -> Iterator[Row]:
        for row in right.read(context):
            yield row._replace(quality=("no such mark",)) if "bad" in context.file.name else row

    paths = written(tmp_path / "given", {"a.csv": csv([LINE]), "bad.csv": csv([LINE, LINE])})
    monkeypatch.setattr(recognise, "readers", lambda: [Reader("buggy", "", right.sniff, read)])
    tally = import_files(paths, tmp_path / "person.parquet")
    files = {file.file: file for file in tally.files.values()}
    assert (files["a.csv"].kept, files["bad.csv"].kept, files["bad.csv"].away.total()) == (1, 0, 2)
    assert "no such mark" in files["bad.csv"].error
    assert tally.failures


def test_a_reader_that_fails_to_look_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path / "given", {"a.csv": csv([LINE]), "bad.csv": csv([LINE])})
    monkeypatch.setattr(recognise, "readers", lambda: [failing(-1, in_sniff=True)])
    files = {file.file: file for file in import_files(paths, tmp_path / "person.parquet").files.values()}
    assert files["a.csv"].kept == 1
    assert files["bad.csv"].why.startswith("no reader knows it")
    assert "buggy failed (IndexError: list index out of range" in files["bad.csv"].why
